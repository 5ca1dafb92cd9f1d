"""GRPO over macro actions: scores standardised within a prompt, the KL in the loss, ratios of macro actions."""

from marl_bench.config import PpoConfig
from marl_bench.errors import ConfigError
from marl_bench.interfaces import BaselineSpec, PolicyContext, TerminationRule
from marl_bench.macro.groups import standardised
from marl_bench_baselines.critic_free import CriticFree, check_groups

GRPO = {
    "whiten_advantages": False,
    "gae_lambda": 1.0,
    "kl_in": "loss",
    "kl_estimator": "k3",
    "ratio_level": "macro_geometric",
    "loss_average": "sequence",
}
"""What makes it GRPO (Shao et al. 2024, equation 3), with length-normalised ratios of macro actions in place of those of tokens."""


def grpo(rule: TerminationRule, ppo: PpoConfig) -> CriticFree:
    """Returns GRPO over the macro actions of a rule."""
    return CriticFree(rule, ppo.model_copy(update=GRPO), standardised, grouped=True)


def build(context: PolicyContext) -> CriticFree:
    """Returns GRPO with the arm's rule; with one token a macro action it is GRPO itself.

    Raises:
        ConfigError: The arm has no rule, or the batch is no whole number of groups.
    """
    if context.rule is None:
        raise ConfigError("macro_grpo: needs a termination rule, for example macro_grpo:fixed(n=5).")
    check_groups(context.ppo, baseline="macro_grpo")
    return grpo(context.rule, context.ppo)


BASELINE = BaselineSpec(
    id="macro_grpo",
    version="1",
    summary="GRPO over macro actions: scores standardised within a prompt, ratios of macro actions, no critic",
    build=build,
    default_rule="fixed(n=5)",
)
