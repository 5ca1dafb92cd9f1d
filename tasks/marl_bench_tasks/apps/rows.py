"""Problems of codeparrot/apps, read from a folder or the hub through `datasets` and checked. No torch."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from marl_bench.dataset_rows import check_data_folder, dataset_rows
from marl_bench.errors import DataError, RowError, shown
from marl_bench.execution.problems import HUB
from marl_bench.interfaces import DataSource
from marl_bench_tasks.apps.embedded import embedded_rows
from marl_bench_tasks.apps.grader import suite_of, suite_text

PUBLISHED = {"train": 5000, "test": 5000}
"""Rows of the published data set."""

_COLUMNS = ("problem_id", "input_output")


@dataclasses.dataclass(frozen=True)
class Row:
    """One problem.

    Attributes:
        id: Unique in the data set.
        group: What must not stand in two stages: the words of its question.
        split: `train` or `test`.
        question: Text of the question.
        starter_code: What the program begins with, or empty.
        call_based: Whether a function is called; else the program reads standard input.
        difficulty: introductory, interview or competition.
        solution: What SFT learns, or None where the data have no solution.
        reference: A right program, or None.
        tests: What the score runs, as `suite_text` has it.
        hidden: What only the oracle runs, or None.
        hidden_tests: How many these are.
    """

    id: str
    group: str
    split: str
    question: str
    starter_code: str
    call_based: bool
    difficulty: str
    solution: str | None
    reference: str | None
    tests: str
    hidden: str | None
    hidden_tests: int


class RowCheck:
    """Checks rows one after another, so that a problem that stands there twice is noticed."""

    def __init__(self) -> None:
        """Starts with no row."""
        self._places: dict[str, str] = {}
        self.unreadable_solutions: list[str] = []

    def __call__(self, row: Mapping[str, Any], *, split: str, where: str) -> Row:
        """Returns a raw row with its fields checked.

        Solutions that cannot be read make no row unusable; their places are kept in `unreadable_solutions`.

        Raises:
            RowError: A required field is missing or wrong; the text names `where` and the field.
        """
        number, question = row.get("problem_id"), row.get("question")
        if not isinstance(number, (int, str)) or isinstance(number, bool) or number == "":
            raise RowError(
                f"{where}: field problem_id is {number!r}; should be a number or a name.", reason="without_problem_id"
            )
        if not isinstance(question, str) or not question.strip():
            raise RowError(f"{where}: field question is {question!r}; should be a text.", reason="without_question")
        name = f"{split}/{number}"
        if name in self._places:
            raise RowError(
                f"{where}: field problem_id is {number}, which stands already at {self._places[name]}; ids should be distinct.",
                reason="duplicate_problem_id",
            )
        found = _tests(row.get("input_output"), where)
        tests = suite_text(name, row, _COLUMNS)
        try:
            suite_of(tests)
        except DataError as error:
            raise RowError(f"{where}: field input_output: {error}", reason="unusable_tests") from error
        self._places[name] = where
        hidden = row.get("hidden_input_output")
        solution = self._first_solution(row.get("solutions"), where)
        return Row(
            id=name,
            group=" ".join(question.split()),
            split=split,
            question=question,
            starter_code=row.get("starter_code") or "",
            call_based=bool(found.get("fn_name")),
            difficulty=str(row.get("difficulty") or ""),
            solution=row.get("sft_solution") or solution,
            reference=solution,
            tests=tests,
            hidden=suite_text(name, {**row, "input_output": hidden}, _COLUMNS) if hidden else None,
            hidden_tests=len(json.loads(hidden)["inputs"]) if hidden else 0,
        )

    def _first_solution(self, given: Any, where: str) -> str | None:
        try:
            found = json.loads(given) if given else []
        except (ValueError, TypeError, RecursionError):
            found = None
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            self.unreadable_solutions.append(where)
            return None
        return next((each for each in found if each.strip()), None)


def problem_rows(source: DataSource, *, seed: int) -> Iterable[tuple[str, str, Mapping[str, Any]]]:
    """Returns split, place and row of every row of a source.

    Raises:
        DataError: It is missing, empty or not readable.
    """
    if source.kind == "embedded":
        return ((row["split"], f"embedded row {number}", row) for number, row in enumerate(embedded_rows(seed=seed)))
    if source.path is not None:
        holds = f"train and test files as {HUB['apps']['path']} has them"
        check_data_folder(source.path, holds=holds)
        return dataset_rows({"path": str(source.path)}, source=f"data folder '{source.path}'")
    revision = {"revision": source.revision} if source.revision else {}
    return dataset_rows(HUB["apps"] | revision, source=f"hub data set {HUB['apps']['path']}")


def _tests(given: Any, where: str) -> Mapping[str, Any]:
    """Returns the content of `input_output`, checked as far as no reader of the tests does."""
    if given is None or (isinstance(given, str) and not given.strip()):
        raise RowError(
            f"{where}: field input_output is empty; should be a JSON object with tests.", reason="without_tests"
        )
    try:
        found = json.loads(given)
    except (ValueError, TypeError, RecursionError) as error:
        raise RowError(
            f"{where}: field input_output is {shown(given)}, no JSON ({error}); should be an object with tests.",
            reason="tests_not_json",
        ) from error
    if not isinstance(found, dict):
        raise RowError(
            f"{where}: field input_output is {shown(given)}; should be an object with inputs and outputs.",
            reason="tests_not_an_object",
        )
    inputs, outputs = found.get("inputs"), found.get("outputs")
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        raise RowError(
            f"{where}: field input_output has inputs {shown(inputs)} and outputs {shown(outputs)}; should be two lists.",
            reason="tests_without_lists",
        )
    if len(inputs) != len(outputs):
        raise RowError(
            f"{where}: field input_output has {len(inputs)} inputs and {len(outputs)} outputs; should be as many of each.",
            reason="unequal_inputs_and_outputs",
        )
    if not inputs:
        raise RowError(
            f"{where}: field input_output has no input; should have at least one test.", reason="empty_tests"
        )
    return found
