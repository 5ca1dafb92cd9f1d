"""Scores of responses: the task's reward, classifiers, Python callables, and their weighted sum."""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import inspect
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch

from marl_bench.batches import Tokens
from marl_bench.errors import MarlBenchError, TrainingError
from marl_bench.interfaces import Task
from marl_bench.models.loading import load_classifier
from marl_bench.models.scoring import TokenValues, in_micro_batches, last_token_scores
from marl_bench.plugins import load_callable
from marl_bench.records import Prompt, Response
from marl_bench.reward_sources import OWN, RewardSource

Scores = list[float | None]

_NO_LIMIT = 10**9
"""Tokenizers without a limit give a much larger number."""


@dataclasses.dataclass(frozen=True)
class ToScore:
    """Responses that wait for their scores.

    Attributes:
        task: Gives rule rewards.
        prompts: One a response.
        responses: As text records.
        tokens: The same as tensors.
        batch_size: Responses a forward pass.
    """

    task: Task
    prompts: Sequence[Prompt]
    responses: Sequence[Response]
    tokens: Tokens
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


def make_reward(
    sources: Sequence[RewardSource], *, reward_model: TokenValues | None, dtype: str, device: torch.device
) -> Reward:
    """Loads all that the sources name.

    Args:
        sources: The parts.
        reward_model: Stands for the task's own reward, or None for a task with a rule reward.
        dtype: Of classifiers.
        device: Where classifiers go.

    Raises:
        ConfigError: A callable does not exist or cannot be called.
        PluginError: Its file cannot be imported.
        ModelError: A classifier cannot be loaded or has other than one output.
    """
    parts = []
    for source in sources:
        function: RewardFunction
        if source.kind == OWN:
            function = RuleReward() if reward_model is None else TokenReward(reward_model)
        elif source.kind == "python":
            function = CallableReward(load_callable(source.target, where=f"--reward {source.text}"))
        else:
            function = ClassifierReward(*load_classifier(source.target, dtype=dtype, device=device))
        parts.append(RewardPart(source, function))
    return Reward(parts)


@dataclasses.dataclass(frozen=True)
class RuleReward:
    """The task's own rule."""

    in_background: bool = True

    def __call__(self, batch: ToScore) -> Any:
        """Returns what the task does."""
        return batch.task.score(batch.prompts, batch.responses)


@dataclasses.dataclass(frozen=True)
class TokenReward:
    """A reward model that shares the policy's tokens."""

    model: TokenValues
    in_background: bool = False

    def __call__(self, batch: ToScore) -> Any:
        """Returns the scores at the last tokens."""
        return in_micro_batches(lambda rows: last_token_scores(self.model, rows), batch.tokens, size=batch.batch_size)


@dataclasses.dataclass(frozen=True)
class CallableReward:
    """A Python callable of (prompts, responses), sync or async."""

    function: Callable[[Sequence[Prompt], Sequence[Response]], Any]
    in_background: bool = True

    def __call__(self, batch: ToScore) -> Any:
        """Returns what the callable does."""
        return self.function(batch.prompts, batch.responses)


@dataclasses.dataclass(frozen=True)
class ClassifierReward:
    """A sequence classifier with one output and a tokenizer of its own.

    It reads the dialogue through its own chat template where it has one, else the prompt and the response as one text; a finished response
    ends with its EOS. What is too long for its window is cut at the front.
    """

    model: Any
    tokenizer: Any
    in_background: bool = False

    @torch.no_grad()
    def __call__(self, batch: ToScore) -> Any:
        """Returns the classifier's outputs."""
        texts = [self.text(prompt, response) for prompt, response in zip(batch.prompts, batch.responses, strict=True)]
        scores: list[float] = []
        size = batch.batch_size if self.model.config.pad_token_id is not None else 1
        for start in range(0, len(texts), size):
            encoded = self.tokenizer(
                texts[start : start + size],
                return_tensors="pt",
                padding=size > 1,
                truncation=self.window is not None,
                max_length=self.window,
                add_special_tokens=not self.has_template,
            )
            inputs = {name: encoded[name].to(self.model.device) for name in ("input_ids", "attention_mask")}
            scores += self.model(**inputs).logits[:, 0].float().tolist()
        return scores

    @property
    def has_template(self) -> bool:
        """True if its tokenizer has a chat template."""
        return bool(self.tokenizer.chat_template)

    @property
    def window(self) -> int | None:
        """Tokens that it can read, or None where neither model nor tokenizer says."""
        found = [size for size in (self.tokenizer.model_max_length,) if size < _NO_LIMIT]
        positions = getattr(self.model.config, "max_position_embeddings", None)
        if positions is not None:
            table = getattr(getattr(self.model.base_model, "embeddings", None), "position_embeddings", None)
            padding = getattr(table, "padding_idx", None)  # RoBERTa counts its positions from behind this one
            found.append(positions - (padding + 1 if padding is not None else 0))
        return min(found, default=None)

    def text(self, prompt: Prompt, response: Response) -> str:
        """Returns what the classifier reads, EOS included."""
        if self.has_template:
            turns = [*(prompt.messages or [{"role": "user", "content": prompt.text.strip()}])]
            turns.append({"role": "assistant", "content": response.text.strip()})
            return str(self.tokenizer.apply_chat_template(turns, tokenize=False))
        end = self.tokenizer.eos_token if response.finished and self.tokenizer.eos_token else ""
        if prompt.plain_text is None:
            return prompt.text + response.text + end
        return f"{prompt.plain_text} {response.text.lstrip()}{end}"  # the policy's template is not the classifier's


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
