"""Samples responses with any causal LM of transformers; rows are independent of each other and of their batch.

Every row draws its uniform numbers from a generator of its own and picks tokens by inverting the distribution function, so a response depends
on its row seed and not on which rows it is sampled with (up to the rounding of the forward pass).
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from marl_bench.batches import Tokens
from marl_bench.models.batch_sizes import BatchSize
from marl_bench.models.cache import cache_argument, make_cache
from marl_bench.models.scoring import micro_batches, response_log_probs

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
        further_ends: Tokens that end a response beside the tokenizer's EOS.
        known_ids: Ids from here on are rows that pad the embedding matrix; none is drawn, but their mass stays in the log-probs, as the
            update sees them. None draws from all.
    """

    max_response_tokens: int
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    log_prob_temperature: float = 1.0
    further_ends: Sequence[int] = ()
    known_ids: int | None = None


@dataclasses.dataclass(frozen=True)
class Samples:
    """Sampled responses.

    Attributes:
        tokens: Ids and masks.
        token_log_probs: [B, T] float32 of the policy's own forward pass, 0 on padding.
        token_entropies: [B, T] float32 in nats, 0 on padding.
        token_sampler_log_probs: [B, T] float32 as another engine gave them that sampled in the policy's place, 0 on padding.
    """

    tokens: Tokens
    token_log_probs: torch.Tensor
    token_entropies: torch.Tensor
    token_sampler_log_probs: torch.Tensor | None = None

    def rows(self, index: torch.Tensor) -> "Samples":
        """Returns the chosen rows."""
        theirs = self.token_sampler_log_probs
        return Samples(
            self.tokens.rows(index),
            self.token_log_probs[index],
            self.token_entropies[index],
            None if theirs is None else theirs[index],
        )


def row_seed(*parts: int | str) -> int:
    """Returns a 63-bit seed from run seed, update, prompt id and sample index."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


class Sampler(Protocol):
    """Samples responses; rows are independent of each other."""

    @property
    def device(self) -> torch.device:
        """Where the prompts have to be."""
        ...

    def sample(
        self,
        prompt_ids: torch.Tensor,
        prompt_mask: torch.Tensor,
        row_seeds: Sequence[int],
        *,
        settings: SamplingSettings,
        eos_id: int,
        pad_id: int,
    ) -> Samples:
        """Samples one response a row as `sample_responses` does."""
        ...

    def rest(self) -> None:
        """Told when all responses of a rollout or an evaluation are there; the policy may change from then on."""
        ...


@dataclasses.dataclass(frozen=True)
class ModelSampler:
    """Samples from a causal LM of transformers, with its weights as they stand."""

    policy: Any

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = self.policy.device
        return device

    def sample(
        self,
        prompt_ids: torch.Tensor,
        prompt_mask: torch.Tensor,
        row_seeds: Sequence[int],
        *,
        settings: SamplingSettings,
        eos_id: int,
        pad_id: int,
    ) -> Samples:
        """Samples one response a row."""
        return sample_responses(
            self.policy, prompt_ids, prompt_mask, row_seeds, settings=settings, eos_id=eos_id, pad_id=pad_id
        )

    def rest(self) -> None:
        """Does nothing: the weights are the policy's own."""


@torch.no_grad()
def read_samples(policy: Any, tokens: Tokens, *, temperature: float, size: BatchSize) -> Samples:
    """Returns responses that are there already as if the policy had sampled them, `size` at most a forward pass."""
    log_probs = torch.zeros(tokens.response_mask.shape, device=tokens.response_ids.device)
    entropies = torch.zeros_like(log_probs)
    for index, rows in micro_batches(tokens, size=size):
        found = response_log_probs(policy, rows, temperature=temperature, entropies=True)
        assert found.token_entropies is not None  # asked for
        log_probs[index, : rows.response_width] = found.token_log_probs
        entropies[index, : rows.response_width] = found.token_entropies
    return Samples(tokens, log_probs, entropies)


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
    limit, device = settings.max_response_tokens, prompt_ids.device
    uniforms = _uniforms(row_seeds, limit).to(device)
    ends = torch.tensor([eos_id, *settings.further_ends], device=device)
    written = _Written.empty(prompt_ids.shape[0], limit, pad_id=pad_id, device=device)
    rows = torch.arange(prompt_ids.shape[0], device=device)  # the rows still in the forward pass
    cache = make_cache(policy.config, capacity=prompt_ids.shape[1] + limit)
    named_cache = {cache_argument(policy): cache}
    mask = torch.nn.functional.pad(prompt_mask.long(), (0, limit), value=1)
    inputs, positions = prompt_ids, (prompt_mask.long().cumsum(dim=1) - 1).clamp(min=0)
    for step in range(limit if len(rows) else 0):
        logits = policy(
            input_ids=inputs,
            attention_mask=mask[:, : prompt_ids.shape[1] + step],
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
            **named_cache,
        ).logits[:, -1]
        drawn = _draw(logits.float(), uniforms[rows, step], settings)
        written.write(rows, step, *drawn, ends=ends)
        inputs, positions = drawn[0].unsqueeze(1), positions[:, -1:] + 1
        keep = (~written.finished[rows]).nonzero().squeeze(1)
        if not len(keep):
            break
        # Taking rows out copies the cache, so a few finished rows are carried along until a quarter has ended.
        if len(keep) <= _SHARE_TO_KEEP * len(rows):
            rows, mask, inputs, positions = rows[keep], mask[keep], inputs[keep], positions[keep]
            cache.batch_select_indices(keep)
    return written.samples(prompt_ids, prompt_mask)


@dataclasses.dataclass(frozen=True)
class _Written:
    """The buffers that a sampling loop fills, [B, limit] and [B]."""

    ids: torch.Tensor
    log_probs: torch.Tensor
    entropies: torch.Tensor
    lengths: torch.Tensor
    finished: torch.Tensor

    @classmethod
    def empty(cls, batch: int, limit: int, *, pad_id: int, device: torch.device) -> "_Written":
        return cls(
            ids=torch.full((batch, limit), pad_id, dtype=torch.long, device=device),
            log_probs=torch.zeros(batch, limit, device=device),
            entropies=torch.zeros(batch, limit, device=device),
            lengths=torch.zeros(batch, dtype=torch.long, device=device),
            finished=torch.zeros(batch, dtype=torch.bool, device=device),
        )

    def write(
        self,
        rows: torch.Tensor,
        step: int,
        token: torch.Tensor,
        log_prob: torch.Tensor,
        entropy: torch.Tensor,
        *,
        ends: torch.Tensor,
    ) -> None:
        """Writes one column for those of the rows that have not finished."""
        going = ~self.finished[rows]
        rows = rows[going]
        self.ids[rows, step], self.log_probs[rows, step] = token[going], log_prob[going]
        self.entropies[rows, step] = entropy[going]
        self.lengths[rows] = step + 1
        self.finished[rows] = torch.isin(token[going], ends)

    def samples(self, prompt_ids: torch.Tensor, prompt_mask: torch.Tensor) -> Samples:
        """Returns what was written, without the columns that no row has reached."""
        width = max(int(self.lengths.max()) if len(self.lengths) else 0, 1)
        response_mask = torch.arange(width, device=self.ids.device) < self.lengths.unsqueeze(1)
        tokens = Tokens(prompt_ids, prompt_mask, self.ids[:, :width], response_mask, self.finished)
        return Samples(tokens, self.log_probs[:, :width], self.entropies[:, :width])


def _uniforms(row_seeds: Sequence[int], count: int) -> torch.Tensor:
    draws = [np.random.Generator(np.random.Philox(key=seed)).random(count) for seed in row_seeds]
    return torch.from_numpy(np.stack(draws)) if draws else torch.zeros(0, count, dtype=torch.float64)


def _draw(
    logits: torch.Tensor, uniforms: torch.Tensor, settings: SamplingSettings
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns token [B], log-prob [B] and entropy [B] from [B, V] logits."""
    log_probs = torch.log_softmax(logits / settings.log_prob_temperature, dim=-1)
    entropy = -(log_probs.exp() * log_probs).sum(dim=-1)
    logits = logits[:, : settings.known_ids]
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
    if bool((index == cumulative.shape[-1]).any()):
        last = (probabilities > 0).long().cumsum(dim=-1).argmax(dim=-1, keepdim=True)
        index = torch.minimum(index, last)
    return (index if order is None else order.gather(1, index)).squeeze(1)
