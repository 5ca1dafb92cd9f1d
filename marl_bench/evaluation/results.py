"""From responses and their scores to the result of an evaluation: every sample with every number known of it. No torch."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from marl_bench.evaluation.measure import BUILT_IN_DIRECTIONS, measure, oracle_scores
from marl_bench.interfaces import Metric, Task
from marl_bench.records import EvalResult, EvalSample, Prompt, Response
from marl_bench.score_parts import Scores


@dataclasses.dataclass(frozen=True)
class ScoredResponses:
    """What models and rewards say of responses, one value each.

    Attributes:
        score: The score; None where the evaluation has no reward.
        parts: Name of each part of the score to its scores.
        kl: log p - log p_ref in nats, summed over the response; None where it is not known.
    """

    score: Scores | None
    parts: Mapping[str, Scores]
    kl: Sequence[float | None]


def eval_result(
    task: Task,
    prompts: Sequence[Prompt],
    responses: Sequence[Response],
    scored: ScoredResponses,
    *,
    metrics: Sequence[Metric],
    primary_metric: str,
) -> EvalResult:
    """Returns all samples with score, oracle (where the task has one), metrics, `response_tokens`, `finished` and `kl`.

    Args:
        task: Gives the oracle.
        prompts: One a response.
        responses: The responses.
        scored: Their scores.
        metrics: Those of the evaluation.
        primary_metric: Name of the score.

    Raises:
        DataError: A metric cannot be computed at all.
    """
    columns: dict[str, Sequence[float | None]] = {}
    directions: dict[str, bool | None] = {}
    if scored.score is not None:
        columns[primary_metric], directions[primary_metric] = scored.score, True
    if len(scored.parts) > 1:
        columns.update({f"reward {name}": scores for name, scores in scored.parts.items()})
        directions.update(dict.fromkeys((f"reward {name}" for name in scored.parts), None))
    oracle = oracle_scores(task, prompts, responses)
    if oracle is not None:
        columns["oracle"] = list(oracle)
        directions["oracle"] = True
    measured = measure(metrics, prompts, responses)
    columns.update(measured.columns)
    directions.update(measured.higher_is_better)
    columns.update(length_columns(responses))
    columns["kl"] = scored.kl
    directions.update(BUILT_IN_DIRECTIONS)
    return EvalResult(_samples(prompts, responses, columns), directions, measured.problems)


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


def length_columns(responses: Sequence[Response]) -> dict[str, Scores]:
    """Returns `response_tokens` and `finished` of responses, None where it is not known."""

    def number(value: int | None) -> float | None:
        return None if value is None else float(value)

    return {
        "response_tokens": [number(response.token_count) for response in responses],
        "finished": [number(response.finished) for response in responses],
    }


def _samples(
    prompts: Sequence[Prompt], responses: Sequence[Response], columns: Mapping[str, Sequence[float | None]]
) -> list[EvalSample]:
    return [
        EvalSample(
            prompt.id, prompt.subset, prompt.text, response, {name: values[row] for name, values in columns.items()}
        )
        for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True))
    ]
