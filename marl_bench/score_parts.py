"""The score of responses, part by part, and their weighted sum. No torch; parts that are models stand in `models.rewards`."""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import inspect
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from marl_bench.errors import MarlBenchError, TrainingError
from marl_bench.interfaces import Task
from marl_bench.plugins import load_callable
from marl_bench.records import Prompt, Response
from marl_bench.reward_sources import RewardSource

if TYPE_CHECKING:
    from marl_bench.batches import Tokens

Scores = list[float | None]


@dataclasses.dataclass(frozen=True)
class ToScore:
    """Responses that wait for their scores.

    Attributes:
        task: Gives rule rewards.
        prompts: One a response.
        responses: As text records.
        tokens: The same as tensors; None where no part is a model that reads tokens.
        batch_size: Responses a forward pass.
    """

    task: Task
    prompts: Sequence[Prompt]
    responses: Sequence[Response]
    tokens: "Tokens | None"
    batch_size: int


class RewardFunction(Protocol):
    """One source of scores."""

    @property
    def in_background(self) -> bool:
        """True if it leaves the models' cores and device alone, so that it may run beside them."""
        ...

    def __call__(self, batch: ToScore) -> Any:
        """Returns one score a response, None = unscored."""
        ...


@dataclasses.dataclass(frozen=True)
class RewardPart:
    """A source of scores with its weight and name."""

    source: RewardSource
    function: RewardFunction


class EventLoop:
    """One event loop for all batches of async rewards, so that clients and semaphores that they keep stay usable; begins when it is needed."""

    def __init__(self) -> None:
        """Begins nothing."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def result(self, found: Any) -> Any:
        """Returns what an awaitable gives."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="async-rewards", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(_awaited(found), self._loop).result()


@dataclasses.dataclass(frozen=True)
class Reward:
    """The score: the weighted sum of its parts; a response that one part cannot score has none."""

    parts: Sequence[RewardPart]
    loop: EventLoop = dataclasses.field(default_factory=EventLoop)

    def scores(self, batch: ToScore) -> Scores:
        """Returns one score a response.

        Raises:
            TrainingError: A part raised, returned another number of scores, or one that is not finite.
        """
        return self.total([_checked(part, batch, self.loop) for part in self.parts])

    def scores_by_part(self, batch: ToScore) -> dict[str, Scores]:
        """Returns the scores of each part without its weight, by its name; raises as `scores`."""
        return {part.source.name: _checked(part, batch, self.loop) for part in self.parts}

    def total(self, scores: Sequence[Scores]) -> Scores:
        """Returns the weighted sum of the parts' scores."""
        weights = [part.source.weight for part in self.parts]
        return [
            None
            if None in row
            else math.fsum(weight * score for weight, score in zip(weights, row, strict=True) if score is not None)
            for row in zip(*scores, strict=True)
        ]

    @contextlib.contextmanager
    def begun(self, batch: ToScore) -> Iterator[Callable[[], Scores]]:
        """Yields a function that returns what `scores` does.

        Parts that run programs or ask a server are computed in threads while the models do something else; models would only take the
        cores away from one another, so they are computed when they are asked for.
        """
        beside = [part for part in self.parts if part.function.in_background]
        with concurrent.futures.ThreadPoolExecutor(max(1, len(beside)), thread_name_prefix="reward") as threads:
            begun = {part.source.text: threads.submit(_checked, part, batch, self.loop) for part in beside}

            def finish() -> Scores:
                own = {part.source.text: _checked(part, batch, self.loop) for part in self.parts if part not in beside}
                finished = own | {name: future.result() for name, future in begun.items()}
                return self.total([finished[part.source.text] for part in self.parts])

            yield finish


@dataclasses.dataclass(frozen=True)
class RuleReward:
    """The task's own rule."""

    in_background: bool = True

    def __call__(self, batch: ToScore) -> Any:
        """Returns what the task does."""
        return batch.task.score(batch.prompts, batch.responses)


@dataclasses.dataclass(frozen=True)
class CallableReward:
    """A Python callable of (prompts, responses), sync or async."""

    function: Callable[[Sequence[Prompt], Sequence[Response]], Any]
    in_background: bool = True

    def __call__(self, batch: ToScore) -> Any:
        """Returns what the callable does."""
        return self.function(batch.prompts, batch.responses)


def load_callable_reward(source: RewardSource) -> CallableReward:
    """Returns the callable that a source names; raises as `load_callable`."""
    return CallableReward(load_callable(source.target, where=f"--reward {source.text}"))


def _checked(part: RewardPart, batch: ToScore, loop: EventLoop) -> Scores:
    """Returns a part's scores as plain numbers."""
    name = f"reward '{part.source.name}'"
    try:
        found = part.function(batch)
        if inspect.isawaitable(found):
            found = loop.result(found)
        if isinstance(found, str | bytes | Mapping):
            raise TypeError(f"it returned a {type(found).__name__}")
        scores = [None if score is None else float(score) for score in found]
    except MarlBenchError:
        raise
    except Exception as error:
        raise TrainingError(
            f"{name}: {type(error).__name__}: {error}; it must return one number, or None, for each response."
        ) from error
    if len(scores) != len(batch.responses):
        raise TrainingError(
            f"{name}: {len(scores)} scores for {len(batch.responses)} responses; it must return one each."
        )
    for prompt, score in zip(batch.prompts, scores, strict=True):
        if score is not None and not math.isfinite(score):
            raise TrainingError(
                f"{name}: the score of the response to prompt '{prompt.id}' is {score}; it must be finite, or None where there is none."
            )
    return scores


async def _awaited(found: Any) -> Any:
    return await found
