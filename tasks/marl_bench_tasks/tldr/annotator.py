"""A noisy annotator of embedded posts: prefers by the gold score, through a logistic function."""

import dataclasses
import math
import random
from collections.abc import Sequence

from marl_bench_tasks.tldr.gold import gold_facts, gold_score
from marl_bench_tasks.tldr.posts import Post
from marl_bench_tasks.tldr.summaries import CORRUPTIONS, corrupted_summary, mediocre_summary, reference_summary

# Chosen so that about 85 % of the preferences agree with the gold score on the pairs made here.
TEMPERATURE = 0.5

_REFERENCE = "reference"
_MEDIOCRE = "mediocre"
# Half of the texts are spoiled, because a reward model that never saw a fault rewards it.
_SOURCES = (_REFERENCE, _MEDIOCRE, *CORRUPTIONS)
_SOURCE_WEIGHTS = (0.15, 0.4, *(0.45 / len(CORRUPTIONS) for _ in CORRUPTIONS))


@dataclasses.dataclass(frozen=True)
class PreferencePair:
    """Two summaries of a post, the preferred one named; the sources say how each was written."""

    post: Post
    chosen: str
    rejected: str
    chosen_source: str
    rejected_source: str


def preference_probability(gold_difference: float, *, temperature: float = TEMPERATURE) -> float:
    """Returns the probability that the annotator prefers the first of two summaries.

    Args:
        gold_difference: gold score of the first minus that of the second.
        temperature: in units of the gold score.
    """
    return 1.0 / (1.0 + math.exp(-gold_difference / temperature))


def make_preference_pairs(posts: Sequence[Post], *, seed: int) -> list[PreferencePair]:
    """Returns one labelled pair per post."""
    rng = random.Random(f"tldr preferences {seed}")
    return [_make_pair(post, rng) for post in posts]


def _make_pair(post: Post, rng: random.Random) -> PreferencePair:
    first_source, first = _write(post, rng)
    second_source, second = _write(post, rng)
    while second == first:
        second_source, second = _write(post, rng)
    facts = gold_facts(post)
    difference = gold_score(facts, first).total - gold_score(facts, second).total
    if rng.random() < preference_probability(difference):
        return PreferencePair(post, first, second, first_source, second_source)
    return PreferencePair(post, second, first, second_source, first_source)


def _write(post: Post, rng: random.Random) -> tuple[str, str]:
    source = rng.choices(_SOURCES, weights=_SOURCE_WEIGHTS)[0]
    if source == _REFERENCE:
        return source, reference_summary(post, rng)
    if source == _MEDIOCRE:
        return source, mediocre_summary(post, rng)
    return source, corrupted_summary(post, rng, kind=source)
