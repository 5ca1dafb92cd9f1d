"""Metrics of samples, with those that cannot be computed counted and named."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from marl_bench.errors import ConfigError, DataError
from marl_bench.interfaces import Metric, Task
from marl_bench.records import Prompt, Response

BUILT_IN_DIRECTIONS: Mapping[str, bool | None] = {"response_tokens": None, "finished": True, "kl": None}
"""Metrics that every evaluation has."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """Metrics of the same samples.

    Attributes:
        columns: Metric name to one value a sample; None where there is none.
        higher_is_better: Metric name to which end is better, or None.
        problems: One sentence for each metric that failed on some samples, with the first of them.
    """

    columns: Mapping[str, Sequence[float | None]]
    higher_is_better: Mapping[str, bool | None]
    problems: Sequence[str]


def check_metric_names(metrics: Sequence[Metric], *, taken: Sequence[str]) -> None:
    """Checks before any work that every metric has a name of its own.

    Args:
        metrics: The metrics of an evaluation.
        taken: Names that are not free, such as that of the score.

    Raises:
        ConfigError: Two have the same name.
    """
    names = [*taken, *BUILT_IN_DIRECTIONS, *(name for metric in metrics for name in metric.names)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"metrics: {', '.join(twice)} stands twice; the task, or the evaluation itself, has it already. Leave one out."
        )


def oracle_scores(
    task: Task, prompts: Sequence[Prompt], responses: Sequence[Response]
) -> Sequence[float | None] | None:
    """Returns the task's oracle scores, or None where the data has none.

    Raises:
        DataError: They are not one finite number, or None, for each response.
    """
    found = task.oracle(prompts, responses)
    if found is None:
        return None
    if len(found) != len(responses):
        raise DataError(f"oracle: {len(found)} values for {len(responses)} responses; it must return one each.")
    for prompt, value in zip(prompts, found, strict=True):
        if value is not None and not math.isfinite(value):
            raise DataError(
                f"oracle: the value of the response to prompt '{prompt.id}' is {value}; should be finite, or None."
            )
    return found


def measure(metrics: Sequence[Metric], prompts: Sequence[Prompt], responses: Sequence[Response]) -> Measured:
    """Returns the values of all metrics.

    A metric that raises is asked again sample by sample, so that one odd response does not cost the others their values.

    Raises:
        DataError: A metric raised on every sample, returned another number of values, or lacks one of its names.
    """
    columns: dict[str, Sequence[float | None]] = {}
    directions: dict[str, bool | None] = {}
    problems: list[str] = []
    for metric in metrics:
        found, failures = _values(metric, prompts, responses)
        columns.update({name: _finite(name, values, failures) for name, values in found.items()})
        directions.update(dict.fromkeys(metric.names, metric.higher_is_better))
        if failures:
            label, row = ", ".join(metric.names), min(failures)
            first = f"the first: prompt '{prompts[row].id}', {failures[row]}"
            problems.append(f"Metric {label}: no value for {len(failures)} of {len(prompts)} samples; {first}.")
    return Measured(columns, directions, problems)


def _values(
    metric: Metric, prompts: Sequence[Prompt], responses: Sequence[Response]
) -> tuple[dict[str, list[float | None]], dict[int, str]]:
    """Returns the values of each name, and position and error of each sample that the metric failed on."""
    label = ", ".join(metric.names)
    try:
        return _complete(metric, prompts, responses), {}
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 (whatever a plugin raises is reported)
        first = error
    values: dict[str, list[float | None]] = {name: [] for name in metric.names}
    failures: dict[int, str] = {}
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        try:
            one = _complete(metric, [prompt], [response])
        except Exception as error:  # noqa: BLE001 (likewise)
            failures[row] = f"{type(error).__name__}: {error}"
            one = {name: [None] for name in metric.names}
        for name in values:
            values[name] += one[name]
    if len(failures) == len(prompts):
        raise DataError(f"metric {label}: fails on every sample ({type(first).__name__}: {first}).") from first
    if not failures:
        raise DataError(
            f"metric {label}: fails on all samples together ({type(first).__name__}: {first}), though on none alone."
        ) from first
    return values, failures


def _complete(
    metric: Metric, prompts: Sequence[Prompt], responses: Sequence[Response]
) -> dict[str, list[float | None]]:
    found = metric.compute(prompts, responses)
    result = {}
    for name in metric.names:
        if name not in found:
            raise DataError(f"metric '{name}': is missing; the metric returned {', '.join(found) or 'nothing'}.")
        if isinstance(found[name], str | bytes | Mapping):
            raise DataError(
                f"metric '{name}': returned a {type(found[name]).__name__}; it must return one value for each response."
            )
        values = [None if value is None else float(value) for value in found[name]]
        if len(values) != len(prompts):
            raise DataError(
                f"metric '{name}': {len(values)} values for {len(prompts)} responses; it must return one each."
            )
        result[name] = values
    return result


def _finite(name: str, values: Sequence[float | None], failures: dict[int, str]) -> list[float | None]:
    """Returns the values with None for those that are not finite, which are failures too."""
    kept: list[float | None] = []
    for row, value in enumerate(values):
        if value is not None and not math.isfinite(value):
            failures.setdefault(row, f"{name} is {value}")
            value = None
        kept.append(value)
    return kept
