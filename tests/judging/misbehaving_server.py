"""A local server that misbehaves on purpose, and a clock that tests can let pass."""

import asyncio
import contextlib
import dataclasses
import json
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Reply:
    """What the server sends; `keep` bytes of the body at most, then the connection drops."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    delay: float = 0.0
    keep: int | None = None


def completion(content: str | None, **changes: Any) -> Reply:
    """A chat completion with this text."""
    choice = {"index": 0, "finish_reason": changes.pop("finish_reason", "stop")}
    choice["message"] = {"role": "assistant", "content": content, "refusal": changes.pop("refusal", None)}
    data = {"id": "x", "object": "chat.completion", "model": "judge-1", "choices": [choice]}
    data["usage"] = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return Reply(body=json.dumps(data | changes).encode())


def error(status: int, message: str, code: str = "", **headers: str) -> Reply:
    """An error as the OpenAI API words it."""
    body = {"error": {"message": message, "code": code or None, "type": None, "param": None}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps(body).encode(), named)


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request as the judge's model would see it."""

    body: dict[str, Any]
    number: int

    @property
    def user(self) -> str:
        return self.body["messages"][1]["content"]

    @property
    def ticket(self) -> str:
        return re.findall(r"\[end response B ([0-9a-f]{12})\]", self.user)[-1]

    def text(self, name: str) -> str:
        return self.user.split(f"[begin {name} {self.ticket}]\n")[1].split(f"\n[end {name} {self.ticket}]")[0]

    def verdict(self, label: str, *, reason: str = "because") -> Reply:
        """A well-formed answer, in the way that was asked for."""
        if "response_format" in self.body:
            return completion(json.dumps({"ticket": self.ticket, "reason": reason, "verdict": label}))
        return completion(f"{reason}\nVerdict {self.ticket}: {label}")


def longer(asked: Asked) -> Reply:
    """An honest judge: the longer response is better, equal lengths tie."""
    first, second = len(asked.text("response A")), len(asked.text("response B"))
    return asked.verdict("A" if first > second else "B" if second > first else "tie")


class Server:
    """HTTP/1.1 in a thread; `behave` decides what it sends."""

    def __init__(self) -> None:
        self.behave: Callable[[Asked], Reply] = longer
        self.asked: list[Asked] = []
        self.keys: set[str] = set()
        self.at_a_time = self.most_at_a_time = 0
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def tickets(self) -> list[str]:
        return [asked.ticket for asked in self.asked]

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(started))

    async def _serve(self, started: threading.Event) -> None:
        self._stop = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._stop.wait()
        server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = int(re.search(r"content-length: (\d+)", head, re.I).group(1))
        body = json.loads(await reader.readexactly(length))
        self.keys.add(re.search(r"authorization: Bearer (\S+)", head, re.I).group(1))
        asked = Asked(body, len(self.asked) + 1)
        self.asked.append(asked)
        self.at_a_time += 1
        self.most_at_a_time = max(self.at_a_time, self.most_at_a_time)
        reply = self.behave(asked)
        await asyncio.sleep(reply.delay)
        self.at_a_time -= 1
        headers = {"Content-Type": "application/json", "Content-Length": str(len(reply.body)), **reply.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if reply.keep is None or reply.keep > 0:
            writer.write(f"HTTP/1.1 {reply.status} X\r\n{lines}\r\n".encode() + reply.body[: reply.keep])
            await writer.drain()
        return reply.keep is None


class PassingClock:
    """A clock that sleeps by moving its hands."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)
