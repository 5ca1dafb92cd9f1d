"""REINFORCE: every token by the return of its whole response, against the mean return of the batch."""

from collections.abc import Sequence

import torch

from marl_bench.interfaces import BaselineSpec, PolicyContext
from marl_bench.macro.termination import EveryNTokens
from marl_bench_baselines.critic_free import CriticFree


def above_the_batch(returns: torch.Tensor, _groups: Sequence[int]) -> torch.Tensor:
    """Returns [B]: each return minus the mean of all."""
    return returns - returns.mean()


def build(context: PolicyContext) -> CriticFree:
    """Returns REINFORCE with the batch's mean as baseline."""
    ppo = context.ppo.model_copy(update={"gae_lambda": 1.0, "whiten_advantages": False})
    return CriticFree(EveryNTokens(1), ppo, above_the_batch, grouped=False)


BASELINE = BaselineSpec(
    id="reinforce",
    version="1",
    summary="policy gradient without a critic, against the mean return of the batch",
    build=build,
)
