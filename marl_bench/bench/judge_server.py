"""A chat-completions server that answers every question after a fixed time: `python -m marl_bench.bench.judge_server MILLISECONDS`.

It prints its port, and stops when its standard input ends. A process of its own, so that it takes no time from the client it measures.
"""

import asyncio
import json
import re
import sys

_LENGTH = re.compile(rb"content-length: (\d+)", re.I)
_TICKET = re.compile(rb"\[end response B ([0-9a-f]{12})\]")


class _Connection(asyncio.Protocol):
    def __init__(self, delay: float) -> None:
        self._delay, self._read = delay, bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, separator, body = bytes(self._read).partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if separator and length and len(body) >= int(length.group(1)):
            self._read.clear()
            asyncio.get_running_loop().call_later(self._delay, self._answer, _TICKET.findall(body)[-1].decode())

    def _answer(self, ticket: str) -> None:
        content = json.dumps({"ticket": ticket, "reason": "It is the first.", "verdict": "A"})
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
        usage = {"prompt_tokens": 500, "completion_tokens": 40}
        body = json.dumps({"object": "chat.completion", "model": "bench", "choices": [choice], "usage": usage}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(head.encode() + body)


async def serve(milliseconds: float) -> None:
    """Serves until standard input ends; prints the port first."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(milliseconds / 1000), "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
