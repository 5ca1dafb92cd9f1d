"""Runs many programs side by side and hands out their results in order."""

import functools
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from marl_bench.errors import IsolationError, UnknownNameError
from marl_bench.execution.grading import Grader, one_line
from marl_bench.execution.helper_process import HelperDied, HelperProcess
from marl_bench.execution.isolation import LEVELS, Isolation, Launcher, Level, launchers, level_of
from marl_bench.execution.programs import (
    DEFAULT_PACKAGES,
    FAILURES,
    Limits,
    Program,
    ProgramResult,
    Status,
    Test,
    TestResult,
    TestSuite,
)
from marl_bench.execution.view import View, view_of

LOOP_SECONDS = 0.0025
"""CPU seconds of the helper's calibration loop on the reference host (a 2026 server core, Python 3.11); slower hosts get more time."""

MOST_PACE = 20.0
_MOST_WAITING = 1024  # results that nobody has taken yet, so that memory stays flat whoever is slow


def _nothing() -> None:
    pass


class ProgramRunner:
    """Helpers that stay ready for several rounds of programs; use it as a context manager.

    Attributes:
        isolation: Under which programs run.
        pace: Factor on their time: this host's calibration loop over the reference host's, at least 1.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        workers: int | None = None,
        comparator: str = "tokens-v1",
        require_isolation: Level = "process",
        packages: Sequence[str] = DEFAULT_PACKAGES,
        stop_at_first_failure: bool = False,
        launcher: Launcher | None = None,
    ) -> None:
        """Starts one helper, which tells what the host allows; the others start when they are needed.

        Args:
            limits: Of each program in each test.
            workers: Programs side by side; None takes the number of cores.
            comparator: For what programs print.
            require_isolation: The weakest level that will do.
            packages: Installed distributions that programs may import.
            stop_at_first_failure: Whether a program that failed a test skips the rest.
            launcher: How helpers are isolated; None takes the best that works here.

        Raises:
            IsolationError: Less isolation than required, or programs cannot be run here at all.
            ConfigError: A package is not installed.
            UnknownNameError: No such comparator or level.
        """
        if workers is not None and workers < 1:
            raise ValueError(f"ProgramRunner: workers is {workers}; should be 1 or more.")
        if require_isolation not in LEVELS:
            raise UnknownNameError("isolation level", require_isolation, LEVELS)
        self.limits, self._view, self._stop_at_first_failure = (
            limits or Limits(),
            view_of(packages),
            stop_at_first_failure,
        )
        self.comparator = comparator
        first, self.isolation = _start_best([launcher] if launcher else launchers(), self.limits, self._view)
        self.pace = min(MOST_PACE, max(1.0, first.loop_seconds / LOOP_SECONDS))
        self._ready = [first]
        self._lock = threading.Lock()
        self._current: Results | None = None
        self._closed = False
        try:
            if LEVELS.index(self.isolation.level) < LEVELS.index(require_isolation):
                raise IsolationError(
                    f"isolation: this host gives level '{self.isolation.level}', '{require_isolation}' is required; "
                    "`marl-bench doctor` says what is missing."
                )
            count = workers or os.cpu_count() or 1
            self._cancel = threading.Event()
            self._graders = [self._grader() for _ in range(count)]
        except BaseException:
            first.close()
            raise

    def __enter__(self) -> "ProgramRunner":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self, programs: Iterable[Program], tests: Mapping[str, TestSuite], *, stop_at: Collection[Status] = ()
    ) -> "Results":
        """Starts to run programs in the background; one round at a time: an earlier one is cancelled.

        Args:
            programs: Read as they are needed, so the iterable may be long.
            tests: Problem id to the tests of the problem.
            stop_at: A program that ends a test so skips the rest, such as `COSTLY_FAILURES`.

        Returns:
            An iterator over the results in the order of the programs; close it to cancel the rest.
        """
        return self._results(programs, tests, stop_at=stop_at)

    def run_and_close(self, programs: Iterable[Program], tests: Mapping[str, TestSuite]) -> "Results":
        """As `run`, for one round: the runner is closed with the results."""
        return self._results(programs, tests, on_close=self.close)

    def close(self) -> None:
        """Cancels what runs, and ends the helpers."""
        self._closed = True
        if self._current is not None:
            self._current.close()
        for grader in self._graders:
            grader.close()
        while self._ready:
            self._ready.pop().close()

    def _results(
        self,
        programs: Iterable[Program],
        tests: Mapping[str, TestSuite],
        *,
        stop_at: Collection[Status] = (),
        on_close: Callable[[], None] = _nothing,
    ) -> "Results":
        if self._closed:
            raise RuntimeError("ProgramRunner: is closed; make another one.")
        if self._current is not None:
            self._current.close()
        stops = frozenset(FAILURES if self._stop_at_first_failure else stop_at)
        workers = [functools.partial(self._run_one, grader, stops) for grader in self._graders]
        self._cancel.clear()
        self._current = Results(programs, tests, workers, self._cancel, on_close=on_close)
        return self._current

    def _grader(self) -> Grader:
        return Grader(
            self._helper, self.limits, comparator_name=self.comparator, pace=self.pace, cancelled=self._cancel.is_set
        )

    def _helper(self) -> HelperProcess:
        with self._lock:
            if self._ready:
                return self._ready.pop()
        return HelperProcess(self.isolation.launcher, self.limits, view=self._view, filtered=self.isolation.seccomp)

    def _run_one(self, grader: Grader, stops: Collection[Status], program: Program, suite: TestSuite) -> ProgramResult:
        results: list[TestResult] = []
        for test in suite.tests:
            results.append(self._run_test(grader, program, suite, test))
            if results[-1].status in ("compile_error", *stops) or self._cancel.is_set():
                break
        if results[-1].status == "compile_error":
            results += [results[-1]] * (len(suite.tests) - len(results))  # it would not compile for the others either
        return ProgramResult(program.problem_id, program.sample_index, tuple(results), len(suite.tests))

    def _run_test(self, grader: Grader, program: Program, suite: TestSuite, test: Test) -> TestResult:
        """Runs a test; once more, on a new helper, if the helper died: the second time it was the program."""
        for _ in range(2):
            try:
                return grader.grade(program, suite, test)
            except HelperDied:
                grader.close()
            except Exception as error:  # noqa: BLE001 (one program must not end the others; above a share, commands fail)
                grader.close()
                return TestResult("grader_error", message=one_line(f"{type(error).__name__}: {error}"))
            except BaseException:
                grader.close()
                raise
        return TestResult("runtime_error", message="it brought down its helper, twice")


def _start_best(choices: Sequence[Launcher], limits: Limits, view: View) -> tuple[HelperProcess, Isolation]:
    """Starts a helper with the best isolation that the host allows.

    Raises:
        IsolationError: Not even a plain process can be started.
    """
    reasons: dict[str, str] = {}
    for launcher in choices:
        try:
            helper = HelperProcess(launcher, limits, view=view)
        except OSError as error:
            reasons[launcher] = str(error)
            continue
        isolation = Isolation(
            level=level_of(launcher, seccomp=helper.seccomp),
            launcher=launcher,
            seccomp=helper.seccomp,
            proc=helper.proc,
            files_confined=helper.files_confined,
            reasons=reasons,
        )
        return helper, isolation
    raise IsolationError(
        "programs cannot be run here: " + "; ".join(f"{name}: {why}" for name, why in reasons.items()) + "."
    )


class Results(Iterator[ProgramResult]):
    """Results in the order of the programs, while the work goes on in threads; these mostly wait, so they slow nothing."""

    def __init__(
        self,
        programs: Iterable[Program],
        tests: Mapping[str, TestSuite],
        workers: Sequence[Callable[[Program, TestSuite], ProgramResult]],
        cancel: threading.Event,
        *,
        on_close: Callable[[], None] = _nothing,
    ) -> None:
        """Starts one thread a worker.

        Args:
            programs: What to run.
            tests: Problem id to tests.
            workers: Each runs one program at a time.
            cancel: Set to make the workers return early.
            on_close: Called once, when nothing runs any more.
        """
        self._programs, self._tests, self._cancel, self._on_close = enumerate(programs), tests, cancel, on_close
        self._done: dict[int, ProgramResult] = {}
        self._next, self._taken = 0, 0
        self._all_taken = self._closed = False
        self._error: BaseException | None = None
        self._change, self._taking = threading.Condition(), threading.Lock()
        self._threads = [threading.Thread(target=self._work, args=(worker,), daemon=True) for worker in workers]
        for thread in self._threads:
            thread.start()

    def __iter__(self) -> "Results":
        return self

    def __next__(self) -> ProgramResult:
        """Waits for the next result.

        Raises:
            UnknownNameError: A program's problem has no tests.
        """
        with self._change:
            self._change.wait_for(lambda: self._next in self._done or self._ended())
            if self._next in self._done and not self._closed:
                result = self._done.pop(self._next)
                self._next += 1
                self._change.notify_all()
                return result
        self.close()
        if self._error is not None:
            raise self._error
        raise StopIteration

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancels what has not ended; safe to call from any thread, and again."""
        with self._change:
            if not self._closed and self._next < self._taken:
                self._cancel.set()
            self._closed = True
            self._change.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():  # the programs' own iterable may close
                thread.join()
        with self._change:
            on_close, self._on_close = self._on_close, _nothing
        on_close()

    def _work(self, worker: Callable[[Program, TestSuite], ProgramResult]) -> None:
        try:
            while (taken := self._take()) is not None:
                number, program = taken
                if program.problem_id not in self._tests:
                    raise UnknownNameError("problem", program.problem_id, self._tests)
                result = worker(program, self._tests[program.problem_id])
                with self._change:
                    self._done[number] = result
                    self._change.notify_all()
        except BaseException as error:  # noqa: BLE001 (raised again where the results are taken)
            with self._change:
                self._error = self._error or error
                self._change.notify_all()

    def _take(self) -> tuple[int, Program] | None:
        with self._change:
            self._change.wait_for(lambda: len(self._done) < _MOST_WAITING or self._stopped())
        with self._taking:  # not under the other lock: the programs may be slow to come
            taken = None if self._stopped() else next(self._programs, None)
            with self._change:
                if taken is None:
                    self._all_taken = True
                else:
                    self._taken += 1
                self._change.notify_all()
            return taken

    def _stopped(self) -> bool:
        return self._closed or self._all_taken or self._error is not None

    def _ended(self) -> bool:
        return self._closed or self._error is not None or (self._all_taken and self._next == self._taken)


def run_programs(
    programs: Iterable[Program], tests: Mapping[str, TestSuite], limits: Limits | None = None, **options: Any
) -> Results:
    """Starts to run programs in tests, and returns an iterator over their results in order; closing it cancels the rest.

    Args:
        programs: Read as they are needed.
        tests: Problem id to tests.
        limits: Of each program in each test.
        **options: Those of `ProgramRunner`.

    Raises:
        IsolationError: See `ProgramRunner`.
        UnknownNameError: An option's value is unknown; from the iterator: a program's problem has no tests.
    """
    return ProgramRunner(limits, **options).run_and_close(programs, tests)
