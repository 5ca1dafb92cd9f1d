"""Programs, tests, limits and results of running them: frozen records."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

Status = Literal[
    "passed", "wrong_answer", "runtime_error", "timeout", "memory", "output_limit", "compile_error", "grader_error"
]
STATUSES: tuple[Status, ...] = (
    "passed",
    "wrong_answer",
    "runtime_error",
    "timeout",
    "memory",
    "output_limit",
    "compile_error",
    "grader_error",
)
FAILURES: tuple[Status, ...] = STATUSES[1:]
COSTLY_FAILURES: tuple[Status, ...] = ("timeout", "memory", "output_limit")
"""Of a program that used up a limit in one test; it may well do so in each."""


DEFAULT_PACKAGES = ("numpy",)
"""Packages that programs may import unless a caller says otherwise."""


@dataclasses.dataclass(frozen=True)
class Program:
    """One program that answers one problem.

    Attributes:
        problem_id: Id of the problem, a key of the tests.
        source: Python source text.
        sample_index: Which of a problem's samples it is.
    """

    problem_id: str
    source: str
    sample_index: int = 0


_MOST = 1_000_000


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one program may use in one test.

    Attributes:
        timeout_seconds: CPU seconds of a process on the reference host; a slower host gives more, a faster one as many.
        memory_mib: Memory of all its processes together.
        output_mib: What it may write to each of stdout, stderr and its results.
        folder_mib: Size of its temporary folder, and of any file.
        processes: Processes and threads at once.
        open_files: Open file descriptors of a process.
    """

    timeout_seconds: float = 10.0
    memory_mib: int = 1024
    output_mib: int = 16
    folder_mib: int = 64
    processes: int = 64
    open_files: int = 128

    def __post_init__(self) -> None:
        """Raises ValueError if a limit is not positive."""
        for field in dataclasses.fields(self):
            if not 0 < getattr(self, field.name) <= _MOST:
                raise ValueError(
                    f"Limits: {field.name} is {getattr(self, field.name)}; should be above 0 and at most {_MOST:,}."
                )

    @property
    def wall_seconds(self) -> float:
        """Seconds of the clock after which a program is ended: twice its CPU seconds and one, so that a busy host fails nobody."""
        return 2 * self.timeout_seconds + 1


@dataclasses.dataclass(frozen=True)
class StdioTest:
    """The program runs as a script: it reads `stdin`, and what it prints is compared with `expected`."""

    stdin: str
    expected: str


@dataclasses.dataclass(frozen=True)
class CallTest:
    """A function of the program, or a method of its class `Solution`, is called; what it returns is compared as JSON data.

    Attributes:
        function: Name of the function.
        arguments: Positional arguments, plain data.
        expected: What it returns.
        wrapped: True if `expected` may be a list of one element that holds it, as in APPS.
    """

    function: str
    arguments: Sequence[Any]
    expected: Any
    wrapped: bool = False


@dataclasses.dataclass(frozen=True)
class ExpressionTest:
    """An expression is evaluated in the program's module, and its value compared, as Python's `==` would.

    Attributes:
        expression: Source of the expression.
        expected: Value it should have, or None if `expected_expression` gives it.
        expected_expression: Source of the expected value, evaluated in a clean process of its own.
    """

    expression: str
    expected: Any = None
    expected_expression: str | None = None


@dataclasses.dataclass(frozen=True)
class AssertTest:
    """Assertions that need the program's own objects, so they run in its process, where a hostile program could interfere."""

    code: str


@dataclasses.dataclass(frozen=True)
class CheckTest:
    """A test program with `check(candidate)`; it runs in a clean process that calls the candidate in another.

    Arguments and results cross as plain data: changes of an argument in place are not seen, and functions, generators or objects do not cross.

    Attributes:
        code: Source that defines `check`.
        setup: Source that runs before it.
        entry_point: Name of the program's function that is the candidate.
    """

    code: str
    setup: str
    entry_point: str


Test = StdioTest | CallTest | ExpressionTest | AssertTest | CheckTest


@dataclasses.dataclass(frozen=True)
class TestSuite:
    """The tests of one problem.

    Attributes:
        problem_id: Id of the problem.
        tests: At least one.
        before: Source that runs in the program's module before it (imports that a problem promises); not for scripts.
        after: Source that runs in the program's module after it (test data built from its classes); not for scripts.
        difficulty: A label to group by, or empty.
        tolerance: Relative and absolute tolerance of numbers; 0 compares exactly.
    """

    __test__ = False  # no test class for pytest

    problem_id: str
    tests: tuple[Test, ...]
    before: str = ""
    after: str = ""
    difficulty: str = ""
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError if there is no test, or the tolerance is negative or not finite."""
        if not self.tests:
            raise ValueError(f"problem {self.problem_id}: has no tests; a program cannot pass or fail it.")
        if not 0 <= self.tolerance < math.inf:
            raise ValueError(f"problem {self.problem_id}: tolerance is {self.tolerance}; should be 0 or more.")


@dataclasses.dataclass(frozen=True)
class TestResult:
    """How a program did in one test.

    Attributes:
        status: See `STATUSES`.
        seconds: Seconds of the clock.
        cpu_seconds: CPU seconds of its process.
        message: What ended it, in few words; empty if it passed.
        in_process: True if the test ran in the program's own process, which could forge its result.
    """

    __test__ = False

    status: Status
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    message: str = ""
    in_process: bool = False


@dataclasses.dataclass(frozen=True)
class ProgramResult:
    """How a program did in the tests of its problem.

    Attributes:
        problem_id: As in the program.
        sample_index: As in the program.
        tests: One result a test; fewer if the runner stops at the first failure.
        test_count: Number of tests of the problem.
    """

    problem_id: str
    sample_index: int
    tests: tuple[TestResult, ...]
    test_count: int

    @property
    def status(self) -> Status:
        """`grader_error` if any test has it, else that of the first failed test, else `passed`."""
        failed = [test.status for test in self.tests if test.status != "passed"]
        if "grader_error" in failed:
            return "grader_error"
        return failed[0] if failed else "passed"

    @property
    def passed_share(self) -> float:
        """Passed tests over all tests of the problem."""
        return sum(test.status == "passed" for test in self.tests) / self.test_count

    @property
    def in_process(self) -> bool:
        """True if any test ran in the program's own process."""
        return any(test.in_process for test in self.tests)
