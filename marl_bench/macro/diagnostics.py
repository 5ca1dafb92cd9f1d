"""Figures that tell what macro actions did to an update (METHOD, section 7)."""

from collections.abc import Mapping

import torch

from marl_bench.batches import Advantages, Rollout, Segmentation
from marl_bench.macro.segmentation import to_tokens


def macro_figures(
    rollout: Rollout,
    segmentation: Segmentation,
    advantages: Advantages,
    *,
    gamma: float,
    gae_lambda: float,
    lambda_per: str,
) -> dict[str, float]:
    """Returns macro length, credit share, and how good the advantages and the critic are, over one rollout.

    `first_macro_credit` is the share of the terminal delta that reaches the first macro action, mean over responses: the product of
    gamma^tau and lambda (or lambda^tau) over all macro actions but the last. `advantage_snr` is the squared mean of the macro advantages over
    their variance. `explained_variance` is 1 - Var(return - value) / Var(return) over all tokens.
    """
    mask = segmentation.macro_mask
    lengths = segmentation.macro_lengths
    real = mask & (lengths > 0)
    chosen = advantages.macro_advantages[real]
    responses = mask.sum(dim=1)
    exponents = responses - 1 if lambda_per == "macro" else lengths.sum(dim=1) - _last(lengths, responses)
    credit = (
        gae_lambda ** exponents.clamp(min=0).float() * gamma ** (lengths.sum(dim=1) - _last(lengths, responses)).float()
    )
    token_mask = rollout.tokens.response_mask
    returns = to_tokens(advantages.macro_returns, segmentation.macro_ids)[token_mask]
    errors = returns - rollout.token_values[token_mask]
    variance = returns.var(unbiased=False)
    return {
        "macro_length_mean": float(lengths[real].float().mean()),
        "first_macro_credit": float(credit[responses > 0].mean()),
        "advantage_std": float(chosen.std(unbiased=False)),
        "advantage_snr": float(chosen.mean().square() / chosen.var(unbiased=False).clamp(min=1e-12)),
        "explained_variance": float(1 - errors.var(unbiased=False) / variance.clamp(min=1e-12)),
    }


def macro_length_histogram(segmentation: Segmentation) -> Mapping[str, int]:
    """Returns how many macro actions have each length."""
    lengths, counts = torch.unique(segmentation.macro_lengths[segmentation.macro_mask], return_counts=True)
    return {str(length): count for length, count in zip(lengths.tolist(), counts.tolist(), strict=True)}


def _last(lengths: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Returns [B], the length of each response's last macro action."""
    return lengths.gather(1, (counts - 1).clamp(min=0).unsqueeze(1)).squeeze(1)
