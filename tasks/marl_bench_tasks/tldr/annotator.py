"""A noisy annotator of embedded posts."""

import random
from collections.abc import Sequence

from marl_bench_tasks.annotators import LabelledPair, label_pairs
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


def make_preference_pairs(posts: Sequence[Post], *, seed: int) -> list[LabelledPair[Post]]:
    """Returns one labelled pair per post."""
    rng = random.Random(f"tldr preferences {seed}")
    return label_pairs(posts, write=_write, gold=_gold, temperature=TEMPERATURE, rng=rng)


def _gold(post: Post, summary: str) -> float:
    return gold_score(gold_facts(post), summary).total


def _write(post: Post, rng: random.Random) -> tuple[str, str]:
    source = rng.choices(_SOURCES, weights=_SOURCE_WEIGHTS)[0]
    if source == _REFERENCE:
        return source, reference_summary(post, rng)
    if source == _MEDIOCRE:
        return source, mediocre_summary(post, rng)
    return source, corrupted_summary(post, rng, kind=source)
