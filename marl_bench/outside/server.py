"""Samples responses of a model that a server holds: the OpenAI API, vLLM, or whatever speaks its chat completions. No torch."""

import asyncio
import dataclasses
import functools
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from marl_bench.errors import ServerError, shown
from marl_bench.judging.failures import CallError
from marl_bench.judging.transport import OpenAITransport, Transport
from marl_bench.outside.answers import Answer, AnswerFile, OutsideCell
from marl_bench.outside.plan import OutsidePlan
from marl_bench.records import Prompt, Response
from marl_bench.run_dir import digest_of_json

TIMEOUT_SECONDS = 600.0
_ATTEMPTS = 6
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
_PATIENCE_SECONDS = 1200.0
"""For one response, waits that the server asks for included."""

_FINISHED = {"stop": True, "length": False}


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One response to ask for."""

    prompt: Prompt
    sample_index: int


@dataclasses.dataclass(frozen=True)
class Dialect:
    """What the server understands; learnt from what it refuses.

    Attributes:
        limit_name: What it calls the limit of a response.
        optional: Parameters that it takes beside.
    """

    limit_name: Literal["max_completion_tokens", "max_tokens"] = "max_tokens"
    optional: frozenset[str] = frozenset({"seed", "temperature", "top_p"})

    def without(self, text: str) -> "Dialect":
        """Returns the dialect without what the server's message of a bad request names; itself if it names nothing of that."""
        if "max_tokens" in text and self.limit_name == "max_tokens":
            return Dialect("max_completion_tokens", self.optional)
        return Dialect(self.limit_name, frozenset(name for name in self.optional if name not in text))


def ask_server(plan: OutsidePlan, cell: OutsideCell, done: Callable[[int], None]) -> tuple[list[Answer], list[str]]:
    """Returns the model's answers to the evaluated prompts in their order, and what a report must say of them.

    Every answer is kept as it comes; the same command again asks for the others only. A prompt that the server refuses for what it says, or
    for its length, has no response; it is counted in a note.

    Args:
        plan: Prompts and settings.
        cell: The model, and where its answers are kept.
        done: Told how many responses are there.

    Raises:
        ServerError: The server takes no request, or has none for too long.
        ConfigError: There is neither a key nor another server.
    """
    config = plan.config
    settings = {
        "model": cell.system.target,
        "seed": cell.seed,
        "sampling": config.sampling.model_dump(mode="json"),
        "temperature": config.evaluation.temperature,
        "prompts": [[prompt.text, list(map(dict, prompt.messages))] for prompt in plan.prompts],
    }
    kept = AnswerFile(cell.folder, of=digest_of_json(settings))
    known = {(answer.response.prompt_id, answer.response.sample_index) for answer in kept.answers}
    wanted = [Wanted(prompt, index) for prompt in plan.prompts for index in range(config.evaluation.samples_per_prompt)]
    rest = [one for one in wanted if (one.prompt.id, one.sample_index) not in known]
    refused = asyncio.run(_ask_all(plan, cell, rest, kept, done)) if rest else []
    places = {(one.prompt.id, one.sample_index): place for place, one in enumerate(wanted)}
    answers = sorted(kept.answers, key=lambda one: places[one.response.prompt_id, one.response.sample_index])
    if not answers:
        raise ServerError(
            f"model {cell.system.name}: the server answered none of {len(wanted)} prompts; the first: {refused[0]}."
        )
    notes = (
        [f"The server gave no response to {len(refused)} of {len(wanted)}; the first: {refused[0]}."] if refused else []
    )
    return answers, notes


async def _ask_all(
    plan: OutsidePlan, cell: OutsideCell, rest: list[Wanted], kept: AnswerFile, done: Callable[[int], None]
) -> list[str]:
    """Asks for the rest, `concurrency` at a time, and returns what was refused, a sentence each."""
    refused: list[str] = []
    left: Iterator[Wanted] = iter(rest)
    async with OpenAITransport(base_url=plan.request.base_url, timeout_seconds=TIMEOUT_SECONDS) as transport:
        asker = ServerAsker(transport, cell.system.name)

        async def work() -> None:
            for one in left:  # all workers take from the same iterator
                found = await asker.ask(one, functools.partial(_body, plan, cell, one))
                if isinstance(found, Answer):
                    kept.append([found])
                else:
                    refused.append(found)
                done(len(kept.batches) + len(refused))

        workers = [asyncio.ensure_future(work()) for _ in range(min(plan.request.concurrency, len(rest)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    return refused


class ServerAsker:
    """Asks one server, again where that may help; all requests share what is learnt about it."""

    def __init__(self, transport: Transport, name: str, *, sleep: Callable[[float], Any] = asyncio.sleep) -> None:
        """Asks through `transport`; `name` is that of the model in errors, `sleep` passes the time."""
        self._transport, self._name, self._sleep = transport, name, sleep
        self._dialect, self._jitter = Dialect(), random.Random(0)

    async def ask(self, one: Wanted, body: Callable[[Dialect], Mapping[str, Any]]) -> Answer | str:
        """Returns the answer, or a sentence on why this prompt has none.

        Raises:
            ServerError: No request will be answered, or this one was tried for too long.
        """
        failures, waited = 0, 0.0
        for attempt in range(1_000_000):
            dialect = self._dialect
            try:
                return _answer(one, await self._transport.send(body(dialect)))
            except CallError as error:
                if error.kind in ("refused", "filtered"):
                    return f"prompt '{one.prompt.id}': {error}"
                if error.kind == "dialect" and self._dialect == dialect:
                    self._dialect = dialect.without(str(error).lower())
                if error.kind == "dialect" and self._dialect != dialect:
                    continue  # learnt from this answer, or by another request meanwhile
                if error.kind in ("terminal", "dialect"):
                    raise ServerError(
                        f"model {self._name}: the server takes no request ({error}); check --model, --base-url and key."
                    ) from None
                failures += error.kind == "failed"
                backoff = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(attempt, 10)) * self._jitter.uniform(0.75, 1.0)
                wait = backoff if error.retry_after is None else max(error.retry_after, _FIRST_WAIT)
                if failures >= _ATTEMPTS or waited + wait > _PATIENCE_SECONDS:
                    raise ServerError(
                        f"model {self._name}: no response to prompt '{one.prompt.id}' after {attempt + 1} attempts ({error}); what was "
                        "answered is kept, the same command again goes on."
                    ) from None
                waited += wait
                await self._sleep(wait)
        raise AssertionError("patience ends before that")


def _body(plan: OutsidePlan, cell: OutsideCell, one: Wanted, dialect: Dialect) -> dict[str, Any]:
    sampling, temperature = plan.config.sampling, plan.config.evaluation.temperature
    messages = [dict(turn) for turn in one.prompt.messages] or [{"role": "user", "content": one.prompt.text.strip()}]
    optional = {
        "seed": int(digest_of_json([cell.seed, one.prompt.id, one.sample_index])[:7], 16),
        "temperature": sampling.temperature if temperature is None else temperature,
        "top_p": sampling.top_p,
    }
    return {
        "model": cell.system.target,
        "messages": messages,
        dialect.limit_name: sampling.max_response_tokens,
        **{name: value for name, value in optional.items() if name in dialect.optional},
    }


def _answer(one: Wanted, found: Any) -> Answer:
    """Returns the answer in a response's body.

    Raises:
        CallError: It holds none.
    """
    try:
        choice = found["choices"][0]
        message, reason = choice["message"], choice.get("finish_reason")
        text = message.get("content")
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise CallError(f"the answer is no chat completion: {shown(found)}", "failed") from error
    if reason == "content_filter" or (text is None and message.get("refusal")):
        raise CallError(f"finish_reason {reason}, {shown(message.get('refusal'))}", "filtered")
    # A model that thinks may use up its tokens before the first word: an empty response, cut.
    text = "" if text is None and reason == "length" else text
    if not isinstance(text, str):
        raise CallError(f"the answer has no text: {shown(message)}", "failed")
    usage = found.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, Mapping) else None
    count = tokens if isinstance(tokens, int) and not isinstance(tokens, bool) else None
    text = text.encode(errors="replace").decode()  # half a character cannot be stored
    return Answer(Response(one.prompt.id, text, count, _FINISHED.get(str(reason)), one.sample_index))
