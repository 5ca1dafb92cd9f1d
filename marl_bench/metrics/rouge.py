"""ROUGE-1, -2 and -L F-measures of each sample, for any script."""

from typing import Any

from marl_bench.interfaces import MetricSpec
from marl_bench.metrics.adapter import EvaluateMetric
from marl_bench.metrics.rouge_scores import NAMES, rouge_scores


def rouge() -> EvaluateMetric:
    """Returns the metric.

    Long jobs are shared out to as many processes as this one was told it may use (`rouge_scores.free_processes`); the values are the
    same.
    """
    return EvaluateMetric(names=NAMES, make=_make)


def _make() -> Any:
    import datasets
    import evaluate

    class _Rouge(evaluate.Metric):  # type: ignore[misc]  # evaluate is untyped
        def _info(self) -> Any:
            text = datasets.Value("string")
            return evaluate.MetricInfo(
                description="ROUGE with a Unicode tokenizer",
                citation="Lin (2004), ROUGE: a package for automatic evaluation of summaries",
                features=datasets.Features({"predictions": text, "references": text}),
            )

        def _compute(self, predictions: list[str], references: list[str]) -> dict[str, list[float]]:
            return rouge_scores(list(zip(predictions, references, strict=True)))

    return _Rouge(keep_in_memory=True)


METRIC = MetricSpec("rouge", "1", "ROUGE-1, -2 and -L F-measures against the reference, for any script", rouge)
