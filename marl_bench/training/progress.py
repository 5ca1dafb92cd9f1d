"""How training tells what it is doing, and how it is asked to stop."""

from typing import Protocol

from marl_bench.errors import Interrupted


class Progress(Protocol):
    """Receives steps; implementations draw bars, print lines or send events to another process."""

    def step(self, stage: str, done: int, total: int, **figures: float) -> None:
        """Takes notice that `done` of `total` steps of a stage are finished, with its latest figures."""
        ...

    def resumed(self, stage: str, done: int, total: int) -> None:
        """Takes notice that `done` of `total` steps of a stage were finished by a process before this one."""
        ...

    def note(self, text: str) -> None:
        """Takes notice of something that the user should know."""
        ...

    def stop_requested(self) -> bool:
        """Returns True once the user wants to stop."""
        ...


class NoProgress:
    """Ignores everything; for library use and tests."""

    def step(self, stage: str, done: int, total: int, **figures: float) -> None:
        """Does nothing."""

    def resumed(self, stage: str, done: int, total: int) -> None:
        """Does nothing."""

    def note(self, text: str) -> None:
        """Does nothing."""

    def stop_requested(self) -> bool:
        """Returns False."""
        return False


def report_step(progress: Progress, stage: str, done: int, total: int, **figures: float) -> None:
    """Reports a step, and stops here, between two of them, if the user asked for it.

    Raises:
        Interrupted: The user asked to stop.
    """
    progress.step(stage, done, total, **figures)
    if progress.stop_requested():
        raise Interrupted("stopped; the same command again goes on from here.")
