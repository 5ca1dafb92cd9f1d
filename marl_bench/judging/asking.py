"""Questions to answers: waiting, trying again, giving up. The clock and the server are passed in."""

import asyncio
import dataclasses
import random
import time
from collections.abc import Callable
from typing import Protocol

from marl_bench.errors import JudgeError
from marl_bench.judging.answers import Answer, NoAnswerError, StrayAnswerError, read_answer
from marl_bench.judging.failures import CallError, Kind, adapted, advice
from marl_bench.judging.questions import Dialect, Judge, Question
from marl_bench.judging.transport import Transport

_STRAYS = 3
"""Attempts that bring the answer to another question: each is paid, and a judge that copies its ticket wrongly will do so again."""
_FIRST_WAIT, _LONGEST_WAIT, _LEAST_WAIT = 0.5, 60.0, 0.25


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long a question is tried.

    Attributes:
        attempts: Attempts that fail (server errors, time-outs, damaged answers) before a question is given up.
        wait_seconds: Time from a question's first attempt after which it is given up; waits that the server asks for count.
        failures_in_a_row: Questions given up one after the other before the whole job stops.
    """

    attempts: int = 6
    wait_seconds: float = 1200.0
    failures_in_a_row: int = 20


class Clock(Protocol):
    """Time that tests can pass by."""

    def now(self) -> float:
        """Returns seconds from some beginning."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns after so many seconds."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        """Returns seconds from some beginning."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Returns after so many seconds."""
        await asyncio.sleep(seconds)


@dataclasses.dataclass
class _Try:
    """What one question has been through."""

    began: float
    attempts: int = 0
    failures: int = 0


class Asker:
    """Asks one judge; all its questions share what is learnt about the server: its dialect, and when it wants to be left alone."""

    def __init__(
        self,
        judge: Judge,
        transport: Transport,
        *,
        patience: Patience | None = None,
        clock: Clock | None = None,
        on_wait: Callable[[float, str], None] = lambda _seconds, _why: None,
    ) -> None:
        """Asks through `transport`; `on_wait` hears of every wait, in seconds, and why."""
        self._judge, self._transport = judge, transport
        self._patience, self._clock, self._on_wait = patience or Patience(), clock or SystemClock(), on_wait
        self._open_at = 0.0
        self._failures_in_a_row = 0
        self._stopped = ""
        self._jitter = random.Random(0)
        self.dialect = Dialect()
        self.attempts = 0

    async def ask(self, question: Question) -> Answer:
        """Returns the judge's answer, or one that says why there is none.

        Raises:
            JudgeError: No question will be answered; the text says what to do.
        """
        await self._until_open()
        tried = _Try(self._clock.now())
        while True:
            await self._until_open()
            self._check_going_on()
            dialect = self.dialect
            tried.attempts += 1
            self.attempts += 1
            try:
                body = await self._transport.send(question.body(self._judge, dialect))
                answer = read_answer(body, ticket=question.ticket)
            except NoAnswerError as error:
                kind: Kind = "stray" if isinstance(error, StrayAnswerError) else "failed"
                given_up = await self._after(CallError(str(error), kind), tried, dialect)
            except CallError as error:
                given_up = await self._after(error, tried, dialect)
            else:
                self._failures_in_a_row = 0
                return answer
            if given_up is not None:
                return given_up

    async def _after(self, error: CallError, tried: _Try, dialect: Dialect) -> Answer | None:
        """Waits before another attempt, or returns the answer that gives up.

        Raises:
            JudgeError: The error is the same for every question.
        """
        if error.kind == "terminal" or (error.kind == "dialect" and not self._adapt(error, dialect)):
            raise self._stop(f"judge {self._judge.id}: {error}; {advice(error)}.")
        if error.kind == "dialect":
            return None
        if error.kind == "filtered":
            return Answer("content_filter", reason=str(error))
        if error.kind == "refused":
            return Answer("api_error", reason=str(error))
        tried.failures += error.kind in ("failed", "stray")
        allowed = min(_STRAYS, self._patience.attempts) if error.kind == "stray" else self._patience.attempts
        waited = self._clock.now() - tried.began
        if tried.failures >= allowed:
            return self._given_up(Answer("api_error", reason=f"given up after {_times(tried.attempts)}; last: {error}"))
        backoff = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (tried.attempts - 1)) * self._jitter.uniform(0.75, 1.0)
        # A server that asks for no time at all, over and over, is given some.
        wait = (
            backoff if error.retry_after is None else max(error.retry_after, min(backoff, _LEAST_WAIT * tried.attempts))
        )
        if waited + wait > self._patience.wait_seconds:
            after = (
                f"given up after {_times(tried.attempts)} in {waited:.0f} s, the next would have to wait {wait:.0f} s"
            )
            return self._given_up(Answer("budget", reason=f"{after}; last: {error}"))
        if error.retry_after is not None:
            self._open_at = max(self._open_at, self._clock.now() + wait)  # the server means everybody
        self._check_going_on()
        self._on_wait(wait, str(error))
        await self._clock.sleep(wait)
        return None

    def _adapt(self, error: CallError, dialect: Dialect) -> bool:
        """Returns True if the question can be asked in another dialect, which is that of all questions from now on."""
        if self.dialect != dialect:
            return True  # another question has learnt it meanwhile
        found = adapted(dialect, str(error))
        self.dialect = found or dialect
        return found is not None

    async def _until_open(self) -> None:
        while (left := self._open_at - self._clock.now()) > 0:
            await self._clock.sleep(left)

    def _given_up(self, answer: Answer) -> Answer:
        """Returns the answer, unless so many questions in a row were given up that the server is taken to be down."""
        self._failures_in_a_row += 1
        if self._failures_in_a_row < self._patience.failures_in_a_row:
            return answer
        raise self._stop(
            f"judge {self._judge.id}: {self._failures_in_a_row} questions in a row had no answer, so the server is taken to be down; "
            f"the last was {answer.reason}."
        )

    def _stop(self, text: str) -> JudgeError:
        """Returns the error that ends the job: the first one that was found; questions that are still under way may bring others."""
        self._stopped = self._stopped or text
        return JudgeError(self._stopped)

    def _check_going_on(self) -> None:
        if self._stopped:
            raise JudgeError(self._stopped)


def _times(attempts: int) -> str:
    return f"{attempts} attempt{'' if attempts == 1 else 's'}"
