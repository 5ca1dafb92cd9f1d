"""What each stage takes from comparison rows: prompts, preference pairs, the best answers. No torch."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from marl_bench.records import PreferencePair, Prompt, SftPair
from marl_bench_tasks.webgpt.citations import cited_numbers, renumber_citations, strip_citations
from marl_bench_tasks.webgpt.prompts import Quote, render_prompt
from marl_bench_tasks.webgpt.rows import Row

_SAME_SCORE = 1e-6


@dataclasses.dataclass(frozen=True)
class Wording:
    """How rows become texts.

    Attributes:
        quotes: Whether real prompts show the references; embedded ones always do.
        citations: Whether answers keep their markers.
        subsets: Whether prompts name their subset; a single one has no name.
    """

    quotes: bool
    citations: Literal["keep", "strip"]
    subsets: bool

    def prompt(self, row: Row, *, reference: str | None = None) -> Prompt:
        """Returns the prompt of a row."""
        quotes = row_quotes(row) if self._shows_quotes(row) else ()
        rendered = render_prompt(row.question, quotes)
        fields: dict[str, Any] = {"question": row.question}
        if quotes:
            fields["quotes"] = [dataclasses.asdict(quote) for quote in quotes]
        if row.facts is not None:
            fields["facts"] = row.facts
        return Prompt(
            id=row.id,
            text=rendered.text,
            reference=reference,
            subset=row.subset or row.dataset if self.subsets else "",
            fields=fields,
            cuttable=rendered.cuttable,
        )

    def answer(self, row: Row, side: int) -> str:
        """Returns an answer of a row as a response; where the prompt shows the references of both, its numbers are theirs."""
        answer = row.answers[side]
        text = answer.text
        if self.citations == "keep" and self._shows_quotes(row):
            places = {quote: number for number, quote in enumerate(row_quotes(row), start=1)}
            numbers = {number: places[quote] for number, quote in enumerate(answer.quotes, start=1)}
            text = renumber_citations(text, numbers, other=len(places) + 1)
        return self.response(text)

    def response(self, text: str) -> str:
        """Returns a text as a response."""
        return f" {(strip_citations(text) if self.citations == 'strip' else text).strip()}"

    def _shows_quotes(self, row: Row) -> bool:
        return self.quotes or row.facts is not None


def row_quotes(row: Row) -> tuple[Quote, ...]:
    """Returns the references of both answers, each once, those of the first answer first."""
    return tuple(dict.fromkeys(quote for answer in row.answers for quote in answer.quotes))


def citations_without_quote(row: Row) -> int:
    """Returns how many cited numbers of a row point to no reference of their answer."""
    return sum(not 1 <= number <= len(answer.quotes) for answer in row.answers for number in cited_numbers(answer.text))


def distinct_questions(rows: Sequence[Row]) -> list[Row]:
    """Returns the first row of each question."""
    return list({row.group: row for row in reversed(rows)}.values())[::-1]


def best_answers(rows: Sequence[Row]) -> tuple[list[tuple[Row, int]], int]:
    """Returns the best answers of each question as (row, side), and how many of them only tied.

    An answer's score is the mean over its comparisons. Several distinct answers that share the highest score are all
    taken; where that is not above 0, no answer is better than another, and the first one is taken.
    """
    by_question: dict[str, dict[str, list[tuple[float, Row, int]]]] = {}
    for row in rows:
        answers = by_question.setdefault(row.group, {})
        for side, answer in enumerate(row.answers):
            answers.setdefault(answer.text, []).append((answer.score, row, side))
    best: list[tuple[Row, int]] = []
    from_ties = 0
    for answers in by_question.values():
        means = {text: sum(score for score, _, _ in given) / len(given) for text, given in answers.items()}
        highest = max(means.values())
        texts = [text for text, mean in means.items() if mean >= highest - _SAME_SCORE]
        if highest < _SAME_SCORE:
            texts = texts[:1]
            from_ties += 1
        best.extend(answers[text][0][1:] for text in texts)
    return best, from_ties


def sft_pairs(rows: Sequence[Row], wording: Wording) -> tuple[list[SftPair], int]:
    """Returns what SFT learns (the row's own text for it, or the best answers), and how many of those only tied."""
    own = [SftPair(wording.prompt(row), wording.response(row.sft_answer)) for row in rows if row.sft_answer is not None]
    best, from_ties = best_answers([row for row in rows if row.sft_answer is None])
    return [*own, *(SftPair(wording.prompt(row), wording.answer(row, side)) for row, side in best)], from_ties


def preference_pairs(rows: Sequence[Row], wording: Wording) -> tuple[list[PreferencePair], Mapping[str, int]]:
    """Returns the pairs of the reward model, and how many rows make none, by reason."""
    pairs = []
    left_out = {"ties_left_out_of_preferences": 0, "equal_answers_left_out_of_preferences": 0}
    for row in rows:
        if row.preferred is None:
            left_out["ties_left_out_of_preferences"] += 1
            continue
        chosen, rejected = (wording.answer(row, side) for side in (row.preferred, 1 - row.preferred))
        if chosen == rejected:
            left_out["equal_answers_left_out_of_preferences"] += 1
            continue
        pairs.append(PreferencePair(wording.prompt(row), chosen, rejected))
    return pairs, left_out


def evaluation_prompts(rows: Sequence[Row], wording: Wording) -> list[Prompt]:
    """Returns one prompt per question, with the row's own reference or the first of the best answers."""
    best, _ = best_answers(rows)
    first = {row.group: (row, side) for row, side in reversed(best)}
    prompts = []
    for question in distinct_questions(rows):
        row, side = first[question.group]
        reference = wording.answer(row, side) if row.reference is None else wording.response(row.reference)
        prompts.append(wording.prompt(row, reference=reference.strip()))
    return prompts
