"""RLOO over macro actions: each response against the others to its prompt; credit decays by lambda a macro action."""

from marl_bench.errors import ConfigError
from marl_bench.interfaces import BaselineSpec, PolicyContext
from marl_bench.macro.groups import leave_one_out
from marl_bench_baselines.critic_free import CriticFree, check_groups


def build(context: PolicyContext) -> CriticFree:
    """Returns RLOO with the arm's rule; `gae_lambda=1` makes it RLOO itself.

    Raises:
        ConfigError: The arm has no rule, or the batch is no whole number of groups.
    """
    if context.rule is None:
        raise ConfigError("macro_rloo: needs a termination rule, for example macro_rloo:fixed(n=5).")
    check_groups(context.ppo, baseline="macro_rloo")
    return CriticFree(
        context.rule, context.ppo.model_copy(update={"whiten_advantages": False}), leave_one_out, grouped=True
    )


BASELINE = BaselineSpec(
    id="macro_rloo",
    version="1",
    summary="RLOO over macro actions: responses to one prompt against each other, without a critic",
    build=build,
    default_rule="fixed(n=5)",
)
