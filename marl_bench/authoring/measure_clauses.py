"""Clauses of the contract on what a task says of responses. Each yields what is wrong."""

import asyncio
import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from marl_bench.authoring.data_clauses import Skipped
from marl_bench.authoring.opened_task import OpenedTask
from marl_bench.authoring.samples import CheckedData
from marl_bench.errors import MarlBenchError
from marl_bench.evaluation.measure import check_metric_names, measure
from marl_bench.records import Prompt, Response

Column = Sequence[float | None]


def reward(opened: OpenedTask, data: CheckedData) -> Iterator[str]:
    """A rule reward gives one score in its range for each response, good or bad, the same one each time."""
    if opened.spec.reward_kind != "rule":
        raise Skipped("the score is a reward model's")
    prompts, responses = _all(data)
    scores = _scores(opened, prompts, responses)
    if len(scores) != len(responses):
        yield f"{len(scores)} scores for {len(responses)} responses"
        return
    low, high = opened.spec.score_range or (-math.inf, math.inf)
    for prompt, response, score in zip(prompts, responses, scores, strict=True):
        if score is not None and not (math.isfinite(score) and low <= score <= high):
            yield f"the score of {_named(prompt, response)} is {score}; should be finite, in [{low}, {high}], or None"
            return
    if all(score is None for score in scores):
        yield "no response has a score; all are None"
    if list(scores) != list(_scores(opened, prompts, responses)):
        yield "the same responses get other scores the second time"


def oracle(opened: OpenedTask, data: CheckedData) -> Iterator[str]:
    """The oracle, where there is one, gives a finite score for each response."""
    prompts, responses = _all(data)
    found = opened.task.oracle(prompts, responses)
    if found is None:
        raise Skipped("the data have no known optimum")
    if len(found) != len(responses):
        yield f"{len(found)} values for {len(responses)} responses"
    if not all(value is None or math.isfinite(value) for value in found):
        yield "a value is not finite"


def metrics(opened: OpenedTask, data: CheckedData) -> Iterator[str]:
    """Every metric has a name of its own and gives one finite value, or None, for each sample, whatever stands beside it."""
    try:
        check_metric_names(opened.task.metrics, taken=[opened.spec.primary_metric, "oracle"])
    except MarlBenchError as error:
        yield str(error)
    prompts, responses = _all(data)
    distinct = len(data.prompts)
    half = max(1, distinct // 2)
    for metric in opened.task.metrics:
        try:
            problems = measure([metric], prompts, responses).problems
            together = measure([metric], prompts[:distinct], responses[:distinct]).columns
            alone = measure([metric], prompts[:half], responses[:half]).columns
        except MarlBenchError as error:
            yield str(error)
            continue
        yield from problems
        for name in metric.names:
            if list(together[name][:half]) != list(alone[name]):
                yield f"metric '{name}': the value of a sample changes with the other prompts that stand beside it"


def gold(opened: OpenedTask, data: CheckedData) -> Iterator[str]:
    """References outscore spoiled responses on everything that claims to be better when higher.

    No corruption may have more, and one at least must have less: the words in another order are the same words to ROUGE-1.
    """
    if not data.gold:
        raise Skipped("no evaluation prompt has a reference")
    prompts = data.gold_prompts
    good = _claims(opened, prompts, data.gold)
    bad = {corruption: _claims(opened, prompts, responses) for corruption, responses in data.spoiled.items()}
    for name, values in good.items():
        compared = {
            corruption: means
            for corruption, columns in bad.items()
            if (means := _means(values, columns[name])) is not None
        }
        for corruption, (own, other) in compared.items():
            if own < other:
                yield f"{name}: references have {own:.3g} on average, {corruption} {other:.3g}"
        if compared and all(own == other for own, other in compared.values()):
            yield f"{name}: tells no reference from a spoiled response ({', '.join(compared)})"


def _claims(opened: OpenedTask, prompts: Sequence[Prompt], responses: Sequence[Response]) -> Mapping[str, Column]:
    """Returns all that is said to be better when higher: the rule reward, the oracle, and the metrics that claim it."""
    columns: dict[str, Column] = {}
    if opened.spec.reward_kind == "rule":
        columns["score"] = _scores(opened, prompts, responses)
    known = opened.task.oracle(prompts, responses)
    if known is not None:
        columns["oracle"] = known
    for metric in opened.task.metrics:
        if metric.higher_is_better:
            columns.update({f"metric '{name}'": metric.compute(prompts, responses)[name] for name in metric.names})
    return columns


def _means(good: Column, bad: Column) -> tuple[float, float] | None:
    """Returns both means over the samples that have a value in both, or None if there is none."""
    both = [(one, other) for one, other in zip(good, bad, strict=True) if one is not None and other is not None]
    if not both:
        return None
    return math.fsum(one for one, _ in both) / len(both), math.fsum(other for _, other in both) / len(both)


def _scores(opened: OpenedTask, prompts: Sequence[Prompt], responses: Sequence[Response]) -> Column:
    found: Any = opened.task.score(prompts, responses)
    return list(asyncio.run(_awaited(found)) if inspect.isawaitable(found) else found)


async def _awaited(found: Any) -> Any:
    return await found


def _all(data: CheckedData) -> tuple[list[Prompt], list[Response]]:
    """Returns what is measured: for every prompt its reference or an empty response, and behind them the spoiled ones."""
    known = {response.prompt_id: response for response in data.gold}
    empty = [Response(prompt.id, "", 1, False) for prompt in data.prompts]
    first = [known.get(prompt.id, blank) for prompt, blank in zip(data.prompts, empty, strict=True)]
    spoiled = [response for responses in data.spoiled.values() for response in responses]
    return [*data.prompts, *(data.gold_prompts * len(data.spoiled))], [*first, *spoiled]


def _named(prompt: Prompt, response: Response) -> str:
    text = response.text if len(response.text) <= 40 else f"{response.text[:37]}..."
    return f"the response {text!r} to prompt '{prompt.id}'"
