"""Evaluates a policy on held-out prompts: every sample with every number known of it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import torch

from marl_bench.config import RunConfig
from marl_bench.errors import DataError
from marl_bench.evaluation.measure import BUILT_IN_DIRECTIONS, measure, oracle_scores
from marl_bench.interfaces import Metric, Task
from marl_bench.models.actors import Actors
from marl_bench.models.responses import SampledResponses, log_prob_temperature, respond, sampling_settings
from marl_bench.models.rewards import ToScore
from marl_bench.models.scoring import in_micro_batches, response_log_probs
from marl_bench.records import EvalResult, EvalSample, Prompt, Response


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
        actors.policy,
        actors.tokenizer,
        prompts,
        settings=sampling_settings(sampling, temperature=config.evaluation.temperature),
        batch_size=config.ppo.sample_batch_size,
        seed_parts=(seed, "evaluation"),
    )
    tokens, responses = sampled.samples.tokens, sampled.responses
    parts = actors.reward.scores_by_part(ToScore(task, prompts, responses, tokens, size))
    columns: dict[str, Sequence[float | None]] = {primary_metric: actors.reward.total(list(parts.values()))}
    directions: dict[str, bool | None] = {primary_metric: True}
    if len(parts) > 1:
        columns.update({f"reward {name}": scores for name, scores in parts.items()})
        directions.update(dict.fromkeys((f"reward {name}" for name in parts), None))
    oracle = oracle_scores(task, prompts, responses)
    if oracle is not None:
        columns["oracle"] = list(oracle)
        directions["oracle"] = True
    measured = measure(metrics, prompts, responses)
    columns.update(measured.columns)
    directions.update(measured.higher_is_better)
    columns["response_tokens"] = [float(response.token_count) for response in responses]
    columns["finished"] = [float(response.finished) for response in responses]
    columns["kl"] = policy_kl(actors, sampled, temperature=log_prob_temperature(sampling), size=size)
    directions.update(BUILT_IN_DIRECTIONS)
    return Evaluated(EvalResult(_samples(prompts, responses, columns), directions, measured.problems), sampled)


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
        size=size,
    )
    differences = -reference if greedy else sampled.samples.token_log_probs - reference
    summed: list[float] = torch.where(tokens.response_mask, differences, 0).sum(dim=1).tolist()
    return summed


def aggregate(result: EvalResult, *, score: str) -> tuple[dict[str, float], dict[str, int]]:
    """Returns the mean of each metric over its scored samples, and how many are unscored.

    A metric without any value is not measured on these data (such as citations without references), which is no failure; but the score is.
    """
    means: dict[str, float] = {}
    unscored: dict[str, int] = {}
    for name in result.higher_is_better:
        values = [value for sample in result.samples if (value := sample.metrics[name]) is not None]
        if values or name == score:
            unscored[name] = len(result.samples) - len(values)
        if values:
            means[name] = math.fsum(values) / len(values)
    return means, unscored


def _samples(
    prompts: Sequence[Prompt], responses: Sequence[Response], columns: Mapping[str, Sequence[float | None]]
) -> list[EvalSample]:
    return [
        EvalSample(
            prompt.id, prompt.subset, prompt.text, response, {name: values[row] for name, values in columns.items()}
        )
        for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True))
    ]
