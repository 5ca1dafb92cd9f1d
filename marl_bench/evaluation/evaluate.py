"""Evaluates a policy on held-out prompts: every sample with every number known of it."""

import dataclasses
from collections.abc import Sequence

import torch

from marl_bench.config import RunConfig
from marl_bench.errors import DataError
from marl_bench.evaluation.results import ScoredResponses, eval_result
from marl_bench.interfaces import Metric, Task
from marl_bench.models.actors import Actors
from marl_bench.models.responses import SampledResponses, log_prob_temperature, respond, sampling_settings
from marl_bench.models.scoring import in_micro_batches, response_log_probs
from marl_bench.records import EvalResult, Prompt
from marl_bench.score_parts import ToScore


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """An evaluation with the responses as they were sampled.

    Attributes:
        result: Every sample with its metrics.
        sampled: The same responses, row by row, as tokens.
    """

    result: EvalResult
    sampled: SampledResponses


def evaluate_policy(
    actors: Actors,
    task: Task,
    prompts: Sequence[Prompt],
    *,
    metrics: Sequence[Metric],
    config: RunConfig,
    primary_metric: str,
    seed: int,
) -> Evaluated:
    """Samples `evaluation.samples_per_prompt` responses a prompt and returns all samples with their metrics.

    The metrics are the score (under the name given), the oracle where the task has one, those given, and `response_tokens`, `finished` and
    `kl`: log p - log p_ref in nats, summed over the response.

    Raises:
        DataError: There are no prompts, or a metric cannot be computed at all.
    """
    sampling, size = config.sampling, config.ppo.score_batch_size
    distinct = prompts[: config.evaluation.max_prompts]
    if not distinct:
        raise DataError(
            "evaluation: the task has no evaluation prompts (data.limit and data.overlong_prompts may have left none)."
        )
    prompts = [prompt for prompt in distinct for _ in range(config.evaluation.samples_per_prompt)]
    sampled = respond(
        actors.sampler,
        actors.tokenizer,
        prompts,
        settings=sampling_settings(sampling, temperature=config.evaluation.temperature),
        batch_size=actors.sample_batch(config.ppo.sample_batch_size),
        seed_parts=(seed, "evaluation"),
    )
    tokens, responses = sampled.samples.tokens, sampled.responses
    parts = actors.reward.scores_by_part(ToScore(task, prompts, responses, tokens, size))
    scored = ScoredResponses(
        score=actors.reward.total(list(parts.values())),
        parts=parts,
        kl=policy_kl(actors, sampled, temperature=log_prob_temperature(sampling), size=size),
    )
    actors.rest()
    result = eval_result(task, prompts, responses, scored, metrics=metrics, primary_metric=primary_metric)
    return Evaluated(result, sampled)


def policy_kl(
    actors: Actors, sampled: SampledResponses, *, temperature: float, size: int, greedy: bool = False
) -> list[float]:
    """Returns log p - log p_ref in nats, summed over each response.

    Args:
        actors: Gives the reference.
        sampled: Responses with the log-probs p of what sampled them.
        temperature: Of the reference.
        size: Responses a forward pass.
        greedy: True if the responses are the only ones that their policy gives: p is 1.
    """
    tokens = sampled.samples.tokens
    reference = in_micro_batches(
        lambda rows: response_log_probs(actors.reference, rows, temperature=temperature).token_log_probs,
        tokens,
        size=actors.score_batch(size),
        halvings=actors.halvings,
    )
    differences = -reference if greedy else sampled.samples.token_log_probs - reference
    summed: list[float] = torch.where(tokens.response_mask, differences, 0).sum(dim=1).tolist()
    return summed
