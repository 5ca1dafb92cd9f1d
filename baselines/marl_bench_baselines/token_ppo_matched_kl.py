"""Token PPO with the KL penalty that a macro action feels when its tokens' penalties are averaged: beta/n."""

import math

from marl_bench.config import PpoConfig
from marl_bench.errors import ConfigError
from marl_bench.interfaces import BaselineSpec, PolicyContext
from marl_bench_baselines.macro_ppo import MacroPpo
from marl_bench_baselines.token_ppo import token_level


def check_kl_is_averaged(ppo: PpoConfig, *, control: str) -> None:
    """Checks that the arm averages the KL penalty over a macro action, the effect that the KL controls take off.

    Raises:
        ConfigError: It does not.
    """
    if ppo.method_options().macro_reward == "sum":
        raise ConfigError(
            f"{control}: not applicable: with summed rewards it is {'token' if control.startswith('token') else 'macro'} PPO; "
            "it exists for arms with macro_reward=mean."
        )
    if ppo.kl_in == "loss":
        raise ConfigError(
            f"{control}: not applicable: with kl_in=loss no reward holds the KL; it exists for arms with kl_in=reward."
        )


def kl_is_averaged(ppo: PpoConfig) -> bool:
    """Returns True if the arm's rewards average the KL penalty over a macro action."""
    return ppo.method_options().macro_reward == "mean" and ppo.kl_in == "reward"


def controls(ppo: PpoConfig, length: float | None) -> bool:
    """Returns True where the KL is averaged over macro actions of a length that can be matched."""
    return kl_is_averaged(ppo) and not (length is not None and math.isinf(length))


def build(context: PolicyContext) -> MacroPpo:
    """Returns token PPO with kl_coef/n, n the mean macro length of the matched rule.

    Raises:
        ConfigError: The arm does not average the KL penalty, or its rule has no finite length.
    """
    check_kl_is_averaged(context.ppo, control="token_ppo_matched_kl")
    length = context.mean_macro_length
    if length is None or math.isinf(length):
        raise ConfigError(
            "token_ppo_matched_kl: needs a rule of finite length to match, for example token_ppo_matched_kl:fixed(n=5); "
            "for whole responses macro_ppo_summed:whole is the control."
        )
    return token_level(context.ppo.model_copy(update={"kl_coef": context.ppo.kl_coef / length}))


BASELINE = BaselineSpec(
    id="token_ppo_matched_kl",
    version="1",
    summary="token PPO with kl_coef/n: the KL penalty of averaged macro rewards, the control for the weaker penalty",
    build=build,
    role="control",
    default_rule="fixed(n=5)",
    isolates="It has the macro arm's weaker KL penalty but token-level actions: what it reaches is due to the penalty, not to granularity.",
    controls=controls,
)
