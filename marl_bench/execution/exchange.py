"""One poll loop for a program's open files: feeds its input, reads what it writes up to a cap, ends it in time. One or two programs at once."""

import contextlib
import dataclasses
import functools
import json
import os
import secrets
import select
import time
from collections.abc import Callable, Sequence
from typing import Any

from marl_bench.execution.helper_process import HelperDied, HelperProcess
from marl_bench.execution.programs import Limits

GRACE_SECONDS = 5.0
"""How long a helper may take to end a program before it is ended itself."""

CANCEL_SECONDS = 0.25
"""How soon a cancelled program is noticed."""

_CHUNK = 1 << 16
_STDERR_KEPT = 4096
_MOST_REPORTS = 10_000
_MOST_REPORT_BYTES = 4 << 20  # parsed, they take a hundred times as much


@dataclasses.dataclass(frozen=True)
class Ended:
    """How one process ended.

    Attributes:
        exit_code: As `os.waitstatus_to_exitcode` gives it: negative for a signal.
        cause: `""` if it ended by itself, else `timeout`, `output_limit`, `memory`, `processes`, or `asked` when it was no longer needed.
        cpu_seconds: CPU seconds.
        seconds: Seconds of the clock.
        stdout: What it printed.
        stderr: The last of what it printed there.
        reports: What came through its channel, in order; written by code beside the program's, so nothing in it is certain.
        clean: False if it left more behind than its helper can remove.
        prepared: False if the process ended before anything of the program ran.
    """

    exit_code: int
    cause: str
    cpu_seconds: float
    seconds: float
    stdout: bytes
    stderr: bytes
    reports: tuple[dict[str, Any], ...]
    clean: bool
    prepared: bool


class _Output:
    """Reads one pipe up to a cap."""

    def __init__(self, cap: int, *, keep_last: int | None = None) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        self._cap, self._keep_last = cap, keep_last
        self._parts: list[bytes] = []
        self._size = 0
        self.open = True
        self._both = True

    def close_write_end(self) -> None:
        """Closes the end that was handed on."""
        if self._both:
            os.close(self.write_end)
            self._both = False

    def close(self) -> None:
        self.close_write_end()
        os.close(self.read_end)

    def take(self) -> bool:
        """Reads what there is; returns False once it has been more than the cap."""
        while self.open:
            try:
                part = os.read(self.read_end, _CHUNK)
            except BlockingIOError:
                break
            if not part:
                self.open = False
                break
            self._size += len(part)
            if self._size > self._cap:
                return False
            self._parts.append(part)
            if self._keep_last is not None and len(self._parts) > 1:
                self._parts = [b"".join(self._parts)[-self._keep_last :]]
        return True

    def content(self) -> bytes:
        return b"".join(self._parts)


class Running:
    """One program on one helper, and our ends of its pipes."""

    def __init__(self, helper: HelperProcess, limits: Limits, *, pace: float) -> None:
        """Prepares pipes.

        Args:
            helper: An idle helper.
            limits: Limits of the program.
            pace: Factor on its time, for this host.
        """
        self.helper, self._limits, self._pace = helper, limits, pace
        self.word = secrets.token_hex(8)
        cap = limits.output_mib << 20
        self.stdout, self.stderr = _Output(cap), _Output(cap, keep_last=_STDERR_KEPT)
        self.reports = _Output(min(cap, _MOST_REPORT_BYTES))
        self.outputs = (self.stdout, self.stderr, self.reports)
        self._unsent = memoryview(b"")
        self.input_end: int | None = None
        self.cause = ""
        self.ending: dict[str, Any] | None = None

    def start(self, request: dict[str, Any], *, given: bytes = b"", joined: tuple[int, ...] = ()) -> None:
        """Starts it.

        Args:
            request: What the helper's side needs: `mode`, `source`, ...
            given: What it reads at file descriptor 0 (or as `input`).
            joined: For programs that talk to one another: what stands for `given`'s pipe, for the reports' pipe, and a further file.
        """
        if joined:
            files = [joined[0], self.stdout.write_end, self.stderr.write_end, *joined[1:]]
            ours: list[int] = []
        else:
            read_end, self.input_end = os.pipe()
            os.set_blocking(self.input_end, False)
            self._unsent = memoryview(given)
            files, ours = [read_end, self.stdout.write_end, self.stderr.write_end, self.reports.write_end], [read_end]
        limits = limits_of(self._limits, self._pace)
        try:
            self.helper.start({**request, "word": self.word, "limits": limits}, files)
        finally:
            for output in self.outputs:
                output.close_write_end()
            for file in ours:
                os.close(file)
        self.feed()

    def feed(self) -> None:
        """Writes what fits into the input's pipe, and closes it after the last byte or when nobody reads it."""
        if self.input_end is None:
            return
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self.input_end, self._unsent[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            pass
        os.close(self.input_end)
        self.input_end = None

    def end(self, cause: str) -> None:
        """Asks for its end, unless it has ended or was asked before."""
        if self.ending is None and not self.cause:
            self.cause = cause
            self.helper.ask_to_end()

    def ended(self) -> Ended:
        """Returns how it ended, after everything that it wrote was read."""
        assert self.ending is not None
        for output in self.outputs:
            if not output.take() and not self.cause:
                self.cause = "output_limit"
        return Ended(
            exit_code=self.ending["ended"],
            cause=self.cause or self.ending["cause"],
            cpu_seconds=self.ending["cpu_seconds"],
            seconds=self.ending["seconds"],
            stdout=self.stdout.content(),
            stderr=self.stderr.content(),
            reports=tuple(_reports(self.reports.content(), self.word)),
            clean=self.ending["clean"],
            prepared=self.ending["prepared"],
        )

    def close(self) -> None:
        """Closes our ends of its pipes."""
        for output in self.outputs:
            output.close()
        if self.input_end is not None:
            os.close(self.input_end)
            self.input_end = None


def limits_of(limits: Limits, pace: float) -> dict[str, Any]:
    """Returns limits as a helper takes them."""
    return {
        "cpu_seconds": limits.timeout_seconds * pace,
        "memory_bytes": limits.memory_mib << 20,
        "folder_bytes": limits.folder_mib << 20,
        "open_files": limits.open_files,
        "processes": limits.processes,
    }


def _reports(data: bytes, word: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in data.split(b"\n"):
        if len(found) == _MOST_REPORTS:
            break  # a program that writes more has long said what counts, which comes first
        if line.startswith(word.encode() + b" "):
            with contextlib.suppress(ValueError, RecursionError):  # not ours, whatever it begins with
                report = json.loads(line[len(word) + 1 :])
                if isinstance(report, dict) and isinstance(report.get("event"), str):
                    found.append(report)
    return found


def run_to_end(runs: Sequence[Running], *, wall_seconds: float, cancelled: Callable[[], bool]) -> list[Ended]:
    """Lets started programs run until the first of `runs` ends, then ends the others; returns how each ended.

    Raises:
        HelperDied: A helper ended, or did not end its program in time.
    """
    loop = _Loop(runs)
    deadline, ending = time.monotonic() + wall_seconds, False
    while any(run.ending is None for run in runs):
        left = deadline - time.monotonic()
        if ending and left <= 0:
            raise HelperDied
        if not ending and (left <= 0 or cancelled()):
            ending, deadline = True, time.monotonic() + GRACE_SECONDS
            for run in runs:
                run.end("timeout")
        loop.turn(min(max(left, 0.0), CANCEL_SECONDS))
    return [run.ended() for run in runs]


class _Loop:
    """Waits for the files of some programs and handles those that are ready."""

    def __init__(self, runs: Sequence[Running]) -> None:
        self._runs = runs
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], object]] = {}
        for run in runs:
            self._watch(run.helper.connection.fileno(), select.POLLIN, functools.partial(self._take_ending, run))
            for output in run.outputs:
                self._watch(output.read_end, select.POLLIN, functools.partial(self._read, run, output))
            if run.input_end is not None:
                self._watch(run.input_end, select.POLLOUT, functools.partial(self._feed, run, run.input_end))

    def turn(self, seconds: float) -> None:
        """Waits at most so long, and handles what is ready."""
        for file, _ in self._poll.poll(seconds * 1000):
            if file in self._handlers:
                self._handlers[file]()

    def _watch(self, file: int, events: int, handle: Callable[[], object]) -> None:
        self._handlers[file] = handle
        self._poll.register(file, events)

    def _forget(self, file: int) -> None:
        del self._handlers[file]
        self._poll.unregister(file)

    def _read(self, run: Running, output: _Output) -> None:
        if not output.take():
            run.end("output_limit")
            output.open = False
        if not output.open:
            self._forget(output.read_end)

    def _feed(self, run: Running, file: int) -> None:
        run.feed()
        if run.input_end is None:
            self._forget(file)

    def _take_ending(self, run: Running) -> None:
        run.ending = run.helper.ending()
        self._forget(run.helper.connection.fileno())
        if run is self._runs[0]:
            for other in self._runs:
                other.end("asked")
