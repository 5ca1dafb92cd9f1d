"""Shows the events of a running experiment: live bars in a terminal, a line an item in a pipe. No torch."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TextIO

from marl_bench.estimates.work import Work
from marl_bench.executors import Event

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 5.0


class Display(Protocol):
    """Takes events while it is open."""

    def __enter__(self) -> "Display": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, event: Event) -> None:
        """Takes notice of an event."""
        ...


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> "Quiet":
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing."""

    def show(self, event: Event) -> None:
        """Does nothing."""


class TimeLeft:
    """Estimates the time left from the share of the work that is done."""

    def __init__(self, work: Work, *, shared: bool, cells: int, jobs: int) -> None:
        """Begins to count.

        Args:
            work: Work of the whole plan.
            shared: True if the shared stages still have to run.
            cells: Number of cells still to run.
            jobs: Workers side by side.
        """
        self._work, self._began = work, time.monotonic()
        self._lanes = max(1, min(jobs, cells))
        share_of_cells = cells / work.cells
        self._total = (work.shared() if shared else 0.0) + work.all_cells() * share_of_cells / self._lanes
        self._done: dict[str, float] = {}
        self._done_before: dict[str, float] = {}

    def take(self, event: Event) -> None:
        """Takes notice of an event."""
        if event.kind in ("step", "resumed"):
            work = self._work.stages.get(event.stage, 0.0) * event.done / max(event.total, 1)
            lanes = 1 if event.job.arm is None else self._lanes
            self._done[f"{event.job.name} {event.stage}"] = work / lanes
            if event.kind == "resumed":
                self._done_before[f"{event.job.name} {event.stage}"] = work / lanes
        elif event.kind == "done" and event.job.arm is not None:
            self._done[f"{event.job.name} evaluation"] = self._work.evaluation / self._lanes

    def share_done(self) -> float:
        """Returns the share of the work that is done, 0 to 1."""
        return min(1.0, sum(self._done.values()) / self._total) if self._total > 0 else 1.0

    def seconds(self) -> float | None:
        """Returns the seconds left, or None before anything is known."""
        before = sum(self._done_before.values())  # took no time of this process
        done, rest = sum(self._done.values()) - before, self._total - before
        share = min(1.0, done / rest) if rest > 0 else 1.0
        return (time.monotonic() - self._began) * (1 - share) / share if share > 0.01 else None


class Lines:
    """Prints a line for every beginning and end, and for steps at most every few seconds of a job."""

    def __init__(self, stream: TextIO, time_left: TimeLeft) -> None:
        """Writes to `stream`."""
        self._stream, self._time_left = stream, time_left
        self._last: dict[str, float] = {}

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing."""

    def show(self, event: Event) -> None:
        """Prints the event if it is worth a line."""
        self._time_left.take(event)
        now = time.monotonic()
        name = event.job.name
        if event.kind == "step":
            if event.done < event.total and now - self._last.get(name, -SECONDS_BETWEEN_LINES) < SECONDS_BETWEEN_LINES:
                return
            self._last[name] = now
            figures = "".join(f" {key} {value:.3f}" for key, value in event.figures.items())
            left = duration(self._time_left.seconds())
            text = f"{name}: {event.stage} {event.done}/{event.total}{figures}, {left} left"
        elif event.kind == "resumed":
            text = f"{name}: {event.stage} {event.done}/{event.total} were finished before"
        elif event.kind == "note":
            text = f"{name}: {event.text}"
        else:
            text = f"{name}: {event.kind}" + (f": {event.error}" if event.error else "")
        print(text, file=self._stream, flush=True)


class Bars:
    """Draws one bar a running job and one for everything."""

    def __init__(self, console: "Console", time_left: TimeLeft) -> None:
        """Draws on `console`."""
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[status]}", markup=False),
            console=console,
            transient=True,
        )
        self._time_left = time_left
        self._bars: dict[str, TaskID] = {}
        self._whole = self._progress.add_task("experiment", total=1.0, status="starting")

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        """Redraws what the event changed."""
        self._time_left.take(event)
        name = event.job.name
        if event.kind == "started":
            self._bars[name] = self._progress.add_task(name, total=None, status="loading")
        elif event.kind == "note":
            self._progress.console.print(f"{name}: {event.text}", markup=False, highlight=False)
        elif event.kind in ("step", "resumed"):
            figures = "".join(f"  {key} {value:.3f}" for key, value in event.figures.items())
            noun = "update" if event.stage == "ppo" else f"{event.stage} step"
            status = f"{noun} {event.done}/{event.total}{figures}"
            self._progress.update(self._bars[name], completed=event.done, total=event.total, status=status)
        else:
            self._progress.remove_task(self._bars.pop(name))
            mark = "✓" if event.kind == "done" else "✗"
            self._progress.console.print(
                f"{mark} {name}" + (f": {event.error}" if event.error else ""), markup=False, highlight=False
            )
        left = duration(self._time_left.seconds())
        self._progress.update(self._whole, completed=self._time_left.share_done(), status=f"{left} left")


@contextmanager
def counted(noun: str, *, done: int, total: int, quiet: bool) -> Iterator[Callable[[int, str], None]]:
    """Shows how many of `total` items are done on stderr: a bar with the time left in a terminal, a line every few seconds in a pipe.

    Gives a function that takes how many are done now, and a few words about them.
    """
    if quiet:
        yield lambda _now, _text: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        text_column = TextColumn("{task.fields[text]}", markup=False)
        columns = (TextColumn(noun), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), text_column)
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task(noun, total=total, completed=done, text="")
            yield lambda now, text: progress.update(bar, completed=now, text=text)
    else:
        began = last = time.monotonic()

        def line(now: int, text: str) -> None:
            nonlocal last
            if time.monotonic() - last < SECONDS_BETWEEN_LINES and now < total:
                return
            last = time.monotonic()
            left = duration((last - began) * (total - now) / max(1, now - done))
            print(f"{noun} {now}/{total}, {text}, {left} left", file=sys.stderr, flush=True)  # noqa: T201

        yield line


def duration(seconds: float | None) -> str:
    """Returns a time for people: `?`, `40 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
