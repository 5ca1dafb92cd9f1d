"""ROUGE-1, -2 and -L F-measures of each sample, for any script."""

import re
from typing import Any

from marl_bench.interfaces import MetricSpec
from marl_bench.metrics.adapter import EvaluateMetric

NAMES = ("rouge1", "rouge2", "rougeL")

# Scripts written without spaces have no words to cut at, so each of their characters is a token.
_TOKEN = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\u3040-\u30ff\u0e00-\u0eff]|[^\W_]+")


class UnicodeTokenizer:
    """Lower-cased words and single characters of scripts without spaces; rouge-score's own tokenizer keeps ASCII only."""

    def tokenize(self, text: str) -> list[str]:
        """Returns the tokens of a text."""
        return _TOKEN.findall(text.lower())


def rouge() -> EvaluateMetric:
    """Returns the metric."""
    return EvaluateMetric(names=NAMES, make=_make)


def _make() -> Any:
    import datasets
    import evaluate
    from rouge_score import rouge_scorer

    class _Rouge(evaluate.Metric):  # type: ignore[misc]  # evaluate is untyped
        def _info(self) -> Any:
            text = datasets.Value("string")
            return evaluate.MetricInfo(
                description="ROUGE with a Unicode tokenizer",
                citation="Lin (2004), ROUGE: a package for automatic evaluation of summaries",
                features=datasets.Features({"predictions": text, "references": text}),
            )

        def _compute(self, predictions: list[str], references: list[str]) -> dict[str, list[float]]:
            scorer = rouge_scorer.RougeScorer(list(NAMES), tokenizer=UnicodeTokenizer())
            scores = [
                scorer.score(reference, prediction)
                for reference, prediction in zip(references, predictions, strict=True)
            ]
            return {name: [score[name].fmeasure for score in scores] for name in NAMES}

    return _Rouge(keep_in_memory=True)


METRIC = MetricSpec("rouge", "1", "ROUGE-1, -2 and -L F-measures against the reference, for any script", rouge)
