"""The gold score of an answer to an embedded question: the task's oracle, never used in training.

    total = 0.5 * opening + (covered + rightly cited) / asked + 0.25 * detail + 0.25 * detail rightly cited
            + 0.5 * closing
            - 0.5 * unsupported - 0.3 * about another entity - 0.3 * wrong citations - 0.1 * missing citations
            - 0.3 * repetitions - 0.2 * idle - 0.15 * noise - 0.5 * (not ended properly)

clipped to [-1, 3.5]. A sentence counts as what it states only if it is a known sentence as a whole. Guessing does not
pay: an asked fact that the answer also states with another value is not covered. One detail counts; more bring nothing.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from marl_bench_tasks.webgpt.phrases import parse_closing, parse_opening
from marl_bench_tasks.webgpt.questions import Question
from marl_bench_tasks.webgpt.vocabulary import IDLE_SENTENCES
from marl_bench_tasks.webgpt.world import Fact, Statement, parse_statement

LOWEST_TOTAL = -1.0
HIGHEST_TOTAL = 3.5
_OPENING_GAIN = 0.5
_FACTS_GAIN = 1.0
_FACTS_CITED_GAIN = 1.0
_DETAIL_GAIN = 0.25
_CLOSING_GAIN = 0.5
_UNSUPPORTED_COST = 0.5
_OTHER_ENTITY_COST = 0.3
_WRONG_CITATION_COST = 0.3
_MISSING_CITATION_COST = 0.1
_REPETITION_COST = 0.3
_IDLE_COST = 0.2
_NOISE_COST = 0.15
_BAD_END_COST = 0.5
# Text without punctuation is one long sentence; it has to cost as much as the sentences it replaces.
_WORDS_PER_NOISE = 12


@dataclasses.dataclass(frozen=True)
class GoldFacts:
    """All that the score needs to know about a question.

    Attributes:
        topic: What the opening restates.
        subject: What the closing names.
        asked: The facts that answer the question.
        numbers: Every fact of the references, with the number of its reference.
    """

    topic: str
    subject: str
    asked: tuple[Fact, ...]
    numbers: Mapping[Fact, int]

    def to_json(self) -> dict[str, Any]:
        """Returns plain dicts, lists and strings."""
        return {
            "topic": self.topic,
            "subject": self.subject,
            "asked": [list(dataclasses.astuple(fact)) for fact in self.asked],
            "numbers": [[*dataclasses.astuple(fact), number] for fact, number in self.numbers.items()],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "GoldFacts":
        """Returns the facts that `to_json` wrote."""
        return cls(
            topic=value["topic"],
            subject=value["subject"],
            asked=tuple(Fact(*parts) for parts in value["asked"]),
            numbers={Fact(*parts): number for *parts, number in value["numbers"]},
        )


@dataclasses.dataclass(frozen=True)
class GoldScore:
    """The parts of a gold score; `total` and flags apart, all are counts of sentences."""

    total: float
    opening: bool = False
    covered: int = 0
    covered_and_cited: int = 0
    detail: bool = False
    detail_cited: bool = False
    closing: bool = False
    unsupported: int = 0
    other_entity: int = 0
    wrong_citations: int = 0
    missing_citations: int = 0
    repetitions: int = 0
    idle: int = 0
    noise: int = 0
    ends_properly: bool = False


def gold_facts(question: Question) -> GoldFacts:
    """Returns what the gold score needs to know about a question."""
    numbers = {
        fact: number for number, reference in enumerate(question.references, start=1) for fact in reference.facts
    }
    return GoldFacts(question.topic, question.subject, question.asked, numbers)


def gold_score(facts: GoldFacts, answer: str) -> GoldScore:
    """Scores an answer by the question's facts alone.

    Args:
        facts: what the references state and what is asked.
        answer: the response, with or without its leading space, without special tokens.
    """
    sentences = split_sentences(answer)
    counter = _Counter(facts)
    for place, sentence in enumerate(sentences):
        counter.count(sentence, first=place == 0, last=place == len(sentences) - 1)
    return counter.score()


def split_sentences(text: str) -> Sequence[str]:
    """Returns the sentences of an answer to an embedded question."""
    return [sentence.strip() for sentence in re.findall(r"[^.?!]*[.?!]|[^.?!]+$", text) if sentence.strip()]


class _Counter:
    """Counts sentence by sentence."""

    def __init__(self, facts: GoldFacts) -> None:
        self._facts = facts
        self._said: set[object] = set()
        self._values: dict[tuple[str, str], set[str]] = {}
        self._cited: dict[Fact, bool] = {}
        self._counts: dict[str, int] = dict.fromkeys(
            (
                "unsupported",
                "other_entity",
                "wrong_citations",
                "missing_citations",
                "repetitions",
                "idle",
                "noise",
            ),
            0,
        )
        self._opening = self._closing = self._ends_properly = False

    def count(self, sentence: str, *, first: bool, last: bool) -> None:
        """Takes one more sentence into account."""
        statement, topic, end = parse_statement(sentence), parse_opening(sentence), parse_closing(sentence)
        known: object = statement.fact if statement else sentence if end is None else "closing"
        self._ends_properly = known != sentence or topic is not None or sentence in IDLE_SENTENCES
        if not self._ends_properly:
            self._counts["noise"] += -(-len(sentence.split()) // _WORDS_PER_NOISE)
        elif known in self._said:
            self._counts["repetitions"] += 1
        else:
            self._said.add(known)
            if statement is not None:
                self._count_statement(statement)
            elif end is not None:
                right = end == self._facts.subject
                self._counts["unsupported"] += not right
                self._closing = right and last
            elif topic is not None:
                right = topic == self._facts.topic
                self._counts["unsupported"] += not right
                self._opening |= right and first
            else:
                self._counts["idle"] += 1

    def _count_statement(self, statement: Statement) -> None:
        fact = statement.fact
        self._values.setdefault((fact.relation, fact.entity), set()).add(fact.value)
        number = self._facts.numbers.get(fact)
        right = set(statement.cited) == {number}
        self._cited[fact] = right
        self._counts["missing_citations"] += not statement.cited
        self._counts["wrong_citations"] += bool(statement.cited) and not right
        if number is None:
            self._counts["unsupported"] += 1
        elif fact.entity not in {asked.entity for asked in self._facts.asked}:
            self._counts["other_entity"] += 1

    def score(self) -> GoldScore:
        """Returns the score of all sentences so far."""
        facts, counts = self._facts, self._counts
        covered = [fact for fact in facts.asked if self._values.get((fact.relation, fact.entity)) == {fact.value}]
        entities = {fact.entity for fact in facts.asked}
        details = [
            fact
            for fact in self._said
            if isinstance(fact, Fact)
            and fact in facts.numbers
            and fact.entity in entities
            and fact not in facts.asked
            and len(self._values[fact.relation, fact.entity]) == 1
        ]
        covered_and_cited = sum(self._cited[fact] for fact in covered)
        detail_cited = any(self._cited[fact] for fact in details)
        total = (
            _OPENING_GAIN * self._opening
            + (_FACTS_GAIN * len(covered) + _FACTS_CITED_GAIN * covered_and_cited) / len(facts.asked)
            + _DETAIL_GAIN * (bool(details) + detail_cited)
            + _CLOSING_GAIN * self._closing
            - _UNSUPPORTED_COST * counts["unsupported"]
            - _OTHER_ENTITY_COST * counts["other_entity"]
            - _WRONG_CITATION_COST * counts["wrong_citations"]
            - _MISSING_CITATION_COST * counts["missing_citations"]
            - _REPETITION_COST * counts["repetitions"]
            - _IDLE_COST * counts["idle"]
            - _NOISE_COST * counts["noise"]
            - _BAD_END_COST * (not self._ends_properly)
        )
        return GoldScore(
            total=min(max(total, LOWEST_TOTAL), HIGHEST_TOTAL),
            opening=self._opening,
            covered=len(covered),
            covered_and_cited=covered_and_cited,
            detail=bool(details),
            detail_cited=detail_cited,
            closing=self._closing,
            ends_properly=self._ends_properly,
            **counts,
        )
