"""A noisy annotator of embedded questions: prefers by the gold score, through a logistic function."""

import dataclasses
import random
from collections.abc import Sequence

from marl_bench_tasks.annotators import preference_probability
from marl_bench_tasks.webgpt.answers import (
    CORRUPTIONS,
    answer_and_corruption,
    corrupted_answer,
    mediocre_answer,
    reference_answer,
)
from marl_bench_tasks.webgpt.gold import gold_facts, gold_score
from marl_bench_tasks.webgpt.questions import Question

# Chosen so that about 85 % of the preferences agree with the gold score on the pairs made here.
TEMPERATURE = 0.62

_REFERENCE = "reference"
_MEDIOCRE = "mediocre"
# Half of the texts are spoiled, because a reward model that never saw a fault rewards it.
_SOURCES = (_REFERENCE, _MEDIOCRE, "corrupted")
_SOURCE_WEIGHTS = (0.2, 0.45, 0.35)
# In these pairs the fault is all that differs, so a small reward model can see what it costs.
_SAME_ANSWER_SHARE = 0.5
# What a policy falls into first is shown most.
_FREQUENT = {
    "misses_the_point": 6.0,
    "other_entities": 4.0,
    "repeated_facts": 4.0,
    "repeated_sentences": 3.0,
    "slips": 2.0,
}
_KIND_WEIGHTS = [_FREQUENT.get(kind, 1.0) for kind in CORRUPTIONS]


@dataclasses.dataclass(frozen=True)
class LabelledPair:
    """Two answers to a question; `score` of the first is above 0 if it is preferred, that of the second is its negative."""

    question: Question
    answers: tuple[str, str]
    sources: tuple[str, str]
    score: float


def label_pairs(questions: Sequence[Question], *, seed: int) -> list[LabelledPair]:
    """Returns one labelled pair per question."""
    rng = random.Random(f"webgpt preferences {seed}")
    return [_label(question, rng) for question in questions]


def _label(question: Question, rng: random.Random) -> LabelledPair:
    (first_source, first), (second_source, second) = _write_two(question, rng)
    while second == first:
        (first_source, first), (second_source, second) = _write_two(question, rng)
    facts = gold_facts(question)
    difference = gold_score(facts, first).total - gold_score(facts, second).total
    # As people do on the hub's scale of -1 to 1, the annotator says how much better, but never how sure it is.
    strength = rng.choice((0.25, 0.5, 0.75, 1.0))
    score = strength if rng.random() < preference_probability(difference, temperature=TEMPERATURE) else -strength
    return LabelledPair(question, (first, second), (first_source, second_source), score)


def _write_two(question: Question, rng: random.Random) -> list[tuple[str, str]]:
    if rng.random() >= _SAME_ANSWER_SHARE:
        return [_write(question, rng), _write(question, rng)]
    kind = _kind(rng)
    whole, spoiled = answer_and_corruption(question, rng, kind=kind)
    texts = [("whole", whole), (kind, spoiled)]
    rng.shuffle(texts)
    return texts


def _write(question: Question, rng: random.Random) -> tuple[str, str]:
    source = rng.choices(_SOURCES, weights=_SOURCE_WEIGHTS)[0]
    if source == _REFERENCE:
        return source, reference_answer(question, rng)
    if source == _MEDIOCRE:
        return source, mediocre_answer(question, rng)
    kind = _kind(rng)
    return kind, corrupted_answer(question, rng, kind=kind)


def _kind(rng: random.Random) -> str:
    return rng.choices(tuple(CORRUPTIONS), weights=_KIND_WEIGHTS)[0]
