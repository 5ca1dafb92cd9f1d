"""Token PPO with lambda = 1: the control for any credit horizon, and the matched one of whole responses."""

from marl_bench.interfaces import BaselineSpec, PolicyContext
from marl_bench_baselines.macro_ppo import MacroPpo
from marl_bench_baselines.token_ppo import token_level


def build(context: PolicyContext) -> MacroPpo:
    """Returns token PPO with lambda = 1."""
    return token_level(context.ppo.model_copy(update={"gae_lambda": 1.0}))


BASELINE = BaselineSpec(
    id="token_ppo_lambda_one",
    version="1",
    summary="token PPO with lambda = 1: the longest credit horizon there is, a control for the credit horizon",
    build=build,
    role="control",
    isolates="It has the longest credit horizon but token-level actions: what it reaches is due to the horizon, not to granularity.",
    controls=lambda _, __: True,
    without_effect=frozenset(
        {"gae_lambda", "lambda_per", "macro_reward", "value_pooling", "ratio_level", "critic_target"}
    ),
)
