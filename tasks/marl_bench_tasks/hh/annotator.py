"""A noisy annotator of embedded dialogues."""

import random
from collections.abc import Sequence

from marl_bench_tasks.annotators import LabelledPair, label_pairs
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


def make_answer_pairs(dialogues: Sequence[Dialogue], *, seed: int) -> list[LabelledPair[Dialogue]]:
    """Returns one labelled pair per dialogue."""
    rng = random.Random(f"hh preferences {seed}")
    return label_pairs(dialogues, write=_write, gold=_gold, temperature=TEMPERATURE, rng=rng)


def _gold(dialogue: Dialogue, answer: str) -> float:
    return gold_score(gold_facts(dialogue), answer).total


def _write(dialogue: Dialogue, rng: random.Random) -> tuple[str, str]:
    source = rng.choices(_SOURCES, weights=_SOURCE_WEIGHTS)[0]
    if source == _REFERENCE:
        return source, reference_answer(dialogue, rng)
    if source == _MEDIOCRE:
        return source, mediocre_answer(dialogue, rng)
    return source, corrupted_answer(dialogue, rng, kind=source)
