"""Macro PPO with summed rewards: the control for arms that average the KL penalty over a macro action."""

from marl_bench.errors import ConfigError
from marl_bench.interfaces import BaselineSpec, PolicyContext
from marl_bench_baselines.macro_ppo import MacroPpo
from marl_bench_baselines.token_ppo_matched_kl import check_kl_is_averaged, kl_is_averaged


def build(context: PolicyContext) -> MacroPpo:
    """Returns macro PPO with the arm's rule and summed rewards, all else as in the arm.

    Raises:
        ConfigError: The arm has no rule, or does not average the KL penalty.
    """
    check_kl_is_averaged(context.ppo, control="macro_ppo_summed")
    if context.rule is None:
        raise ConfigError("macro_ppo_summed: needs a termination rule, for example macro_ppo_summed:fixed(n=5).")
    return MacroPpo(context.rule, context.ppo.model_copy(update={"macro_reward": "sum"}))


BASELINE = BaselineSpec(
    id="macro_ppo_summed",
    version="1",
    summary="macro PPO with summed rewards: the whole KL penalty, the control for arms that average it",
    build=build,
    role="control",
    default_rule="fixed(n=5)",
    isolates="It has the arm's macro actions with the whole KL penalty: what the arm reaches beyond it is due to its weaker penalty.",
    controls=lambda ppo, _: kl_is_averaged(ppo),
)
