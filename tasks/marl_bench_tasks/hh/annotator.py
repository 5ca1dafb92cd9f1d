"""A noisy annotator of embedded dialogues: prefers by the gold score, through a logistic function."""

import dataclasses
import math
import random
from collections.abc import Sequence

from marl_bench_tasks.hh.answers import mediocre_answer, reference_answer
from marl_bench_tasks.hh.corruptions import CORRUPTIONS, corrupted_answer
from marl_bench_tasks.hh.dialogues import Dialogue
from marl_bench_tasks.hh.gold import gold_facts, gold_score

# Chosen so that about 85 % of the preferences agree with the gold score on the pairs made here.
TEMPERATURE = 0.65

_REFERENCE = "reference"
_MEDIOCRE = "mediocre"
# Half of the texts are spoiled, because a reward model that never saw a fault rewards it. More frequent are the fault
# that sets helpful and harmless apart, and what a policy tries first: saying things again.
_FREQUENT = {"misjudged": 3.0, "repeated_sentences": 2.0, "repeated_claims": 2.0, "slips": 2.0}
_FAULT_WEIGHTS = tuple(_FREQUENT.get(kind, 1.0) for kind in CORRUPTIONS)
_SOURCES = (_REFERENCE, _MEDIOCRE, *CORRUPTIONS)
_SOURCE_WEIGHTS = (0.15, 0.4, *(0.45 * weight / sum(_FAULT_WEIGHTS) for weight in _FAULT_WEIGHTS))


@dataclasses.dataclass(frozen=True)
class AnswerPair:
    """Two answers in a dialogue, the preferred one named; the sources say how each was written."""

    dialogue: Dialogue
    chosen: str
    rejected: str
    chosen_source: str
    rejected_source: str


def preference_probability(gold_difference: float, *, temperature: float = TEMPERATURE) -> float:
    """Returns the probability that the annotator prefers the first of two answers.

    Args:
        gold_difference: gold score of the first minus that of the second.
        temperature: in units of the gold score.
    """
    return 1.0 / (1.0 + math.exp(-gold_difference / temperature))


def make_answer_pairs(dialogues: Sequence[Dialogue], *, seed: int) -> list[AnswerPair]:
    """Returns one labelled pair per dialogue."""
    rng = random.Random(f"hh preferences {seed}")
    return [_make_pair(dialogue, rng) for dialogue in dialogues]


def _make_pair(dialogue: Dialogue, rng: random.Random) -> AnswerPair:
    first_source, first = _write(dialogue, rng)
    second_source, second = _write(dialogue, rng)
    while second == first:
        second_source, second = _write(dialogue, rng)
    facts = gold_facts(dialogue)
    difference = gold_score(facts, first).total - gold_score(facts, second).total
    if rng.random() < preference_probability(difference):
        return AnswerPair(dialogue, first, second, first_source, second_source)
    return AnswerPair(dialogue, second, first, second_source, first_source)


def _write(dialogue: Dialogue, rng: random.Random) -> tuple[str, str]:
    source = rng.choices(_SOURCES, weights=_SOURCE_WEIGHTS)[0]
    if source == _REFERENCE:
        return source, reference_answer(dialogue, rng)
    if source == _MEDIOCRE:
        return source, mediocre_answer(dialogue, rng)
    return source, corrupted_answer(dialogue, rng, kind=source)
