"""Runs programs in the tests of their problems: one runner a process, and each program once. No torch."""

import dataclasses
import functools
import hashlib
import json
import re
import threading
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from marl_bench.execution.problems import APPS_IMPORTS, problem_of
from marl_bench.execution.programs import COSTLY_FAILURES, Limits, Program, ProgramResult, TestSuite
from marl_bench.execution.runner import ProgramRunner

MOST_RESULTS = 8192
MOST_SUITES = 1024

_NAME = re.compile(r"[^\W\d]\w*")


def suite_text(problem_id: str, row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """Returns the columns of a row that its tests are made of as JSON text, as `ProgramGrader.grade` takes it.

    Args:
        problem_id: Id of the problem, for messages.
        row: With the columns of APPS, HumanEval or MBPP.
        columns: Which of them to keep.
    """
    return json.dumps({"id": problem_id, "row": {name: row[name] for name in columns if name in row}})


def suite_of(text: str) -> TestSuite:
    """Returns the tests that a text of `suite_text` stands for, under an id that is theirs alone.

    Raises:
        DataError: The columns do not fit their data set, or hold no test.
    """
    content = json.loads(text)
    suite = problem_of("", f"problem {content['id']}", content["row"]).suite
    assert suite is not None  # rows without tests are left out where they are read
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return TestSuite(
        f"{content['id']} {digest}", suite.tests, before=suite.before, after=suite.after, tolerance=suite.tolerance
    )


def without_idle_imports(suite: TestSuite, source: str) -> TestSuite:
    """Returns the tests without the imports that APPS promises if the program has none of their names in it.

    Every test is a new process, which would spend most of its time on them.
    """
    if suite.before != APPS_IMPORTS or not _promised_names().isdisjoint(_NAME.findall(source)):
        return suite
    return dataclasses.replace(suite, problem_id=f"{suite.problem_id} without imports", before="")


@functools.cache
def _promised_names() -> frozenset[str]:
    names: dict[str, Any] = {}
    exec(APPS_IMPORTS, names)  # our own constant
    return frozenset(names)


class ProgramGrader:
    """Grades programs, and remembers the results of the latest: score, metrics and oracle look at the same ones one after another.

    May be called from any thread. Its copy in another process starts a runner of its own; runners end with their process, or with `close`.
    """

    def __init__(self, limits: Limits, *, workers: int) -> None:
        """Starts nothing before the first program comes.

        Args:
            limits: Of each program in each test.
            workers: Programs side by side.
        """
        self.limits, self.workers = limits, workers
        self._lock = threading.Lock()
        self._runner: ProgramRunner | None = None
        self._results: OrderedDict[tuple[str, str], ProgramResult] = OrderedDict()
        self._suite = functools.lru_cache(maxsize=MOST_SUITES)(suite_of)

    def __getstate__(self) -> dict[str, Any]:
        return {"limits": self.limits, "workers": self.workers}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(state["limits"], workers=state["workers"])  # type: ignore[misc]

    def grade(self, programs: Sequence[tuple[str, str]]) -> list[ProgramResult]:
        """Returns the result of each program; one that used up a limit in a test skips the rest, which count as failed.

        Args:
            programs: Tests (a text of `suite_text`) and source of each.

        Raises:
            IsolationError: Programs cannot be run here.
        """
        with self._lock:
            new = [pair for pair in dict.fromkeys(programs) if pair not in self._results]
            found = dict(zip(new, self._run(new), strict=True)) if new else {}
            for pair in dict.fromkeys(programs):
                found.setdefault(pair, self._results.get(pair))  # type: ignore[arg-type]  # those that are not new are there
                self._results[pair] = found[pair]
                self._results.move_to_end(pair)
            while len(self._results) > MOST_RESULTS:
                self._results.popitem(last=False)
            return [found[pair] for pair in programs]

    def close(self) -> None:
        """Ends the runner, if there is one; the next program starts another."""
        with self._lock:
            if self._runner is not None:
                self._runner.close()
                self._runner = None

    def _run(self, pairs: Sequence[tuple[str, str]]) -> list[ProgramResult]:
        if self._runner is None:
            self._runner = ProgramRunner(self.limits, workers=self.workers)
            weakref.finalize(self, self._runner.close)
        suites = [without_idle_imports(self._suite(text), source) for text, source in pairs]
        programs = [Program(suite.problem_id, source) for suite, (_, source) in zip(suites, pairs, strict=True)]
        tests = {suite.problem_id: suite for suite in suites}
        with self._runner.run(programs, tests, stop_at=COSTLY_FAILURES) as results:
            return list(results)
