"""Many questions at a time: bounded, stored as they are answered, stopped as a whole."""

import asyncio
import collections
import dataclasses
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

from marl_bench.errors import JudgeError
from marl_bench.judging.answers import Answer
from marl_bench.judging.asking import Asker
from marl_bench.judging.cache import AnswerCache
from marl_bench.judging.costs import Price
from marl_bench.judging.questions import Question

_GRACE_SECONDS = 5.0
"""For answers that are on their way when the job stops: they are paid."""


@dataclasses.dataclass(frozen=True)
class JobLimits:
    """What bounds a job.

    Attributes:
        concurrency: Questions at a time.
        max_cost: US dollars that new answers may cost, or None; needs a price.
        ask_again: Whether stored answers without a verdict are asked again.
    """

    concurrency: int = 16
    max_cost: float | None = None
    ask_again: bool = False


@dataclasses.dataclass
class Tally:
    """How far a job is.

    Attributes:
        total: Questions of the job.
        stored: Of these, answered before, or by another process.
        answered: Answered by it.
        statuses: Status to count, of both.
        prompt_tokens: Read for answers of this job.
        completion_tokens: Written for them.
        cost: US dollars for them; None where no price is known.
    """

    total: int
    stored: int = 0
    answered: int = 0
    statuses: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None

    @property
    def done(self) -> int:
        """Questions with an answer, or given up."""
        return self.stored + self.answered

    def keep(self, answer: Answer) -> None:
        """Counts an answer that was stored already."""
        self.stored += 1
        self.statuses[answer.status] += 1

    def take(self, answer: Answer, price: Price | None) -> None:
        """Counts an answer of this job."""
        self.answered += 1
        self.statuses[answer.status] += 1
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens
        self.cost = price.of(self.prompt_tokens, self.completion_tokens) if price else None


async def ask_all(
    questions: Mapping[str, Question],
    asker: Asker,
    cache: AnswerCache,
    *,
    limits: JobLimits,
    price: Price | None,
    listener: Callable[[Tally], None],
) -> dict[str, Answer]:
    """Returns the answer to every question by its key; each is asked once, and stored before it counts.

    Raises:
        JudgeError: The judge cannot be used (any more); what it answered is stored.
    """
    answers = _stored(questions, cache, ask_again=limits.ask_again)
    tally = Tally(len(questions), cost=0.0 if price else None)
    for stored in answers.values():
        tally.keep(stored)
    listener(tally)
    todo = iter([key for key in questions if key not in answers])

    async def ask(key: str) -> None:
        found = None if limits.ask_again else cache.get(key)
        if found is not None:  # another process has asked meanwhile
            tally.keep(found)
        else:
            found = await answer(key)
            tally.take(found, price)
        answers[key] = found
        listener(tally)

    async def answer(key: str) -> Answer:
        if limits.max_cost is not None and (tally.cost or 0.0) >= limits.max_cost:
            return Answer("budget", reason=f"not asked: new answers have cost --max-cost {limits.max_cost:g}")
        found = await asker.ask(questions[key])
        if found.is_real:
            cache.put(key, found, replace=limits.ask_again)
        return found

    async def worker() -> None:
        for key in todo:
            await ask(key)

    try:
        await _first_alone(todo, ask)
        await _together([worker() for _ in range(limits.concurrency)], stop=lambda: collections.deque(todo, maxlen=0))
    except JudgeError as error:
        kept = f"{len(cache.get_all(questions)):,} of {len(questions):,} answers are stored; the same command goes on from there."
        raise JudgeError(f"{error} {kept}") from error
    return answers


def _stored(questions: Mapping[str, Question], cache: AnswerCache, *, ask_again: bool) -> dict[str, Answer]:
    found = cache.get_all(questions)
    return {key: answer for key, answer in found.items() if answer.is_scored or not ask_again}


async def _first_alone(todo: Iterator[str], ask: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    """Asks one question before the others: a wrong key or a refused option then costs one call, not one of everybody."""
    key = next(todo, None)
    if key is not None:
        await ask(key)


async def _together(workers: Sequence[Coroutine[Any, Any, None]], *, stop: Callable[[], object]) -> None:
    """Runs the workers to their end; when one fails, no more is taken up, and what is under way may finish for a moment."""
    tasks = [asyncio.ensure_future(worker) for worker in workers]
    try:
        done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if left:
            stop()
            await asyncio.wait(left, timeout=_GRACE_SECONDS)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
