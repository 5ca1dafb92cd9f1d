"""Files of sampled programs: HumanEval's format and ours."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marl_bench.errors import DataError, MarlBenchError
from marl_bench.execution.problems import ProblemSet, read_rows
from marl_bench.execution.programs import Program

_IDS = ("problem_id", "task_id", "prompt_id")
_WHOLE = ("program", "solution")
_CONTINUATIONS = ("completion", "response")


def read_samples(path: Path, problems: ProblemSet) -> list[Program]:
    """Reads samples, one a line: the problem's id, and a whole program or what follows its prompt.

    The id is `problem_id`, `task_id` or `prompt_id`; the text is `program` or `solution` (whole), or `completion` or `response` (what follows
    the prompt, where the problem has one). `sample_index` tells a problem's samples apart; without it the order does.

    Raises:
        DataError: A line has no id or text, or the same sample stands there twice, or there is no sample.
        UnknownNameError: No such problem.
    """
    if not path.is_file():
        raise DataError(
            f"samples '{path}': is no file; give JSON lines with task_id and completion, or problem_id and program."
        )
    programs: list[Program] = []
    places: dict[tuple[str, int], str] = {}
    counts: Counter[str] = Counter()
    for where, row in read_rows(path):
        try:
            program = _sample(where, row, problems, counts)
        except DataError:
            raise
        except MarlBenchError as error:
            raise type(error).__new__(type(error), f"{where}: {error}") from error
        key = (program.problem_id, program.sample_index)
        if key in places:
            raise DataError(
                f"{where}: sample {program.sample_index} of problem {program.problem_id} stands already at {places[key]}; "
                "give each its own sample_index, or none."
            )
        places[key] = where
        programs.append(program)
    if not programs:
        raise DataError(f"samples '{path}': holds no sample; give at least one line.")
    return programs


def _sample(where: str, row: Mapping[str, Any], problems: ProblemSet, counts: Counter[str]) -> Program:
    ids = [row[name] for name in _IDS if row.get(name) is not None]
    if not ids:
        raise DataError(f"{where}: has {', '.join(sorted(row)) or 'nothing'}; should have one of {', '.join(_IDS)}.")
    texts = [name for name in (*_WHOLE, *_CONTINUATIONS) if name in row]
    if len(texts) != 1 or not isinstance(row[texts[0]], str):
        given = ", ".join(texts) or ", ".join(sorted(row))
        raise DataError(f"{where}: has {given}; should have one text: {', '.join((*_WHOLE, *_CONTINUATIONS))}.")
    problem = problems.find(str(ids[0]))
    text = row[texts[0]]
    index = row.get("sample_index", counts[problem.id])
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise DataError(f"{where}: sample_index is {index!r}; should be a whole number from 0.")
    counts[problem.id] += 1
    return Program(problem.id, text if texts[0] in _WHOLE else problem.prompt + text, index)
