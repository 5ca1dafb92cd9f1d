"""Runs one program in one test and says how it did: what the program's side reports is data, the verdict falls here."""

import ast
import contextlib
import functools
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from marl_bench.execution.comparators import comparator
from marl_bench.execution.exchange import Ended, Running, run_to_end
from marl_bench.execution.helper_process import HelperProcess
from marl_bench.execution.plain_checks import plain_calls
from marl_bench.execution.programs import (
    AssertTest,
    CallTest,
    CheckTest,
    ExpressionTest,
    Limits,
    Program,
    Status,
    StdioTest,
    Test,
    TestResult,
    TestSuite,
)
from marl_bench.execution.sandbox import plain_data
from marl_bench.execution.values import equal_as_json, equal_to

_CAUSES: dict[str, Status] = {
    "timeout": "timeout",
    "output_limit": "output_limit",
    "memory": "memory",
    "processes": "runtime_error",
}
_LENIENT = "apps-official-v1"
MOST_MESSAGE = 200
"""Characters of a result's message."""


class Grader:
    """Grades programs on one helper, and on a second one for the tests that come with a `check`."""

    def __init__(
        self,
        start: Callable[[], HelperProcess],
        limits: Limits,
        *,
        comparator_name: str,
        pace: float,
        cancelled: Callable[[], bool],
    ) -> None:
        """Starts no helper before it is needed.

        Args:
            start: Starts a helper.
            limits: Limits of each program in each test.
            comparator_name: For what programs print.
            pace: Factor on times for this host.
            cancelled: True once the work is no longer wanted.
        """
        self._start, self._limits, self._pace, self._cancelled = start, limits, pace, cancelled
        self._comparator_name, self._comparator = comparator_name, comparator(comparator_name)
        self._helpers: dict[str, HelperProcess] = {}
        self._expected: dict[tuple[str, str], Any] = {}
        self._plain: dict[CheckTest, list[tuple[dict[str, Any], Callable[[Any], bool]]]] = {}

    def grade(self, program: Program, suite: TestSuite, test: Test) -> TestResult:
        """Runs a program in a test.

        Raises:
            HelperDied: The helper ended, or could not end the program.
            OSError: No helper could be started.
        """
        if isinstance(test, StdioTest):
            return self._script(program, suite, test)
        if isinstance(test, CallTest):
            call = {"call": test.function, "arguments": plain_data.encode(list(test.arguments)), "named": ["d"]}
            return self._values(program, suite, [(call, lambda data: self._as_returned(data, test, suite))])
        if isinstance(test, ExpressionTest):
            expected = self._expected_value(suite, test)
            is_right = functools.partial(equal_to, expected=expected, tolerance=suite.tolerance)
            return self._values(program, suite, [({"value_of": test.expression}, is_right)])
        if isinstance(test, CheckTest):
            calls = self._plain_calls(test)
            return self._values(program, suite, calls) if calls else self._check(program, suite, test)
        return self._asserts(program, suite, test)

    def close(self) -> None:
        """Ends the helpers, and whatever runs on them."""
        for helper in self._helpers.values():
            helper.close()
        self._helpers.clear()

    def helper(self, role: str = "programs") -> HelperProcess:
        """Returns the helper of a role, started if there is none."""
        if role not in self._helpers:
            self._helpers[role] = self._start()
        return self._helpers[role]

    def _script(self, program: Program, suite: TestSuite, test: StdioTest) -> TestResult:
        lenient = self._comparator_name == _LENIENT  # the published grader runs every script as the body of a function
        request = {"mode": "script", "source": program.source, "body_allowed": lenient}
        ended = self._run(request, given=test.stdin.encode())
        failure = self._failure(ended)
        if failure:
            return failure
        printed = ended.stdout.decode(errors="surrogateescape")
        right = self._comparator(printed, test.expected, suite.tolerance)
        return _result(
            ended,
            "passed" if right else "wrong_answer",
            "" if right else f"printed {_short(repr(printed[:MOST_MESSAGE]))}",
        )

    def _values(
        self, program: Program, suite: TestSuite, calls: Sequence[tuple[dict[str, Any], Callable[[Any], bool]]]
    ) -> TestResult:
        """Asks one process for the values of calls, in order; all have to be right."""
        given = b"".join(json.dumps(call).encode() + b"\n" for call, _ in calls)
        ended = self._run(_module(program, suite), given=given)
        if ended.cause or _out_of_time(ended, self._limits, self._pace):
            failure = self._failure(ended)
            assert failure is not None
            return failure
        answers = [report for report in ended.reports if report["event"] in ("value", "raised", "compile_error")]
        for answer, (_, is_right) in itertools.zip_longest(answers[: len(calls)], calls):
            if answer is None or answer["event"] != "value" or "value" not in answer:
                return self._failure(ended) or _result(ended, *_raised(answer))
            try:
                right = is_right(answer["value"])
            except (ArithmeticError, RecursionError, TypeError, ValueError):
                right = False  # no data that `encode` makes
            if not right:
                return _result(ended, "wrong_answer", f"returned {_shown(answer['value'])}")
        return _result(ended, "passed")

    def _plain_calls(self, test: CheckTest) -> list[tuple[dict[str, Any], Callable[[Any], bool]]]:
        """Returns the calls of a check that only compares them with literals, else an empty list."""
        if test not in self._plain:
            self._plain[test] = [
                (
                    {
                        "call": test.entry_point,
                        "arguments": plain_data.encode(list(call.arguments)),
                        "named": plain_data.encode(dict(call.named)),
                    },
                    functools.partial(equal_to, expected=call.expected),
                )
                for call in plain_calls(test.code) or ()
            ]
        return self._plain[test]

    def _asserts(self, program: Program, suite: TestSuite, test: AssertTest) -> TestResult:
        ended = self._run({**_module(program, suite), "mode": "asserts", "asserts": test.code})
        passed = any(report["event"] == "verdict" for report in ended.reports)
        failure = self._failure(ended)
        if failure and any(report.get("error") == "AssertionError" for report in ended.reports):
            return _result(ended, "wrong_answer", failure.message, in_process=True)
        if failure:
            return _result(ended, failure.status, failure.message, in_process=True)
        text = "" if passed else "ended before the assertions"
        return _result(ended, "passed" if passed else "runtime_error", text, in_process=True)

    def _check(self, program: Program, suite: TestSuite, test: CheckTest) -> TestResult:
        with contextlib.ExitStack() as stack:
            checker = stack.enter_context(contextlib.closing(self._running("checks")))
            candidate = stack.enter_context(contextlib.closing(self._running("programs")))
            calls, call_end = os.pipe()
            answers, answer_end = os.pipe()
            try:
                candidate.start(_module(program, suite), joined=(calls, answer_end))
                request = {
                    "mode": "check",
                    "source": test.code,
                    "before": test.setup,
                    "entry_point": test.entry_point,
                    "candidate_word": candidate.word,
                }
                checker.start(request, joined=(answers, checker.reports.write_end, call_end))
            finally:
                for file in (calls, call_end, answers, answer_end):
                    os.close(file)
            check, ended = run_to_end([checker, candidate], wall_seconds=self._wall(), cancelled=self._cancelled)
        self._replace_unclean("checks", check)
        self._replace_unclean("programs", ended)
        return self._verdict(check, ended)

    def _verdict(self, check: Ended, ended: Ended) -> TestResult:
        """Judges from what the checker's process reports, which the candidate cannot reach, and from how both ended."""
        verdict = next((report for report in check.reports if report["event"] == "verdict"), None)
        if ended.cause in _CAUSES or _out_of_time(ended, self._limits, self._pace):
            failure = self._failure(ended)
            assert failure is not None
            return failure
        if verdict is None:
            if check.cause in _CAUSES:  # the candidate's answers made the check too costly
                return _result(ended, _CAUSES[check.cause], "in the check")
            if not any(report["event"] == "loaded" for report in check.reports):
                return _result(ended, "grader_error", f"the check cannot be loaded: {_last_line(check.stderr)}")
            return _result(ended, "runtime_error", "the check ended without a verdict")
        if verdict["status"] == "passed":
            return _result(ended, "passed")
        reported = verdict["candidate"]
        if reported is None:
            return _result(ended, "wrong_answer", str(verdict.get("error", "")))
        if reported["event"] == "ended":
            return _result(ended, "runtime_error", "ended without a result")
        return _result(ended, *_raised(reported))

    def _running(self, role: str) -> Running:
        return Running(self.helper(role), self._limits, pace=self._pace)

    def _run(self, request: dict[str, Any], *, given: bytes = b"") -> Ended:
        with contextlib.closing(self._running("programs")) as run:
            run.start(request, given=given)
            [ended] = run_to_end([run], wall_seconds=self._wall(), cancelled=self._cancelled)
        self._replace_unclean("programs", ended)
        return ended

    def _replace_unclean(self, role: str, ended: Ended) -> None:
        if not ended.clean:
            self._helpers.pop(role).close()

    def _wall(self) -> float:
        return self._limits.wall_seconds * self._pace

    def _failure(self, ended: Ended) -> TestResult | None:
        """Returns the result of a program that did not end well, else None."""
        if ended.cause in _CAUSES:
            return _result(
                ended, _CAUSES[ended.cause], "more processes than it may have" if ended.cause == "processes" else ""
            )
        if _out_of_time(ended, self._limits, self._pace):
            return _result(ended, "timeout", "")
        if ended.exit_code == 0:
            return None
        if not ended.prepared:
            raise RuntimeError(f"the process of a program could not be prepared (exit status {ended.exit_code})")
        last = ended.reports[-1] if ended.reports else None
        if last is not None and last["event"] in ("raised", "compile_error"):
            status, error = _raised(last)
            return _result(ended, status, _last_line(ended.stderr) or error)
        if ended.exit_code < 0:
            return _result(ended, "runtime_error", f"ended by {_signal_name(-ended.exit_code)}")
        return _result(ended, "runtime_error", f"exit status {ended.exit_code} {_last_line(ended.stderr)}".strip())

    def _as_returned(self, data: Any, test: CallTest, suite: TestSuite) -> bool:
        expected = test.expected
        if equal_as_json(data, expected, tolerance=suite.tolerance):
            return True
        # Codewars problems of APPS wrap the value; the published grader takes the first of any list for it.
        wrapped = (
            test.wrapped
            and isinstance(expected, list)
            and bool(expected)
            and (len(expected) == 1 or self._comparator_name == _LENIENT)
        )
        return wrapped and equal_as_json(data, expected[0], tolerance=suite.tolerance)

    def _expected_value(self, suite: TestSuite, test: ExpressionTest) -> Any:
        """Returns the expected value, evaluated once in a clean process where the problem gives an expression for it."""
        if test.expected_expression is None:
            return test.expected
        key = (suite.before, test.expected_expression)
        if key not in self._expected:
            # Only the standard library's names are known there: nothing of the program's may decide what is right.
            names = {node.id for node in ast.walk(ast.parse(test.expected_expression)) if isinstance(node, ast.Name)}
            imports = "".join(f"import {name}\n" for name in sorted(names & sys.stdlib_module_names))
            call = json.dumps({"value_of": test.expected_expression}).encode() + b"\n"
            ended = self._run({"mode": "serve", "source": imports, "before": suite.before, "after": ""}, given=call)
            values = [report["value"] for report in ended.reports if report["event"] == "value"]
            if not values:
                raise ValueError(
                    f"problem {suite.problem_id}: {test.expected_expression} has no value ({_last_line(ended.stderr)})"
                )
            expected, again = (plain_data.decode(values[0]) for _ in range(2))
            if expected != again:  # it holds what is no plain data, or NaN
                raise ValueError(
                    f"problem {suite.problem_id}: {test.expected_expression} is no plain data, so nothing can equal it"
                )
            self._expected[key] = expected
        return self._expected[key]


def _module(program: Program, suite: TestSuite) -> dict[str, Any]:
    return {"mode": "serve", "source": program.source, "before": suite.before, "after": suite.after}


def _out_of_time(ended: Ended, limits: Limits, pace: float) -> bool:
    """Returns True if it used more CPU than it may; the kernel ends it only at the next whole second."""
    return ended.exit_code == -signal.SIGXCPU or ended.cpu_seconds > limits.timeout_seconds * pace


def _raised(report: dict[str, Any] | None) -> tuple[Status, str]:
    if report is None or report["event"] == "value":
        return "runtime_error", "ended without a result"
    error = str(report.get("error", ""))
    if report["event"] == "compile_error":
        return "compile_error", error
    text = str(report.get("text", ""))
    return ("memory" if error == "MemoryError" else "runtime_error"), f"{error}: {text}" if text else error


def _result(ended: Ended, status: Status, message: str = "", *, in_process: bool = False) -> TestResult:
    return TestResult(status, ended.seconds, ended.cpu_seconds, one_line(message), in_process)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def one_line(text: str) -> str:
    """Returns what a program wrote as one line of printable characters, so that it cannot pass for lines of ours."""
    shown = text[: 2 * MOST_MESSAGE].encode("utf-8", "backslashreplace").decode()
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in shown)[:MOST_MESSAGE]


def _last_line(data: bytes) -> str:
    lines = data.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."


def _shown(data: Any) -> str:
    """Returns a value as Python writes it if it is small, else the beginning of its data."""
    text = json.dumps(data)
    with contextlib.suppress(ValueError, TypeError):
        return _short(repr(plain_data.decode(data)) if len(text) < 400 else text)
    return "no plain data"
