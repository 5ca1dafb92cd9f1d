"""Token-level PPO: macro PPO with one token a macro action, the same code."""

from marl_bench.interfaces import BaselineSpec, PolicyContext
from marl_bench.macro.termination import EveryNTokens
from marl_bench_baselines.macro_ppo import MacroPpo


def build(context: PolicyContext) -> MacroPpo:
    """Returns token PPO."""
    return MacroPpo(EveryNTokens(1), context.ppo)


BASELINE = BaselineSpec(
    id="token_ppo", version="1", summary="PPO with every token as an action", build=build, role="token"
)
