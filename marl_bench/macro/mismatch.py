"""How far the engine that sampled is from the policy that learns: figures, and weights that make up for it."""

import torch

_CLOSE = 0.1
"""Token ratios within 1 -+ this count as close."""


def mismatch_figures(
    token_log_probs: torch.Tensor, token_sampler_log_probs: torch.Tensor, mask: torch.Tensor
) -> dict[str, float]:
    """Returns mean and largest |log p_trainer - log p_sampler| in nats over the tokens, and the share of token ratios outside 0.9 to 1.1.

    Args:
        token_log_probs: [B, T] float32, of the policy's own forward pass.
        token_sampler_log_probs: [B, T] float32, as the engine gave them.
        mask: [B, T] bool, the response tokens.
    """
    differences = (token_log_probs - token_sampler_log_probs)[mask].double()
    if not differences.numel():
        return {"mismatch_mean": 0.0, "mismatch_max": 0.0, "mismatch_share": 0.0}
    return {
        "mismatch_mean": float(differences.abs().mean()),
        "mismatch_max": float(differences.abs().max()),
        "mismatch_share": float(((differences.exp() - 1).abs() > _CLOSE).double().mean()),
    }


def truncated_importance_weights(
    token_log_probs: torch.Tensor, token_sampler_log_probs: torch.Tensor, *, cap: float
) -> torch.Tensor:
    """Returns [B, T] min(p_trainer / p_sampler, cap); on padding, where both log-probs are 0, min(1, cap).

    Source: Yao et al. (2025), truncated importance sampling for rollouts of another engine.
    """
    return (token_log_probs - token_sampler_log_probs).exp().clamp(max=cap)
