"""Comparison rows of openai/webgpt_comparisons, read from a folder or the hub through `datasets` and checked."""

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from marl_bench.dataset_rows import check_data_folder, dataset_rows
from marl_bench.errors import RowError, shown
from marl_bench_tasks.webgpt.prompts import Quote

HUB_ID = "openai/webgpt_comparisons"
# The data set is a script, which `datasets` no longer runs; this branch holds the hub's own conversion.
HUB_REVISION = "refs/convert/parquet"
PUBLISHED_ROWS = 19_578

SCORE_SUM_TOLERANCE = 1e-3
"""Scores are stored as 32-bit floats."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """One side of a comparison.

    Attributes:
        text: Without spaces around it.
        quotes: The references that its citations point to, by number from 1.
        score: Above 0 if it is preferred; the scores of both sides sum to 0.
    """

    text: str
    quotes: tuple[Quote, ...]
    score: float


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        id: Id of the question, unique by text.
        group: What must not stand in two stages: the question, whatever its case and spacing; the id of embedded ones.
        split: `train` or another.
        question: The question.
        answers: Both sides.
        dataset: Where the question is from.
        has_tokens: Whether the row has the token lists that all published rows have.
        subset: Empty in real data.
        sft_answer: What SFT learns; None in real data, where it is the best-scored answer.
        reference: What ROUGE compares with; None in real data, likewise.
        facts: What the gold score needs, in embedded data.
    """

    id: str
    group: str
    split: str
    question: str
    answers: tuple[Answer, Answer]
    dataset: str
    has_tokens: bool
    subset: str = ""
    sft_answer: str | None = None
    reference: str | None = None
    facts: Mapping[str, Any] | None = None

    @property
    def preferred(self) -> int | None:
        """Index of the preferred answer; None for a tie."""
        first, second = (answer.score for answer in self.answers)
        return None if first == second else int(second > first)


def check_row(row: Mapping[str, Any], *, split: str, where: str) -> Row:
    """Returns a raw row with its fields checked.

    Raises:
        RowError: A required field is missing or wrong; the text names `where` and the field.
    """
    question = row.get("question")
    if not isinstance(question, Mapping):
        raise RowError(
            f"{where}: field question is {shown(question)}; should hold dataset, id and full_text.",
            reason="without_question",
        )
    text = question.get("full_text")
    if not isinstance(text, str) or not text.strip():
        raise RowError(f"{where}: field question.full_text is {text!r}; should be a text.", reason="without_question")
    first, second = (_answer(row, side, where=where) for side in (0, 1))
    if abs(first.score + second.score) > SCORE_SUM_TOLERANCE:
        raise RowError(
            f"{where}: fields score_0 and score_1 are {first.score:g} and {second.score:g}; should sum to 0.",
            reason="scores_do_not_sum_to_zero",
        )
    facts = row.get("facts")
    digest = hashlib.sha256(text.strip().encode()).hexdigest()[:8]
    return Row(
        # Ids of the hub come from several data sets; prompts are told apart by their text.
        id=f"{question.get('id') or 'question'}-{digest}",
        # Embedded questions are told apart by their references, from which alone they can be answered.
        group=" ".join(text.split()).casefold() if facts is None else str(question["id"]),
        split=split,
        question=text.strip(),
        answers=(first, second),
        dataset=question.get("dataset") or "",
        has_tokens=any(_has_tokens(row.get(f"tokens_{side}")) for side in (0, 1)),
        subset=row.get("subset") or "",
        sft_answer=row.get("sft_answer"),
        reference=row.get("reference_answer"),
        facts=facts,
    )


def folder_rows(folder: Path) -> Iterable[tuple[str, str, dict[str, Any]]]:
    """Returns split, place and row of the rows of a local folder with the hub's schema.

    Raises:
        DataError: The folder is missing, empty or not readable.
    """
    check_data_folder(folder, holds=f"train files (and test files, if there are any) as {HUB_ID} has them")
    arguments: dict[str, Any] = {"path": str(folder)}
    if not (folder / "README.md").is_file() and (folder / "comparisons").is_dir():
        arguments["data_dir"] = "comparisons"
    return dataset_rows(arguments, source=f"data folder '{folder}'")


def hub_rows(revision: str | None) -> Iterable[tuple[str, str, dict[str, Any]]]:
    """Returns the rows of the hub's data set; raises as `folder_rows`."""
    return dataset_rows({"path": HUB_ID, "revision": revision or HUB_REVISION}, source=f"hub data set {HUB_ID}")


def _answer(row: Mapping[str, Any], side: int, *, where: str) -> Answer:
    text = row.get(f"answer_{side}")
    if not isinstance(text, str) or not text.strip():
        raise RowError(f"{where}: field answer_{side} is {text!r}; should be a text.", reason="without_answer")
    score = row.get(f"score_{side}")
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise RowError(f"{where}: field score_{side} is {score!r}; should be a number.", reason="without_scores")
    return Answer(text.strip(), _quotes(row, side, where=where), float(score))


def _quotes(row: Mapping[str, Any], side: int, *, where: str) -> tuple[Quote, ...]:
    """Returns the references of an answer; none where the row has no field or an empty one for them."""
    quotes = row.get(f"quotes_{side}")
    if quotes is None:
        return ()
    given = quotes if isinstance(quotes, Mapping) else {"title": None, "extract": None}
    titles, extracts = (given.get(name, []) for name in ("title", "extract"))
    if not _are_texts(titles) or not _are_texts(extracts):
        raise RowError(
            f"{where}: field quotes_{side} is {shown(quotes)}; should hold a list of texts title and one extract.",
            reason="wrong_quotes",
        )
    if len(titles) != len(extracts):
        raise RowError(
            f"{where}: field quotes_{side} has {len(titles)} titles and {len(extracts)} extracts; should have as many.",
            reason="uneven_quotes",
        )
    return tuple(Quote(title, extract) for title, extract in zip(titles, extracts, strict=True))


def _are_texts(values: Any) -> TypeGuard[Sequence[str]]:
    return (
        isinstance(values, Sequence) and not isinstance(values, str) and all(isinstance(each, str) for each in values)
    )


def _has_tokens(tokens: Any) -> bool:
    return isinstance(tokens, Mapping) and any(tokens.get(name) for name in ("prefix", "completion"))
