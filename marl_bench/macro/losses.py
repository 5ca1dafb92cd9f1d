"""Losses of policy and critic over macro actions. Averages divide by global counts, never by those of a micro-batch."""

from typing import Literal

import torch

from marl_bench.batches import Segmentation, StepCounts
from marl_bench.macro.segmentation import sum_over_macros, to_tokens

RatioLevel = Literal["token", "macro", "macro_geometric"]
LossAverage = Literal["token", "macro", "sequence"]


def loss_weights(
    segmentation: Segmentation, average: LossAverage, counts: StepCounts, *, dtype: torch.dtype
) -> torch.Tensor:
    """Returns [B, T], each token's weight in the loss; over all micro-batches of an optimizer step they sum to 1.

    `token`: every token weighs the same, so a macro action weighs by its length (released code). `macro`: every macro action weighs the same.
    `sequence`: every response weighs the same.
    """
    ids = segmentation.macro_ids
    mask = (ids >= 0).to(dtype)
    if average == "token":
        return mask / max(counts.tokens, 1)
    if average == "macro":
        return mask / (to_tokens(segmentation.macro_lengths, ids).clamp(min=1) * max(counts.macros, 1))
    return mask / (mask.sum(dim=1, keepdim=True).clamp(min=1) * max(counts.responses, 1))


def log_ratios(
    token_log_probs: torch.Tensor, token_old_log_probs: torch.Tensor, segmentation: Segmentation, *, level: RatioLevel
) -> torch.Tensor:
    """Returns [B, T] log-ratios, 0 on padding: of each token, or of its whole macro action.

    `token`: log p/p_old of the token (released code). `macro`: their sum over the macro action, the product of the ratios (paper).
    `macro_geometric`: their mean, length-normalised as in GSPO (Zheng et al. 2025).
    """
    ids = segmentation.macro_ids
    differences = torch.where(ids >= 0, token_log_probs - token_old_log_probs, 0)
    if level == "token":
        return differences
    sums = sum_over_macros(differences, ids, segmentation.macro_lengths.shape[1])
    if level == "macro_geometric":
        sums = sums / segmentation.macro_lengths.clamp(min=1)
    return to_tokens(sums, ids)


def clipped_policy_loss(
    log_ratio: torch.Tensor, token_advantages: torch.Tensor, weights: torch.Tensor, *, clip_range: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the clipped surrogate loss (scalar) and which tokens were clipped ([B, T] bool).

    loss = -sum_t w_t min(ratio_t A_t, clip(ratio_t, 1 - c, 1 + c) A_t). Source: Schulman et al. (2017), PPO.
    """
    ratio = log_ratio.exp()
    unclipped = ratio * token_advantages
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range) * token_advantages
    loss = -(torch.minimum(unclipped, clipped) * weights).sum()
    return loss, (clipped < unclipped) & (weights > 0)


def clipped_value_loss(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, weights: torch.Tensor, *, clip_range: float
) -> torch.Tensor:
    """Returns half the weighted squared error (scalar); `clip_range` > 0 takes the worse of the value and the clipped value (PPO2)."""
    errors = (values - returns).square()
    if clip_range > 0:
        clipped = old_values + (values - old_values).clamp(-clip_range, clip_range)
        errors = torch.maximum(errors, (clipped - returns).square())
    return 0.5 * (errors * weights).sum()
