"""Advantages from several responses to one prompt, in place of a critic."""

from collections.abc import Sequence

import torch

from marl_bench.batches import Advantages, Segmentation
from marl_bench.macro.smdp import generalized_advantages, macro_rewards

_STANDARD_DEVIATION_FLOOR = 1e-4
"""Added to the spread of a group, as TRL does: a group of equal scores gets advantages of 0, not of 0 / 0."""


def leave_one_out(returns: torch.Tensor, groups: Sequence[int]) -> torch.Tensor:
    """Returns [B]: each return minus the mean of the others of its group; 0 for a response that is alone.

    Returns 1, 2, 6 of one prompt give -3, -1.5, 4.5. Source: Ahmadian et al. (2024), RLOO, equation 7.

    Args:
        returns: [B], one a response.
        groups: [B], the same number for responses to the same prompt.
    """
    totals, counts = _sums(returns, groups)
    others = (totals - returns) / (counts - 1).clamp(min=1)
    return torch.where(counts > 1, returns - others, 0)


def standardised(returns: torch.Tensor, groups: Sequence[int]) -> torch.Tensor:
    """Returns [B]: each return minus its group's mean, divided by the group's standard deviation; 0 for a response that is alone.

    Returns 1, 2, 6 of one prompt have mean 3 and standard deviation sqrt(7). Source: Shao et al. (2024), GRPO, section 4.1.2; deviation with
    n - 1 as in TRL.
    """
    totals, counts = _sums(returns, groups)
    centred = returns - totals / counts
    squares, _ = _sums(centred.square(), groups)
    deviation = (squares / (counts - 1).clamp(min=1)).sqrt()
    return centred / (deviation + _STANDARD_DEVIATION_FLOOR)


def spread_advantages(advantages: torch.Tensor, segmentation: Segmentation, *, gae_lambda: float) -> Advantages:
    """Returns [B, M]: the advantage of each response ([B]) on its macro actions, multiplied with lambda for every one that comes after.

    These are generalized advantages with a reward at the end and no values. With lambda .5 and three macro actions an advantage of 1
    becomes .25 .5 1.
    """
    nothing = torch.zeros(segmentation.macro_ids.shape, dtype=advantages.dtype, device=advantages.device)
    rewards = macro_rewards(nothing, advantages, segmentation, reduction="sum", gamma=1.0)
    return generalized_advantages(rewards, torch.zeros_like(rewards), segmentation, gamma=1.0, gae_lambda=gae_lambda)


def _sums(values: torch.Tensor, groups: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns for each row the sum of its group's values and the group's size, both [B]."""
    _, index = torch.unique(torch.tensor(groups, device=values.device), return_inverse=True)
    totals = values.new_zeros(len(groups)).scatter_add(0, index, values)
    counts = values.new_zeros(len(groups)).scatter_add(0, index, torch.ones_like(values))
    return totals[index], counts[index]
