"""Responses to prompts: sampled in batches, as tensors and as text records."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn.functional import pad

from marl_bench.batches import Tokens
from marl_bench.config import SamplingConfig
from marl_bench.models.prompts import encode_prompts
from marl_bench.models.reading import encode_samples
from marl_bench.models.sampling import Sampler, Samples, SamplingSettings, row_seed
from marl_bench.models.scoring import in_micro_batches, response_log_probs
from marl_bench.records import EvalSample, Prompt, Response


@dataclasses.dataclass(frozen=True)
class SampledResponses:
    """Responses, one row a prompt.

    Attributes:
        samples: Tokens, log-probs and entropies.
        responses: The same as text records.
        row_seeds: The seed of each row.
    """

    samples: Samples
    responses: Sequence[Response]
    row_seeds: Sequence[int]

    def rows(self, rows: Sequence[int]) -> "SampledResponses":
        """Returns the chosen rows."""
        index = torch.tensor(rows, dtype=torch.long, device=self.samples.token_log_probs.device)
        kept = Samples(
            self.samples.tokens.rows(index), self.samples.token_log_probs[index], self.samples.token_entropies[index]
        )
        return SampledResponses(kept, [self.responses[row] for row in rows], [self.row_seeds[row] for row in rows])

    def first(self, count: int) -> "SampledResponses":
        """Returns the first rows, at most `count`."""
        samples, rows = self.samples, slice(count)
        kept = Samples(samples.tokens.rows(rows), samples.token_log_probs[rows], samples.token_entropies[rows])
        return SampledResponses(kept, self.responses[rows], self.row_seeds[rows])


def sampling_settings(sampling: SamplingConfig, *, temperature: float | None = None) -> SamplingSettings:
    """Returns the sampler's settings; `temperature` stands in for the configured one."""
    return SamplingSettings(
        max_response_tokens=sampling.max_response_tokens,
        temperature=sampling.temperature if temperature is None else temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        log_prob_temperature=log_prob_temperature(sampling),
    )


def log_prob_temperature(sampling: SamplingConfig) -> float:
    """Returns the temperature at which log-probs are taken."""
    return sampling.temperature if sampling.logprobs == "sampled" else 1.0


def respond(
    sampler: Sampler,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    settings: SamplingSettings,
    batch_size: int,
    seed_parts: tuple[int | str, ...],
    indices: Sequence[int] | None = None,
) -> SampledResponses:
    """Samples one response a prompt, `batch_size` rows at once.

    Args:
        sampler: Samples them.
        tokenizer: Its tokenizer.
        prompts: One row each; a prompt may stand several times.
        settings: How tokens are drawn.
        batch_size: Rows sampled at once.
        seed_parts: What row seeds are made of beside prompt id and sample index.
        indices: Sample index of each row; None counts how often its prompt has stood before.
    """
    parts = list(
        batches_of_responses(
            sampler,
            tokenizer,
            prompts,
            settings=settings,
            batch_size=batch_size,
            seed_parts=seed_parts,
            indices=indices,
        )
    )
    return SampledResponses(
        _concatenate([part.samples for part in parts], pad_id=tokenizer.pad_token_id),
        [response for part in parts for response in part.responses],
        [seed for part in parts for seed in part.row_seeds],
    )


def batches_of_responses(
    sampler: Sampler,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    settings: SamplingSettings,
    batch_size: int,
    seed_parts: tuple[int | str, ...],
    indices: Sequence[int] | None = None,
) -> Iterator[SampledResponses]:
    """Yields the responses of `respond` batch by batch.

    Args:
        sampler: Samples them.
        tokenizer: Its tokenizer.
        prompts: One row each; a prompt may stand several times.
        settings: How tokens are drawn.
        batch_size: Rows sampled at once.
        seed_parts: What row seeds are made of beside prompt id and sample index.
        indices: Sample index of each row; None counts how often its prompt has stood before.
    """
    indices = _sample_indices(prompts) if indices is None else indices
    seeds = [row_seed(*seed_parts, prompt.id, index) for prompt, index in zip(prompts, indices, strict=True)]
    for start in range(0, len(prompts), batch_size):
        chunk = slice(start, start + batch_size)
        prompt_ids, prompt_mask = encode_prompts(prompts[chunk], tokenizer)
        samples = sampler.sample(
            prompt_ids.to(sampler.device),
            prompt_mask.to(sampler.device),
            seeds[chunk],
            settings=settings,
            eos_id=tokenizer.eos_token_id,
            pad_id=tokenizer.pad_token_id,
        )
        yield SampledResponses(
            samples, _as_records(samples.tokens, prompts[chunk], indices[chunk], tokenizer), seeds[chunk]
        )


def stored_responses(
    policy: Any,
    tokenizer: Any,
    samples: Sequence[EvalSample],
    *,
    temperature: float,
    batch_size: int,
    seed_parts: tuple[int | str, ...],
) -> SampledResponses:
    """Returns responses that were stored as texts as the policy would have sampled them.

    Where a text has several encodings its tokens may be others than those that were sampled (about one response in a hundred of the shipped
    models).

    Args:
        policy: The causal LM that wrote them.
        tokenizer: Its tokenizer.
        samples: Prompts with their responses.
        temperature: Of the log-probs.
        batch_size: Responses a forward pass.
        seed_parts: What row seeds are made of beside prompt id and sample index.
    """
    tokens = encode_samples(samples, tokenizer, device=policy.device)

    def entropies(rows: Tokens) -> torch.Tensor:
        found = response_log_probs(policy, rows, temperature=temperature, entropies=True).token_entropies
        assert found is not None  # asked for
        return found

    log_probs = in_micro_batches(
        lambda rows: response_log_probs(policy, rows, temperature=temperature).token_log_probs, tokens, size=batch_size
    )
    found = Samples(tokens, log_probs, in_micro_batches(entropies, tokens, size=batch_size))
    responses = [sample.response for sample in samples]
    seeds = [row_seed(*seed_parts, response.prompt_id, response.sample_index) for response in responses]
    return SampledResponses(found, responses, seeds)


def _sample_indices(prompts: Sequence[Prompt]) -> list[int]:
    seen: dict[str, int] = {}
    indices = []
    for prompt in prompts:
        indices.append(seen.get(prompt.id, 0))
        seen[prompt.id] = indices[-1] + 1
    return indices


def _as_records(tokens: Tokens, prompts: Sequence[Prompt], indices: Sequence[int], tokenizer: Any) -> list[Response]:
    ids = [row[mask].tolist() for row, mask in zip(tokens.response_ids, tokens.response_mask, strict=True)]
    texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
    rows = zip(prompts, texts, ids, tokens.finished.tolist(), indices, strict=True)
    return [Response(prompt.id, text, len(row), finished, index) for prompt, text, row, finished, index in rows]


def _concatenate(parts: Sequence[Samples], *, pad_id: int) -> Samples:
    if len(parts) == 1:
        return parts[0]
    left = max(part.tokens.prompt_width for part in parts)
    right = max(part.tokens.response_width for part in parts)

    def joined(tensors: Sequence[torch.Tensor], *, on_left: bool, fill: int | bool | float) -> torch.Tensor:
        width = left if on_left else right
        margins = [(width - tensor.shape[1], 0) if on_left else (0, width - tensor.shape[1]) for tensor in tensors]
        return torch.cat([pad(tensor, margin, value=fill) for tensor, margin in zip(tensors, margins, strict=True)])

    tokens = Tokens(
        joined([part.tokens.prompt_ids for part in parts], on_left=True, fill=pad_id),
        joined([part.tokens.prompt_mask for part in parts], on_left=True, fill=False),
        joined([part.tokens.response_ids for part in parts], on_left=False, fill=pad_id),
        joined([part.tokens.response_mask for part in parts], on_left=False, fill=False),
        torch.cat([part.tokens.finished for part in parts]),
    )
    return Samples(
        tokens,
        joined([part.token_log_probs for part in parts], on_left=False, fill=0.0),
        joined([part.token_entropies for part in parts], on_left=False, fill=0.0),
    )
