"""Evaluates a policy on held-out prompts: every sample with every number known of it."""

import dataclasses
from collections.abc import Mapping, Sequence

import torch

from marl_bench.config import RunConfig
from marl_bench.errors import DataError
from marl_bench.evaluation.best_of import chosen
from marl_bench.evaluation.results import ScoredResponses, eval_result
from marl_bench.interfaces import Metric, Task
from marl_bench.models.actors import Actors
from marl_bench.models.joining import moved
from marl_bench.models.responses import (
    SampledResponses,
    joined_responses,
    log_prob_temperature,
    respond,
    sample_indices,
    sampling_settings,
)
from marl_bench.models.scoring import in_micro_batches, response_log_probs
from marl_bench.records import EvalResult, Prompt
from marl_bench.score_parts import Scores, ToScore
from marl_bench.statistics.best_of_n import best_of_n_kl


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """An evaluation with the responses as they were sampled.

    Attributes:
        result: Every sample with its metrics.
        sampled: The same responses, row by row, as tokens.
    """

    result: EvalResult
    sampled: SampledResponses


@dataclasses.dataclass(frozen=True)
class EvaluationRun:
    """How a policy is evaluated.

    Attributes:
        config: Settings of sampling and evaluation.
        metrics: Metrics beside the score.
        primary_metric: Name of the score.
        seed: Of the samples.
        best_of: So many responses are sampled for each sample, and the one with the highest score is kept.
    """

    config: RunConfig
    metrics: Sequence[Metric]
    primary_metric: str
    seed: int
    best_of: int = 1


def evaluate_policy(actors: Actors, task: Task, prompts: Sequence[Prompt], run: EvaluationRun) -> Evaluated:
    """Samples `evaluation.samples_per_prompt` responses a prompt and returns all samples with their metrics.

    The metrics are the score (under the name given), the oracle where the task has one, those given, and `response_tokens`, `finished` and
    `kl`: log p - log p_ref in nats, summed over the response; for best-of-N with the bound of its KL to the policy on top.

    Raises:
        DataError: There are no prompts, or a metric cannot be computed at all.
    """
    config, best_of = run.config, run.best_of
    sampling, size = config.sampling, config.ppo.score_batch_size
    temperature = log_prob_temperature(sampling)
    distinct = prompts[: config.evaluation.max_prompts]
    if not distinct:
        raise DataError(
            "evaluation: the task has no evaluation prompts (data.limit and data.overlong_prompts may have left none)."
        )
    prompts = [prompt for prompt in distinct for _ in range(config.evaluation.samples_per_prompt)]
    asked = [prompt for prompt in prompts for _ in range(best_of)]
    indices, world = sample_indices(asked), actors.world

    def share(kept: slice) -> _Share:
        rows = slice(kept.start * best_of, kept.stop * best_of)
        sampled = respond(
            actors.sampler,
            actors.tokenizer,
            asked[rows],
            settings=sampling_settings(sampling, temperature=config.evaluation.temperature),
            batch_size=actors.sample_batch(config.ppo.sample_batch_size),
            seed_parts=(run.seed, "evaluation"),
            indices=indices[rows],
        )
        if best_of > 1:
            sampled = chosen(actors, task, asked[rows], sampled, best_of=best_of, size=size)
        batch = ToScore(task, prompts[kept], sampled.responses, sampled.samples.tokens, size)
        parts = actors.reward.scores_by_part(batch)
        kl = [value + best_of_n_kl(best_of) for value in policy_kl(actors, sampled, temperature=temperature, size=size)]
        actors.rest()
        found = _Share(sampled, parts, kl)
        return found if world.size == 1 else moved(found, torch.device("cpu"))

    whole = _joined(world.in_shares("evaluation", len(prompts), share), actors)
    scored = ScoredResponses(actors.reward.total(list(whole.parts.values())), parts=whole.parts, kl=whole.kl)
    result = world.on_main(
        "metrics",
        lambda: eval_result(
            task, prompts, whole.sampled.responses, scored, metrics=run.metrics, primary_metric=run.primary_metric
        ),
    )
    return Evaluated(result, whole.sampled)


@dataclasses.dataclass(frozen=True)
class _Share:
    """The part of an evaluation that one process makes."""

    sampled: SampledResponses
    parts: Mapping[str, Scores]
    kl: Sequence[float]


def _joined(shares: Sequence[_Share], actors: Actors) -> _Share:
    """Returns the rows of all shares, on the policy's device."""
    if actors.world.size == 1:
        return shares[0]
    whole = _Share(
        joined_responses([share.sampled for share in shares], pad_id=actors.tokenizer.pad_token_id),
        {name: [score for share in shares for score in share.parts[name]] for name in shares[0].parts},
        [value for share in shares for value in share.kl],
    )
    return moved(whole, actors.policy.device)


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
