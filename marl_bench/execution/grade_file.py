"""Grades a file of samples into a file of results, line by line, so that a killed run goes on where it stopped."""

import dataclasses
import errno
import functools
import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from marl_bench.errors import Interrupted, RunFolderError
from marl_bench.execution.problems import ProblemSet
from marl_bench.execution.programs import STATUSES, Limits, Program, ProgramResult, Status, TestResult
from marl_bench.execution.runner import ProgramRunner
from marl_bench.execution.view import package_versions
from marl_bench.run_dir import append_jsonl, write_bytes_atomically

SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True)
class GradedSample:
    """One line of a results file.

    Attributes:
        problem_id: Problem.
        sample_index: Which of its samples.
        program: First digits of the SHA-256 of its source.
        status: Of the whole program.
        tests: Status of each test that ran.
        test_count: Number of tests of the problem.
        cpu_seconds: Of all tests together.
        message: What went wrong in the first test that failed.
        in_process: True if a test ran in the program's own process, where it could have been forged.
    """

    problem_id: str
    sample_index: int
    program: str
    status: Status
    tests: tuple[Status, ...]
    test_count: int
    cpu_seconds: float
    message: str
    in_process: bool

    @classmethod
    def of(cls, result: ProgramResult, program: Program) -> "GradedSample":
        """Makes the line of a result."""
        first = next((test for test in result.tests if test.status == result.status), result.tests[0])
        return cls(
            problem_id=result.problem_id,
            sample_index=result.sample_index,
            program=_digest([program.source])[:16],
            status=result.status,
            tests=tuple(test.status for test in result.tests),
            test_count=result.test_count,
            cpu_seconds=round(sum(test.cpu_seconds for test in result.tests), 4),
            message=first.message,
            in_process=result.in_process,
        )

    def result(self) -> ProgramResult:
        """Returns the result that the line stands for, without times."""
        tests = tuple(TestResult(status, in_process=self.in_process) for status in self.tests)
        return ProgramResult(self.problem_id, self.sample_index, tests, self.test_count)


@dataclasses.dataclass(frozen=True)
class Job:
    """What is graded and how; results of another job are never mixed with its own.

    Attributes:
        samples: The programs.
        problems: The problems they answer.
        limits: Of each program in each test.
        comparator: For what they print.
        all_tests: False if a program that failed a test skips the rest.
        packages: Installed packages that programs may import.
    """

    samples: Sequence[Program]
    problems: ProblemSet
    limits: Limits
    comparator: str
    all_tests: bool
    packages: tuple[str, ...]

    @functools.cached_property
    def header(self) -> dict[str, Any]:
        """What two runs must share to be one: digests of the problems, and every setting that may change a result."""
        suites = {program.problem_id: self.problems.find(program.problem_id).suite for program in self.samples}
        return {
            "schema_version": SCHEMA_VERSION,
            "problems": {name: _digest([suites[name]])[:16] for name in sorted(suites)},
            "limits": dataclasses.asdict(self.limits),
            "comparator": self.comparator,
            "all_tests": self.all_tests,
            "packages": package_versions(self.packages),
            "python": platform.python_version(),
        }


def finished_samples(job: Job, out: Path) -> list[GradedSample]:
    """Returns what a results file already holds of the job, but for what could not be graded, which is tried again.

    Raises:
        RunFolderError: The file was made with other settings, problems or programs, or is no results file.
    """
    if not out.exists():
        return []
    if out.is_dir():
        raise RunFolderError(f"results '{out}': is a folder; give the name of a file.")
    data = out.read_bytes()
    header: dict[str, Any] | None = None
    found: list[GradedSample] = []
    whole = data[: data.rfind(b"\n") + 1]  # a torn last line does not count
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            row = json.loads(line)
            if number == 1:
                header = row["header"]
            elif "session" not in row:
                found.append(_sample(row))
        except (ValueError, KeyError, TypeError) as error:
            raise RunFolderError(
                f"results '{out}': line {number} is none of a file of results; give another --out."
            ) from error
    if header is not None:
        _check_same(job, header, found, out)
    return list({(s.problem_id, s.sample_index): s for s in found if s.status != "grader_error"}.values())


def _check_same(job: Job, header: Mapping[str, Any], found: Sequence[GradedSample], out: Path) -> None:
    advice = "give another --out, or remove the file to grade again."
    wanted = job.header
    for name in [name for name in wanted if name != "problems" and header.get(name) != wanted[name]]:
        raise RunFolderError(
            f"results '{out}': were made with {name} {header.get(name)}, now it is {wanted[name]}; {advice}"
        )
    given = {(program.problem_id, program.sample_index): _digest([program.source])[:16] for program in job.samples}
    for sample in found:
        if given.get((sample.problem_id, sample.sample_index)) != sample.program:
            name = f"sample {sample.sample_index} of problem {sample.problem_id}"
            raise RunFolderError(
                f"results '{out}': {name} was another program, or is not among the samples now; {advice}"
            )
    known = header.get("problems", {})
    changed = sorted(name for name, digest in wanted["problems"].items() if known.get(name, digest) != digest)
    if changed:
        raise RunFolderError(f"results '{out}': problem {changed[0]} had other tests; {advice}")


def grade_file(
    job: Job, runner: ProgramRunner, out: Path, listener: Callable[[GradedSample, int], None]
) -> list[GradedSample]:
    """Grades what is not in the results file yet, appends it there, and returns all results in the order of the samples.

    Args:
        job: What to grade.
        runner: Made with the job's settings.
        out: Results file.
        listener: Told of every new result and of how many there are now.

    Raises:
        RunFolderError: The file belongs to another job, cannot be written, or another process writes it.
        Interrupted: Ctrl-C; what is graded is kept.
    """
    lock = out.with_name(f".{out.name}.lock")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(out.parent, os.W_OK):
            raise PermissionError(errno.EACCES, "Permission denied")
        with FileLock(lock, timeout=0):
            graded = _grade(job, runner, out, listener)
            lock.unlink(missing_ok=True)
    except Timeout as error:
        raise RunFolderError(
            f"results '{out}': another process is writing them; wait for it, or give another --out."
        ) from error
    except KeyboardInterrupt as error:
        lock.unlink(missing_ok=True)
        raise Interrupted("execute: stopped; the same command again goes on from what is graded.") from error
    except OSError as error:
        raise RunFolderError(f"results '{out}': cannot be written ({error.strerror}); give another --out.") from error
    return graded


def _grade(
    job: Job, runner: ProgramRunner, out: Path, listener: Callable[[GradedSample, int], None]
) -> list[GradedSample]:
    done = {(sample.problem_id, sample.sample_index): sample for sample in finished_samples(job, out)}
    waiting = [program for program in job.samples if (program.problem_id, program.sample_index) not in done]
    if waiting:
        data = out.read_bytes() if out.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            write_bytes_atomically(out, whole)  # a run that was killed left a torn line
        if not whole:
            append_jsonl(out, {"header": job.header})
        append_jsonl(out, {"session": {**runner.isolation.to_json(), "pace": round(runner.pace, 3)}})
    suites = {name: problem.suite for name, problem in job.problems.problems.items() if problem.suite is not None}
    with runner.run(waiting, suites) as results:
        for program, result in zip(waiting, results, strict=True):
            sample = GradedSample.of(result, program)
            append_jsonl(out, dataclasses.asdict(sample))
            done[sample.problem_id, sample.sample_index] = sample
            listener(sample, len(done))
    return [done[program.problem_id, program.sample_index] for program in job.samples]


def _sample(row: Mapping[str, Any]) -> GradedSample:
    sample = GradedSample(**{**row, "tests": tuple(row["tests"])})
    if not {sample.status, *sample.tests} <= set(STATUSES):
        raise ValueError(f"unknown status {sample.status}")
    return sample


def _digest(parts: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(repr(part).encode(errors="surrogatepass") + b"\0")
    return digest.hexdigest()
