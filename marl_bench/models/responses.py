"""Responses to prompts: sampled in batches, as tensors and as text records."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from marl_bench.batches import Tokens
from marl_bench.config import SamplingConfig
from marl_bench.models.batch_sizes import BatchSize, groups_of_rows
from marl_bench.models.joining import joined_on_right, joined_tokens
from marl_bench.models.prompts import encode_prompts
from marl_bench.models.reading import encode_samples
from marl_bench.models.sampling import Sampler, Samples, SamplingSettings, read_samples, row_seed
from marl_bench.models.vocabulary import known_ids
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

    def first(self, count: int) -> "SampledResponses":
        """Returns the first rows, at most `count`."""
        return self.rows(range(min(count, len(self.responses))))

    def rows(self, index: Sequence[int]) -> "SampledResponses":
        """Returns the chosen rows."""
        chosen = torch.tensor(index, dtype=torch.long, device=self.samples.token_log_probs.device)
        return SampledResponses(
            self.samples.rows(chosen), [self.responses[row] for row in index], [self.row_seeds[row] for row in index]
        )


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
    batch_size: int | BatchSize,
    seed_parts: tuple[int | str, ...],
    indices: Sequence[int] | None = None,
) -> SampledResponses:
    """Samples one response a prompt, `batch_size` rows at once; under a limit on tokens, prompts of similar length together.

    Args:
        sampler: Samples them.
        tokenizer: Its tokenizer.
        prompts: One row each; a prompt may stand several times.
        settings: How tokens are drawn.
        batch_size: Rows sampled at once.
        seed_parts: What row seeds are made of beside prompt id and sample index.
        indices: Sample index of each row; None counts how often its prompt has stood before.

    Raises:
        ConfigError: A prompt with the longest response is longer than a limit on tokens.
    """
    indices = sample_indices(prompts) if indices is None else indices
    size = BatchSize(batch_size) if isinstance(batch_size, int) else batch_size
    order = list(range(len(prompts)))
    if size.tokens is not None:
        lengths = encode_prompts(prompts, tokenizer)[1].sum(dim=1).tolist() if prompts else []
        order.sort(key=lengths.__getitem__)
        groups = groups_of_rows([(lengths[row], settings.max_response_tokens) for row in order], size)
    else:
        groups = [size.rows] * -(-len(prompts) // size.rows)
    parts: list[SampledResponses] = []
    for start, rows in zip(itertools.accumulate(groups, initial=0), groups, strict=False):
        chosen = order[start : start + rows]
        parts += batches_of_responses(
            sampler,
            tokenizer,
            [prompts[row] for row in chosen],
            settings=settings,
            batch_size=rows,
            seed_parts=seed_parts,
            indices=[indices[row] for row in chosen],
        )
    sampler.rest()
    found = joined_responses(parts, pad_id=tokenizer.pad_token_id)
    return found if size.tokens is None else found.rows(_inverse(order))


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
    settings = dataclasses.replace(settings, known_ids=known_ids(tokenizer))
    indices = sample_indices(prompts) if indices is None else indices
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
    found = read_samples(policy, tokens, temperature=temperature, size=BatchSize(batch_size))
    responses = [sample.response for sample in samples]
    seeds = [row_seed(*seed_parts, response.prompt_id, response.sample_index) for response in responses]
    return SampledResponses(found, responses, seeds)


def _inverse(order: Sequence[int]) -> list[int]:
    """Returns where each row went."""
    return sorted(range(len(order)), key=order.__getitem__)


def sample_indices(prompts: Sequence[Prompt]) -> list[int]:
    """Returns for each row how often its prompt has stood before."""
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


def joined_responses(parts: Sequence[SampledResponses], *, pad_id: int) -> SampledResponses:
    """Returns the rows of all parts."""
    return SampledResponses(
        joined_samples([part.samples for part in parts], pad_id=pad_id),
        [response for part in parts for response in part.responses],
        [seed for part in parts for seed in part.row_seeds],
    )


def joined_samples(parts: Sequence[Samples], *, pad_id: int) -> Samples:
    """Returns the rows of all parts."""
    if len(parts) == 1:
        return parts[0]
    theirs = [part.token_sampler_log_probs for part in parts if part.token_sampler_log_probs is not None]
    return Samples(
        joined_tokens([part.tokens for part in parts], pad_id=pad_id),
        joined_on_right([part.token_log_probs for part in parts], fill=0.0),
        joined_on_right([part.token_entropies for part in parts], fill=0.0),
        joined_on_right(theirs, fill=0.0) if theirs else None,
    )
