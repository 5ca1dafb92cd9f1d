"""Noisy annotators of embedded data: they prefer by a gold score, through a logistic function."""

import dataclasses
import math
import random
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class LabelledPair(Generic[Item]):
    """Two texts about one item, the preferred one named; the sources say how each was written."""

    item: Item
    chosen: str
    rejected: str
    chosen_source: str
    rejected_source: str


def preference_probability(gold_difference: float, *, temperature: float) -> float:
    """Returns the probability that an annotator prefers the first of two texts.

    Args:
        gold_difference: gold score of the first minus that of the second.
        temperature: in units of the gold score.
    """
    return 1.0 / (1.0 + math.exp(-gold_difference / temperature))


def label_pairs(
    items: Sequence[Item],
    *,
    write: Callable[[Item, random.Random], tuple[str, str]],
    gold: Callable[[Item, str], float],
    temperature: float,
    rng: random.Random,
) -> list[LabelledPair[Item]]:
    """Returns one pair of two different texts per item.

    Args:
        items: what the texts are about.
        write: gives source and text.
        gold: scores a text.
        temperature: of the annotator, in units of the gold score.
        rng: draws the texts and the preferences.
    """
    pairs = []
    for item in items:
        first_source, first = write(item, rng)
        second_source, second = write(item, rng)
        while second == first:
            second_source, second = write(item, rng)
        pair = LabelledPair(item, first, second, first_source, second_source)
        if rng.random() >= preference_probability(gold(item, first) - gold(item, second), temperature=temperature):
            pair = LabelledPair(item, second, first, second_source, first_source)
        pairs.append(pair)
    return pairs
