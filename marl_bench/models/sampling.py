"""Samples responses with any causal LM of transformers; rows are independent of each other and of their batch.

Every row draws its uniform numbers from a generator of its own and picks tokens by inverting the distribution function, so a response depends
on its row seed and not on which rows it is sampled with (up to the rounding of the forward pass).
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from marl_bench.batches import Tokens
from marl_bench.models.cache import make_cache

_SHARE_TO_KEEP = 0.75


@dataclasses.dataclass(frozen=True)
class SamplingSettings:
    """How tokens are drawn.

    Attributes:
        max_response_tokens: Responses are cut there.
        temperature: 0 is greedy.
        top_k: Sample among the k most probable tokens, or None.
        top_p: Sample among the most probable tokens that hold this mass.
        log_prob_temperature: Temperature at which log-probs are given.
    """

    max_response_tokens: int
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    log_prob_temperature: float = 1.0


@dataclasses.dataclass(frozen=True)
class Samples:
    """Sampled responses.

    Attributes:
        tokens: Ids and masks.
        token_log_probs: [B, T] float32, 0 on padding.
        token_entropies: [B, T] float32 in nats, 0 on padding.
    """

    tokens: Tokens
    token_log_probs: torch.Tensor
    token_entropies: torch.Tensor


def row_seed(*parts: int | str) -> int:
    """Returns a 63-bit seed from run seed, update, prompt id and sample index."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@torch.no_grad()
def sample_responses(
    policy: Any,
    prompt_ids: torch.Tensor,
    prompt_mask: torch.Tensor,
    row_seeds: Sequence[int],
    *,
    settings: SamplingSettings,
    eos_id: int,
    pad_id: int,
) -> Samples:
    """Samples one response a row, until EOS or the limit.

    Args:
        policy: A causal LM.
        prompt_ids: [B, P] int64, left-padded.
        prompt_mask: [B, P] bool.
        row_seeds: One a row.
        settings: How tokens are drawn.
        eos_id: Token that ends a response.
        pad_id: Token that fills the rest of a row.
    """
    batch, limit, device = prompt_ids.shape[0], settings.max_response_tokens, prompt_ids.device
    uniforms = _uniforms(row_seeds, limit).to(device)
    ids = torch.full((batch, limit), pad_id, dtype=torch.long, device=device)
    log_probs = torch.zeros(batch, limit, device=device)
    entropies = torch.zeros(batch, limit, device=device)
    lengths = torch.zeros(batch, dtype=torch.long, device=device)
    finished = torch.zeros(batch, dtype=torch.bool, device=device)

    rows = torch.arange(batch, device=device)  # the rows still in the forward pass
    cache = make_cache(policy.config, capacity=prompt_ids.shape[1] + limit)
    mask = torch.ones(batch, prompt_ids.shape[1] + limit, dtype=torch.long, device=device)
    mask[:, : prompt_ids.shape[1]] = prompt_mask
    inputs, positions = prompt_ids, (prompt_mask.long().cumsum(dim=1) - 1).clamp(min=0)
    for step in range(limit):
        width = prompt_ids.shape[1] + step
        logits = policy(
            input_ids=inputs,
            attention_mask=mask[:, :width],
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        token, log_prob, entropy = _draw(logits.float(), uniforms[rows, step], settings)
        going = ~finished[rows]
        written = rows[going]
        ids[written, step], log_probs[written, step], entropies[written, step] = (
            token[going],
            log_prob[going],
            entropy[going],
        )
        lengths[written] = step + 1
        finished[written] = token[going] == eos_id
        inputs, positions = token.unsqueeze(1), positions[:, -1:] + 1
        keep = (~finished[rows]).nonzero().squeeze(1)
        if not len(keep):
            break
        # Taking rows out copies the cache, so a few finished rows are carried along until a quarter has ended.
        if len(keep) <= _SHARE_TO_KEEP * len(rows):
            rows, mask, inputs, positions = rows[keep], mask[keep], inputs[keep], positions[keep]
            cache.batch_select_indices(keep)

    width = max(int(lengths.max()) if batch else 0, 1)
    response_mask = torch.arange(width, device=device) < lengths.unsqueeze(1)
    tokens = Tokens(prompt_ids, prompt_mask, ids[:, :width], response_mask, finished)
    return Samples(tokens, log_probs[:, :width], entropies[:, :width])


def _uniforms(row_seeds: Sequence[int], count: int) -> torch.Tensor:
    draws = [np.random.Generator(np.random.Philox(key=seed)).random(count) for seed in row_seeds]
    return torch.from_numpy(np.stack(draws)) if draws else torch.zeros(0, count, dtype=torch.float64)


def _draw(
    logits: torch.Tensor, uniforms: torch.Tensor, settings: SamplingSettings
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns token [B], log-prob [B] and entropy [B] from [B, V] logits."""
    log_probs = torch.log_softmax(logits / settings.log_prob_temperature, dim=-1)
    entropy = -(log_probs.exp() * log_probs).sum(dim=-1)
    if settings.temperature == 0:
        token = logits.argmax(dim=-1)
    else:
        token = _inverse_distribution(torch.softmax(logits / settings.temperature, dim=-1), uniforms, settings)
    return token, log_probs.gather(1, token.unsqueeze(1)).squeeze(1), entropy


def _inverse_distribution(
    probabilities: torch.Tensor, uniforms: torch.Tensor, settings: SamplingSettings
) -> torch.Tensor:
    # float64: in float32 the cumulative sum over a vocabulary of 256,000 would lose the rare tokens.
    order = None
    probabilities = probabilities.double()
    if settings.top_k is not None or settings.top_p < 1:
        probabilities, order = probabilities.sort(dim=-1, descending=True, stable=True)
        outside = probabilities.cumsum(dim=-1) - probabilities >= settings.top_p
        if settings.top_k is not None:
            outside[:, settings.top_k :] = True
        outside[:, 0] = False
        probabilities = probabilities.masked_fill(outside, 0)
    cumulative = probabilities.cumsum(dim=-1)
    target = uniforms.to(cumulative).unsqueeze(1) * cumulative[:, -1:]
    index = torch.searchsorted(cumulative, target, right=True)
    # Rounding may put the target at the very end, behind the last token that has any mass.
    last = (probabilities > 0).long().cumsum(dim=-1).argmax(dim=-1, keepdim=True)
    index = torch.minimum(index, last)
    return (index if order is None else order.gather(1, index)).squeeze(1)
