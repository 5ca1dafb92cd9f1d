"""How much the samples of one prompt differ from each other."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

from marl_bench.interfaces import MetricSpec
from marl_bench.records import Prompt, Response

NGRAM_WORDS = 2


@dataclasses.dataclass(frozen=True)
class Diversity:
    """Two metrics of a response among the samples of its prompt; None where it is the only one.

    `diversity`: mean over the prompt's other samples of the Jaccard distance of their 2-grams of words, 1 minus shared over all: 0 if all
    are alike, 1 if no two share a 2-gram. `unique`: 1 unless a sample before it has the same text, so that the mean is the share of
    different texts.
    """

    names: Sequence[str] = ("diversity", "unique")
    higher_is_better: bool | None = None

    def compute(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> Mapping[str, Sequence[float | None]]:
        """Returns one value a response."""
        rows_of: dict[str, list[int]] = {}
        for row, prompt in enumerate(prompts):
            rows_of.setdefault(prompt.id, []).append(row)
        distances: list[float | None] = [None] * len(prompts)
        unique: list[float | None] = [None] * len(prompts)
        for rows in (rows for rows in rows_of.values() if len(rows) > 1):
            texts = [responses[row].text for row in rows]
            for place, (row, distance) in enumerate(zip(rows, _mean_distances(texts), strict=True)):
                distances[row] = distance
                unique[row] = float(texts[place] not in texts[:place])
        return {"diversity": distances, "unique": unique}


def diversity() -> Diversity:
    """Returns the metric."""
    return Diversity()


def _mean_distances(texts: Sequence[str]) -> list[float]:
    grams = [_ngrams(text) for text in texts]
    sums = [0.0] * len(texts)
    for first in range(len(texts)):
        for second in range(first):
            distance = _distance(grams[first], grams[second])
            sums[first] += distance
            sums[second] += distance
    return [total / (len(texts) - 1) for total in sums]


def _ngrams(text: str) -> frozenset[tuple[str, ...]]:
    """Returns the 2-grams of words, or the words themselves of a text too short for one."""
    words = re.findall(r"\w+", text.lower())
    size = min(NGRAM_WORDS, max(len(words), 1))
    return frozenset(tuple(words[start : start + size]) for start in range(len(words) - size + 1))


def _distance(first: frozenset[tuple[str, ...]], second: frozenset[tuple[str, ...]]) -> float:
    together = len(first | second)
    return 1 - len(first & second) / together if together else 0.0


METRIC = MetricSpec(
    "diversity", "1", "how much the samples of a prompt differ: 2-grams not shared, share of different texts", diversity
)
