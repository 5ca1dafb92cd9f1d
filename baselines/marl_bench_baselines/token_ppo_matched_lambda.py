"""Token PPO with the credit horizon of a macro arm: the control for lambda counting macro actions."""

import math

from marl_bench.config import PpoConfig
from marl_bench.errors import ConfigError
from marl_bench.interfaces import BaselineSpec, PolicyContext
from marl_bench_baselines.macro_ppo import MacroPpo
from marl_bench_baselines.token_ppo import token_level


def build(context: PolicyContext) -> MacroPpo:
    """Returns token PPO with lambda^(1/n), n the mean macro length of the matched rule; for `whole` that is 1.

    Raises:
        ConfigError: The arm names no rule to match, or lambda counts tokens already.
    """
    if context.ppo.method_options().lambda_per == "token":
        raise ConfigError(
            "token_ppo_matched_lambda: not applicable with lambda_per=token, where macro actions have the horizon of tokens."
        )
    length = context.mean_macro_length
    if length is None:
        raise ConfigError(
            "token_ppo_matched_lambda: needs the rule it matches, for example token_ppo_matched_lambda:fixed(n=5)."
        )
    gae_lambda = context.ppo.gae_lambda ** (1 / length)
    return token_level(context.ppo.model_copy(update={"gae_lambda": gae_lambda}))


def controls(ppo: PpoConfig, length: float | None) -> bool:
    """Returns True where lambda counts macro actions; for whole responses and for lambda = 1 it would be lambda = 1 once more."""
    endless = length is not None and math.isinf(length)
    return ppo.method_options().lambda_per == "macro" and ppo.gae_lambda != 1 and not endless


BASELINE = BaselineSpec(
    id="token_ppo_matched_lambda",
    version="1",
    summary="token PPO with lambda^(1/n): the credit horizon of macro actions of n tokens, the control for the credit horizon",
    build=build,
    role="control",
    default_rule="fixed(n=5)",
    isolates="It has the macro arm's credit horizon but token-level actions: what it reaches is due to the longer horizon, not to granularity.",
    controls=controls,
)
