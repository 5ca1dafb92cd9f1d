"""The processes that work on one thing together, each with its share of the rows. No torch.

Every process runs the same code in the same order. What a process computes alone it computes inside an exchange, at whose end all of them
meet: they learn each other's results, and that one of them failed, so that none waits for one that is gone. An exchange may hold others.
"""

import dataclasses
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from marl_bench.errors import ElsewhereError, MarlBenchError, ProcessLostError
from marl_bench.turns import Turns

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

_TURN = "turn"


class Channel(Protocol):
    """Connects the processes."""

    def gather(self, message: Any) -> list[Any]:
        """Returns the messages of all processes, in the order of their ranks; waits for them as long as it takes."""
        ...

    def add_up(self, tensor: "torch.Tensor") -> None:
        """Replaces the tensor, in place and on all processes, by the sum of those of all processes."""
        ...

    def end_process(self, error: Exception) -> NoReturn:
        """Ends this process for an error that the others cannot be told of, so that whoever started them ends them too."""
        ...


@dataclasses.dataclass(frozen=True)
class Failure:
    """An error as other processes are told of it."""

    text: str
    traceback: str
    exit_status: int


@dataclasses.dataclass(frozen=True)
class _Message:
    """What a process says at the end of an exchange: its result, or a failure, which is another's where it only passes it on."""

    where: str
    result: Any
    failure: Failure | None = None
    passed_on: bool = False


@dataclasses.dataclass(frozen=True)
class World:
    """The processes; alone, every method is the plain call.

    Attributes:
        rank: Which one this process is, from 0.
        size: How many there are.
        channel: Connects them; None for a process that is alone.
        turns: What they do at the same time between and within exchanges.
    """

    rank: int = 0
    size: int = 1
    channel: Channel | None = None
    turns: Turns = dataclasses.field(default_factory=Turns)
    _entered: list[str] = dataclasses.field(default_factory=list)

    @property
    def is_main(self) -> bool:
        """True for the process that writes, prints and decides."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """Returns the rows of this process: of all shares one after another, none is larger by more than one row."""
        return slice(self.rank * rows // self.size, (self.rank + 1) * rows // self.size)

    def exchange(self, where: str, compute: Callable[[], T]) -> list[T]:
        """Computes on every process and returns the results of all, in the order of their ranks.

        Args:
            where: Names the exchange, the same on all processes; one inside another has another name.
            compute: What this process does; its result can be pickled and holds no tensor of a device.

        Raises:
            ElsewhereError: Another process failed. The one that failed raises its own error.
        """
        return self._exchange(where, compute, lambda result: result)[1]

    def in_shares(self, where: str, rows: int, compute: Callable[[slice], T]) -> list[T]:
        """Computes every row on one of the processes and returns the results of all shares that have rows, in the order of the rows.

        Args:
            where: Names the exchange.
            rows: How many there are.
            compute: Takes the rows of a share; its result can be pickled and holds no tensor of a device.
        """
        if self.channel is None:
            return [compute(slice(0, rows))]
        own = self.share(rows)
        found = self.exchange(where, lambda: compute(own) if own.start < own.stop else None)
        return [part for part in found if part is not None]

    def together(self, where: str, compute: Callable[[], T]) -> T:
        """Computes on every process and returns the own result, which others do not see; raises as `exchange`."""
        return self._exchange(where, compute, lambda _: None)[0]

    def on_main(self, where: str, compute: Callable[[], T]) -> T:
        """Computes on the first process alone and returns its result on all; raises as `exchange`."""
        found: list[T] = self.exchange(where, compute if self.is_main else lambda: None)  # type: ignore[arg-type, return-value]
        return found[0]

    def any(self, where: str, condition: bool) -> bool:
        """Returns True if the condition holds on any process."""
        return any(self.exchange(where, lambda: condition))

    def add_up(self, tensor: "torch.Tensor") -> None:
        """Replaces the tensor, in place, by the sum of those of all processes."""
        if self.channel is not None:
            self.channel.add_up(tensor)

    def take_turn(self, name: str) -> None:
        """Waits until all processes do this, or go along with it; nothing happens unless it was offered to `turns`.

        Raises:
            ElsewhereError: Another process failed.
        """
        if self.channel is None or not self.turns.needed(name):
            return
        while True:
            messages: list[_Message] = self.channel.gather(_Message(_TURN, name))
            failed = [rank for rank, other in enumerate(messages) if other.failure is not None]
            if failed:
                raise self._error(_TURN, messages, failed, None)
            if self._next(messages) == name:
                return
            self._go_along(messages)

    @contextmanager
    def in_turn(self, name: str) -> Iterator[None]:
        """Surrounds what is done in a turn; an error within ends this process, because the others wait in the middle of it."""
        if self.channel is None or not self.turns.needed(name):
            yield
            return
        self.take_turn(name)
        with self.ending_all(), self.turns.taken():
            yield

    @contextmanager
    def ending_all(self) -> Iterator[None]:
        """Surrounds code within which the others wait for this process: any error ends it, and so them."""
        try:
            yield
        except Exception as error:
            if self.channel is None:
                raise
            self.channel.end_process(error)

    @contextmanager
    def in_lockstep(self) -> Iterator[None]:
        """Surrounds code in which a library lets the processes wait for one another: an error of one of them ends it, and so the others.

        Errors of this package are raised at the same step on all processes and pass.
        """
        try:
            yield
        except MarlBenchError:
            raise
        except Exception as error:
            if self.channel is None or getattr(error, "others_know", False):
                raise
            self.channel.end_process(error)

    def _exchange(self, where: str, compute: Callable[[], T], told: Callable[[T], Any]) -> tuple[T, list[Any]]:
        if self.channel is None:
            result = compute()
            return result, [result]
        error: Exception | None = None
        message = _Message(where, None)
        self._entered.append(where)
        try:
            result = compute()
            message = _Message(where, told(result))
        except ProcessLostError:
            raise  # there is nobody to meet
        except ElsewhereError as elsewhere:
            if elsewhere.where in self._entered:
                raise  # the process that failed has left this exchange already, or one around it
            error, message = elsewhere, _Message(where, None, elsewhere.failure, passed_on=True)
        except Exception as own:  # noqa: BLE001 (whatever it is, the others have to hear of it)
            error, message = own, _Message(where, None, _failure(own))
        finally:
            self._entered.pop()
        messages = self._met(message)
        failed = [rank for rank, other in enumerate(messages) if other.failure is not None]
        if failed:
            raise self._error(where, messages, failed, error)
        astray = [rank for rank, other in enumerate(messages) if other.where != where]
        assert not astray, f"process {self.rank} is at '{where}', process {astray[0]} at '{messages[astray[0]].where}'"
        return result, [other.result for other in messages]

    def _met(self, message: _Message) -> list[_Message]:
        """Returns what all say at the end of an exchange, after having gone along with what others do before they come there."""
        assert self.channel is not None  # alone there is nobody to meet
        while True:
            messages: list[_Message] = self.channel.gather(message)
            if any(other.failure is not None for other in messages) or not self._wishes(messages):
                return messages
            self._go_along(messages)

    def _wishes(self, messages: list[_Message]) -> list[str]:
        return [other.result for other in messages if other.where == _TURN]

    def _next(self, messages: list[_Message]) -> str:
        return self.turns.first(self._wishes(messages))

    def _go_along(self, messages: list[_Message]) -> None:
        with self.ending_all():
            self.turns.accompany(self._next(messages))

    def _error(self, where: str, messages: list[_Message], failed: list[int], error: Exception | None) -> Exception:
        """Returns what this process raises: its own error if it is the first that failed, else that of another."""
        # One that failed outside of this exchange has ended one around it, which all others leave without meeting again.
        outside = [rank for rank in failed if messages[rank].where != where]
        first = min(outside or failed, key=lambda rank: messages[rank].passed_on)
        if first == self.rank and error is not None:
            error.others_know = True  # type: ignore[attr-defined]  # read by `in_lockstep`, whatever the error's class
            return error
        failure = messages[first].failure
        assert failure is not None  # it is among those that failed
        elsewhere = ElsewhereError(
            failure.text, exit_status=failure.exit_status, failure=failure, where=messages[first].where
        )
        elsewhere.__cause__ = error
        return elsewhere


ALONE = World()


def _failure(error: Exception) -> Failure:
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, MarlBenchError):
        return Failure(str(error), trace, error.exit_status)
    return Failure(f"{type(error).__name__}: {error}", trace, 1)
