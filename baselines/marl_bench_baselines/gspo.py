"""GSPO: GRPO whose ratio is that of the whole response, normalised by its length."""

import math

from marl_bench.interfaces import BaselineSpec, PolicyContext
from marl_bench.macro.termination import EveryNTokens
from marl_bench_baselines.critic_free import CriticFree, check_groups
from marl_bench_baselines.macro_grpo import grpo


def build(context: PolicyContext) -> CriticFree:
    """Returns macro GRPO with one macro action a response.

    Raises:
        ConfigError: The batch is no whole number of groups.
    """
    check_groups(context.ppo, baseline="gspo")
    return grpo(EveryNTokens(math.inf), context.ppo)


BASELINE = BaselineSpec(
    id="gspo",
    version="1",
    summary="GRPO with the length-normalised ratio of the whole response (Zheng et al. 2025)",
    build=build,
)
