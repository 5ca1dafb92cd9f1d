"""The gold score of a summary of an embedded post: the task's oracle, never used in training.

    total = 2 * covered / facts + 0.5 * question
            - 0.5 * invented - 0.3 * repetitions - 0.2 * digressions - 0.15 * noise - 0.5 * (not ended properly)

clipped to [-1, 2.5]. A sentence counts as what it states only if it is a known sentence as a whole. Guessing does not
pay: of several values for one fact at most one is right, and each wrong one costs what a right fact of four brings.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from marl_bench_tasks.tldr.posts import Post
from marl_bench_tasks.tldr.predicates import Fact, parse_summary_sentence
from marl_bench_tasks.tldr.vocabulary import DIGRESSIONS

LOWEST_TOTAL = -1.0
HIGHEST_TOTAL = 2.5
_ALL_FACTS_GAIN = 2.0
_QUESTION_GAIN = 0.5
_INVENTED_COST = 0.5
_REPETITION_COST = 0.3
_DIGRESSION_COST = 0.2
_NOISE_COST = 0.15
_BAD_END_COST = 0.5
# Text without punctuation is one long sentence; it has to cost as much as the sentences it replaces.
_WORDS_PER_NOISE = 12


@dataclasses.dataclass(frozen=True)
class GoldFacts:
    """All that the score needs to know about a post."""

    facts: tuple[Fact, ...]
    question: Fact

    def to_json(self) -> dict[str, Any]:
        """Returns plain dicts, lists and strings."""
        return {"facts": [fact.to_json() for fact in self.facts], "question": self.question.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "GoldFacts":
        """Returns the facts that `to_json` wrote."""
        return cls(
            facts=tuple(_fact_from_json(fact) for fact in value["facts"]), question=_fact_from_json(value["question"])
        )


@dataclasses.dataclass(frozen=True)
class GoldScore:
    """The parts of a gold score; all but `total` and the two flags are counts."""

    total: float
    facts_covered: int
    facts: int
    question_covered: bool
    invented: int
    repetitions: int
    digressions: int
    noise: int
    ends_properly: bool


def gold_facts(post: Post) -> GoldFacts:
    """Returns what the gold score needs to know about a post."""
    return GoldFacts(facts=post.facts, question=post.question)


def gold_score(facts: GoldFacts, summary: str) -> GoldScore:
    """Scores a summary by the post's facts alone.

    Args:
        facts: what the post states.
        summary: the response, with or without its leading space, without special tokens.
    """
    stated: set[Fact | str] = set()
    covered = invented = repetitions = digressions = noise = 0
    last_is_known = False
    for sentence in _sentences(summary):
        claim = parse_summary_sentence(sentence)
        known = claim if claim is not None else sentence if sentence in DIGRESSIONS else None
        last_is_known = known is not None
        if known is None:
            noise += -(-len(sentence.split()) // _WORDS_PER_NOISE)
        elif known in stated:
            repetitions += 1
        elif claim is None:
            digressions += 1
        elif claim in facts.facts:
            covered += 1
        elif claim != facts.question:
            invented += 1
        if known is not None:
            stated.add(known)
    question_covered = facts.question in stated
    total = (
        _ALL_FACTS_GAIN * covered / len(facts.facts)
        + _QUESTION_GAIN * question_covered
        - _INVENTED_COST * invented
        - _REPETITION_COST * repetitions
        - _DIGRESSION_COST * digressions
        - _NOISE_COST * noise
        - _BAD_END_COST * (not last_is_known)
    )
    return GoldScore(
        total=min(max(total, LOWEST_TOTAL), HIGHEST_TOTAL),
        facts_covered=covered,
        facts=len(facts.facts),
        question_covered=question_covered,
        invented=invented,
        repetitions=repetitions,
        digressions=digressions,
        noise=noise,
        ends_properly=last_is_known,
    )


def _sentences(text: str) -> Sequence[str]:
    return [sentence.strip() for sentence in re.findall(r"[^.?!]*[.?!]|[^.?!]+$", text) if sentence.strip()]


def _fact_from_json(value: Mapping[str, Any]) -> Fact:
    return Fact(kind=value["kind"], values=tuple(value["values"]))
