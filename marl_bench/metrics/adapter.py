"""Any `evaluate.Metric` as a per-sample metric."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from marl_bench.records import Prompt, Response


@dataclasses.dataclass(frozen=True)
class EvaluateMetric:
    """Adapter around an `evaluate.Metric` that returns a list for each of its results.

    Attributes:
        names: Results that become metrics.
        make: Makes the metric. One instance serves one call: an instance shared by threads gives wrong answers.
        higher_is_better: Which end is better.
    """

    names: Sequence[str]
    make: Callable[[], Any]
    higher_is_better: bool | None = True

    def compute(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> Mapping[str, Sequence[float | None]]:
        """Returns one value a response; None where the prompt has no reference."""
        scored = [row for row, prompt in enumerate(prompts) if prompt.reference is not None]
        values: dict[str, list[float | None]] = {name: [None] * len(prompts) for name in self.names}
        if scored:
            results = self.make().compute(
                predictions=[responses[row].text for row in scored],
                references=[prompts[row].reference for row in scored],
            )
            for name in self.names:
                for row, value in zip(scored, results[name], strict=True):
                    values[name][row] = float(value)
        return values
