"""Token-level PPO: macro PPO with one token a macro action, the same code."""

from marl_bench.config import PpoConfig
from marl_bench.interfaces import BaselineSpec, PolicyContext
from marl_bench.macro.termination import EveryNTokens
from marl_bench_baselines.macro_ppo import MacroPpo


def token_level(ppo: PpoConfig) -> MacroPpo:
    """Returns PPO with every token as an action.

    Every last token is alone already: `last_token_alone` would only put an empty macro action before it, which is not token PPO.
    """
    return MacroPpo(EveryNTokens(1), ppo.model_copy(update={"last_token_alone": False}))


def build(context: PolicyContext) -> MacroPpo:
    """Returns token PPO."""
    return token_level(context.ppo)


BASELINE = BaselineSpec(
    id="token_ppo", version="1", summary="PPO with every token as an action", build=build, role="token"
)
