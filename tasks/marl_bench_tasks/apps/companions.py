"""Problems of other data sets: MBPP for SFT where APPS has too few solutions, MBPP and HumanEval for evaluation. No torch."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from marl_bench.dataset_rows import check_data_folder, dataset_rows
from marl_bench.errors import DataError
from marl_bench.execution.problems import HUB, problem_of, problem_rows
from marl_bench.interfaces import DataSource
from marl_bench.records import Prompt, SftPair
from marl_bench_tasks.apps.grader import suite_text
from marl_bench_tasks.apps.prompts import question_span, question_text

MBPP = "mbpp"
_MBPP_COLUMNS = ("task_id", "test_list", "test_setup_code", "test_imports")
_HUMANEVAL_COLUMNS = ("task_id", "prompt", "test", "entry_point")


def mbpp_place(given: str | None, source: DataSource, *, or_hub: bool) -> str | None:
    """Returns where MBPP is read from: a folder, `mbpp` for the hub, or None if nothing says where.

    Args:
        given: The option: a folder, or `mbpp`.
        source: Of the task; a folder `mbpp` beside its folder is found by itself.
        or_hub: Whether the hub is the last resort; it is the first for data from the hub.
    """
    if given is not None:
        return given
    beside = source.path.resolve().parent / MBPP if source.path is not None else None
    if beside is not None and beside.is_dir():
        return str(beside)
    return MBPP if or_hub or source.kind == "hub" else None


def mbpp_pairs(place: str) -> list[SftPair]:
    """Returns the problems of MBPP's train part with their solutions.

    Raises:
        DataError: The data are missing or not readable, or a row does not fit.
    """
    return [SftPair(_mbpp_prompt(name, row), _solution(row)) for name, row in _mbpp_rows(place, split="train")]


def mbpp_prompts(place: str) -> list[Prompt]:
    """Returns the problems of MBPP's test part; raises as `mbpp_pairs`."""
    return [_mbpp_prompt(name, row) for name, row in _mbpp_rows(place, split="test")]


def humaneval_prompts() -> list[Prompt]:
    """Returns the problems of HumanEval in their own wording; a response goes on from the prompt."""
    prompts = []
    for split, where, row in problem_rows("humaneval"):
        problem = problem_of(split, where, row)
        prompts.append(
            Prompt(
                id=problem.id,
                text=problem.prompt,
                reference=row["canonical_solution"],
                subset="humaneval",
                fields={"tests": suite_text(problem.id, row, _HUMANEVAL_COLUMNS), "completes": problem.prompt},
            )
        )
    return prompts


def _mbpp_rows(place: str, *, split: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if place == MBPP:
        rows = dataset_rows(HUB[MBPP], source=f"hub data set {HUB[MBPP]['path']}")
    else:
        check_data_folder(Path(place).expanduser(), holds=f"train and test files as {HUB[MBPP]['path']} has them")
        rows = dataset_rows({"path": str(Path(place).expanduser())}, source=f"MBPP folder '{place}'")
    found = False
    for part, where, row in rows:
        if part == split:
            missing = [name for name in ("text", "code") if not isinstance(row.get(name), str) or not row[name].strip()]
            if missing:
                raise DataError(f"{where}: field {missing[0]} is {row.get(missing[0])!r}; should be a text.")
            found = True
            yield problem_of("", where, row).id, row
    if not found:
        raise DataError(
            f"MBPP '{place}': has no split {split}; should have train and test as {HUB[MBPP]['path']} has them."
        )


def _mbpp_prompt(name: str, row: Mapping[str, Any]) -> Prompt:
    # As its paper words it: without the tests nobody knows the name of the function.
    tests = "\n".join(row["test_list"])
    question = f"{row['text'].strip()}\nYour code should pass these tests:\n\n{tests}"
    return Prompt(
        id=name,
        text=question_text(question, "", call_based=True),
        reference=_solution(row),
        subset=MBPP,
        fields={"tests": suite_text(name, row, _MBPP_COLUMNS)},
        cuttable=question_span(question),
    )


def _solution(row: Mapping[str, Any]) -> str:
    return str(row["code"]).replace("\r\n", "\n")
