"""Runs a problem's `check(candidate)` in a process of its own; the candidate answers from another one, in plain data."""

import builtins
import json
import os
from typing import Any

from marl_bench.execution.sandbox import plain_data
from marl_bench.execution.sandbox.program import Reports, exit_code, finish, new_module


class CandidateFailed(BaseException):
    """The candidate's process raised or ended; no `except Exception` of a check may swallow an end."""


class Candidate:
    """Calls a function that lives in the candidate's process."""

    def __init__(self, name: str, calls: int, answers: int, word: str) -> None:
        """Writes calls to one file descriptor and reads answers, which begin with `word`, from another."""
        self._name, self._calls, self._word = name, calls, word.encode() + b" "
        self._answers = open(answers, "rb", closefd=False)  # noqa: SIM115 (it stays open as long as the process)
        self.failure: dict[str, Any] | None = None

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Returns what the candidate's function returns, or raises an exception of the builtin type that it raised or descends from."""
        call = {"call": self._name, "arguments": plain_data.encode(list(arguments)), "named": plain_data.encode(named)}
        data = json.dumps(call).encode() + b"\n"
        self.failure = None
        try:
            while data:
                data = data[os.write(self._calls, data) :]
        except OSError:
            pass  # it has ended; what it reported before says how
        for line in self._answers:
            if line.startswith(self._word):
                report = json.loads(line[len(self._word) :])
                if report["event"] == "value":
                    return plain_data.decode(report["value"])
                self.failure = report
                raise _as_raised(report)
        self.failure = {"event": "ended"}
        raise CandidateFailed("ended without a result")


def _as_raised(report: dict[str, Any]) -> BaseException:
    kind = getattr(builtins, str(report.get("builtin")), None)
    if report["event"] != "raised" or not (isinstance(kind, type) and issubclass(kind, Exception)):
        return CandidateFailed(report["event"])
    for each in kind.__mro__:
        try:
            return each(str(report.get("text")))  # type: ignore[no-any-return]
        except TypeError:
            continue  # it takes more than a text; its parent is the next best
    return CandidateFailed(report["event"])


def run_check(request: dict[str, Any], reports: Reports) -> None:
    """Runs `check` and reports a verdict: `passed`, `failed` (its assertion), or what the candidate's process reported."""
    module = new_module("test")
    candidate = Candidate(request["entry_point"], request["output"], request["input"], request["candidate_word"])

    def check() -> None:
        exec(compile(request["before"], "before.py", "exec"), module.__dict__)
        module.__dict__[request["entry_point"]] = candidate
        exec(compile(request["source"], "test.py", "exec"), module.__dict__)
        reports.send(event="loaded")
        try:
            module.__dict__["check"](candidate)
        except BaseException as error:  # noqa: BLE001 (every way in which a check fails is a verdict)
            reports.send(
                event="verdict",
                status="failed",
                error=f"{type(error).__name__}: {error}".removesuffix(": ")[:200],
                candidate=candidate.failure,
            )
            return
        reports.send(event="verdict", status="passed")

    finish(exit_code(check, reports), "test", reports)
