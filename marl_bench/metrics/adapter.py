"""Any `evaluate.Metric` as a per-sample metric."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from marl_bench.errors import DataError
from marl_bench.records import Prompt, Response


@dataclasses.dataclass(frozen=True)
class EvaluateMetric:
    """Adapter around an `evaluate.Metric`.

    A metric that returns a list for each of its results is computed once; one that returns aggregates, as those of the hub do, is computed
    for each sample alone.

    Attributes:
        names: Results that become metrics.
        make: Makes the metric. One instance serves one call: an instance shared by threads gives wrong answers.
        higher_is_better: Which end is better.
    """

    names: Sequence[str]
    make: Callable[[], Any]
    higher_is_better: bool | None = True

    def compute(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> Mapping[str, Sequence[float | None]]:
        """Returns one value a response; None where the prompt has no reference.

        Raises:
            DataError: The metric has no result of one of the names.
        """
        rows = [row for row, prompt in enumerate(prompts) if prompt.reference is not None]
        values: dict[str, list[float | None]] = {name: [None] * len(prompts) for name in self.names}
        if rows:
            metric = self.make()
            for row, found in zip(rows, self._results(metric, rows, prompts, responses), strict=True):
                for name in self.names:
                    values[name][row] = float(found[name])
        return values

    def _results(
        self, metric: Any, rows: Sequence[int], prompts: Sequence[Prompt], responses: Sequence[Response]
    ) -> list[Mapping[str, Any]]:
        texts = [responses[row].text for row in rows]
        references = [prompts[row].reference for row in rows]
        together = self._checked(metric.compute(predictions=texts, references=references))
        if all(isinstance(together[name], Sequence) and len(together[name]) == len(rows) for name in self.names):
            return [{name: together[name][place] for name in self.names} for place in range(len(rows))]
        pairs = zip(texts, references, strict=True)
        return [self._checked(metric.compute(predictions=[text], references=[wanted])) for text, wanted in pairs]

    def _checked(self, results: Mapping[str, Any]) -> Mapping[str, Any]:
        missing = [name for name in self.names if name not in results]
        if missing:
            raise DataError(f"metric '{missing[0]}': is no result of the metric; it has {', '.join(results)}.")
        return results
