"""What processes do at the same time because a library lets them wait for one another in it, whether or not all have work for it. No torch.

A model that is divided over the processes needs all of them in each of its forward passes. The loops around the passes stay as they are: a
process says what it is about to do, and those that are about to do something else, or have nothing left to do, go along with it first.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


class Turns:
    """The things that are done together, in the order in which a process comes to them."""

    def __init__(self) -> None:
        """Knows of none."""
        self._companions: dict[str, Callable[[], None]] = {}
        self._taken = False

    def offer(self, name: str, companion: Callable[[], None]) -> None:
        """Has something done together from here on; `companion` goes along with it and has no effect."""
        self._companions[name] = companion

    def withdraw(self, name: str) -> None:
        """Has it done alone again."""
        del self._companions[name]

    def needed(self, name: str) -> bool:
        """Returns True if the others have to be asked before it is done: within a turn they are there already."""
        return name in self._companions and not self._taken

    def first(self, wishes: Iterable[str]) -> str:
        """Returns what is done next. Those that are behind come first, so that no process goes along more often than it must."""
        wanted = set(wishes)
        return next(name for name in self._companions if name in wanted)

    def accompany(self, name: str) -> None:
        """Goes along with what others do."""
        with self.taken():
            self._companions[name]()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Surrounds what is done in a turn."""
        before, self._taken = self._taken, True
        try:
            yield
        finally:
            self._taken = before
