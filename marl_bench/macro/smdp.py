"""Rewards, values and advantages of macro actions: a semi-Markov decision process over the tokens of a response.

Source: Chai et al., MA-RLHF, ICLR 2025, section 3; Sutton, Precup, Singh (1999) for the semi-Markov form. Symbols: tau_m tokens in macro
action m, R_m its reward, V_m its pooled value.
"""

from typing import Literal

import torch

from marl_bench.batches import Advantages, Segmentation
from marl_bench.macro.segmentation import positions, sum_over_macros, to_tokens

ValuePooling = Literal["equal", "last", "first", "position_late", "position_early"]


def kl_penalty(
    token_log_probs: torch.Tensor, token_ref_log_probs: torch.Tensor, estimator: Literal["k1", "k2", "k3"]
) -> torch.Tensor:
    """Returns an estimate of the KL of each token, in nats, of the shape of its arguments.

    With d = log p - log p_ref: k1 = d, k2 = d^2 / 2, k3 = exp(-d) - 1 + d. Source: Schulman (2020), Approximating KL divergence.
    """
    difference = token_log_probs - token_ref_log_probs
    if estimator == "k1":
        return difference
    if estimator == "k2":
        return difference.square() / 2
    return torch.expm1(-difference) + difference


def macro_rewards(
    token_kl_rewards: torch.Tensor,
    scores: torch.Tensor,
    segmentation: Segmentation,
    *,
    reduction: Literal["sum", "mean"],
    gamma: float,
) -> torch.Tensor:
    """Returns R_m, [B, M]: the KL rewards of its tokens, and the score on the last token of the response.

    `sum` discounts to the macro action's first token: R_m = sum_i gamma^i r_(t_m + i). `mean` (released code) averages the KL part and adds
    the score whole.

    Args:
        token_kl_rewards: [B, T], 0 on padding.
        scores: [B].
        segmentation: The macro actions.
        reduction: `sum` or `mean`.
        gamma: Discount a token.
    """
    ids, lengths = segmentation.macro_ids, segmentation.macro_lengths
    width = lengths.shape[1]
    if reduction == "mean":
        rewards = sum_over_macros(token_kl_rewards, ids, width) / lengths.clamp(min=1)
        discount = torch.ones_like(scores)
    elif gamma == 1:
        rewards = sum_over_macros(token_kl_rewards, ids, width)
        discount = torch.ones_like(scores)
    else:
        weights = _powers(gamma, positions(ids), dtype=token_kl_rewards.dtype)
        rewards = sum_over_macros(token_kl_rewards * weights, ids, width)
        last_position = lengths.gather(1, _last_macro(segmentation).unsqueeze(1)).squeeze(1) - 1
        discount = _powers(gamma, last_position.clamp(min=0), dtype=scores.dtype)
    # A response without tokens has no last macro action, and its score goes nowhere.
    score_at_last = torch.where(segmentation.macro_mask.any(dim=1), scores * discount, 0)
    return rewards.scatter_add(1, _last_macro(segmentation).unsqueeze(1), score_at_last.unsqueeze(1).to(rewards.dtype))


def pooling_weights(segmentation: Segmentation, pooling: ValuePooling, *, dtype: torch.dtype) -> torch.Tensor:
    """Returns [B, T], the weight of each token's value in its macro action's; they sum to 1 over a macro action, 0 on padding.

    With i = 0 .. tau - 1: equal 1/tau; last, first: unit weight; position_late 1/(tau - i) and position_early 1/(i + 1), normalised.
    """
    ids = segmentation.macro_ids
    index = positions(ids)
    length = to_tokens(segmentation.macro_lengths, ids).clamp(min=1)
    if pooling == "last":
        raw = (index == length - 1).to(dtype)
    elif pooling == "first":
        raw = (index == 0).to(dtype)
    elif pooling == "position_late":
        raw = 1 / (length - index).to(dtype)
    elif pooling == "position_early":
        raw = 1 / (index + 1).to(dtype)
    else:
        raw = torch.ones(ids.shape, dtype=dtype, device=ids.device)
    raw = torch.where(ids >= 0, raw, 0)
    total = to_tokens(sum_over_macros(raw, ids, segmentation.macro_lengths.shape[1]), ids)
    return torch.where(ids >= 0, raw / total, 0)


def macro_values(token_values: torch.Tensor, segmentation: Segmentation, *, pooling: ValuePooling) -> torch.Tensor:
    """Returns V_m, [B, M], pooled from the [B, T] token values; 0 on padding and for an empty macro action."""
    ids, lengths = segmentation.macro_ids, segmentation.macro_lengths
    if pooling == "equal":  # the mean; five times as fast as its weights
        return sum_over_macros(token_values, ids, lengths.shape[1]) / lengths.clamp(min=1)
    weights = pooling_weights(segmentation, pooling, dtype=token_values.dtype)
    return sum_over_macros(weights * token_values, ids, lengths.shape[1])


def generalized_advantages(
    rewards: torch.Tensor,
    values: torch.Tensor,
    segmentation: Segmentation,
    *,
    gamma: float,
    gae_lambda: float,
    lambda_per: Literal["macro", "token"] = "macro",
    end_values: torch.Tensor | None = None,
) -> Advantages:
    """Returns advantages and returns of the macro actions.

    delta_m = R_m + gamma^tau_m V_(m+1) - V_m;  A_m = delta_m + gamma^tau_m lambda A_(m+1);  return_m = A_m + V_m. With
    `lambda_per="token"`, lambda^tau_m stands for lambda. Source: Schulman et al. (2016), GAE, on macro actions.

    Args:
        rewards: R_m, [B, M].
        values: V_m, [B, M].
        segmentation: The macro actions.
        gamma: Discount a token.
        gae_lambda: Lambda.
        lambda_per: Whether lambda counts macro actions or tokens.
        end_values: [B], value after the last token; None is 0.
    """
    discounts = _powers(gamma, segmentation.macro_lengths, dtype=values.dtype)
    decays = discounts * (
        gae_lambda if lambda_per == "macro" else _powers(gae_lambda, segmentation.macro_lengths, dtype=values.dtype)
    )
    mask = segmentation.macro_mask
    next_values = torch.zeros_like(values)
    next_values[:, :-1] = torch.where(mask[:, 1:], values[:, 1:], 0)
    if end_values is not None:
        next_values.scatter_(1, _last_macro(segmentation).unsqueeze(1), end_values.to(values.dtype).unsqueeze(1))
    deltas = torch.where(mask, rewards + discounts * next_values - values, 0)
    # One loop over columns for the whole batch, on contiguous [M, B] slices; padding adds nothing, because its delta is 0.
    delta_at, decay_at = deltas.T.contiguous(), decays.T.contiguous()
    advantage_at = [torch.zeros_like(delta_at[0])]
    for m in reversed(range(delta_at.shape[0])):
        advantage_at.append(delta_at[m] + decay_at[m] * advantage_at[-1])
    advantages = torch.stack(advantage_at[:0:-1], dim=1)
    return Advantages(advantages, torch.where(mask, advantages + values, 0))


def whiten(token_advantages: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Returns the advantages with mean 0 and standard deviation 1 over all tokens where `mask` is True; 0 elsewhere."""
    count = mask.sum().clamp(min=1)
    mean = (token_advantages * mask).sum() / count
    centred = (token_advantages - mean) * mask
    deviation = (centred.square().sum() / count).sqrt()
    return centred / (deviation + 1e-8)


def _powers(base: float, exponents: torch.Tensor, *, dtype: torch.dtype) -> torch.Tensor:
    """Returns base^exponents for int64 exponents from 0.

    Looked up in a table, because torch's own power rounds by the place in memory: more padding would change the last bit of a row.
    """
    if base == 1:
        return torch.ones(exponents.shape, dtype=dtype, device=exponents.device)
    highest = int(exponents.max()) if exponents.numel() else 0
    table = torch.tensor([base**exponent for exponent in range(highest + 1)], dtype=dtype, device=exponents.device)
    return table[exponents]


def _last_macro(segmentation: Segmentation) -> torch.Tensor:
    """Returns [B] int64, index of the last macro action (0 where there is none)."""
    return (segmentation.macro_mask.sum(dim=1) - 1).clamp(min=0)
