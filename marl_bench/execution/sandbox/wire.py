"""How the parent and a helper talk: JSON messages with a length before them, open files beside them."""

import json
import socket
import struct
from typing import Any

_LENGTH = struct.Struct(">I")
_MOST_FILES = 5


def send(connection: socket.socket, message: dict[str, Any], files: tuple[int, ...] = ()) -> None:
    """Sends a message and, with it, copies of open file descriptors."""
    body = json.dumps(message).encode()
    data = _LENGTH.pack(len(body)) + body
    sent = socket.send_fds(connection, [data], list(files)) if files else connection.send(data)
    if sent < len(data):
        connection.sendall(data[sent:])


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Returns the next message with its files, or None at the end of the connection."""
    data, files, _, _ = socket.recv_fds(connection, _LENGTH.size, _MOST_FILES)
    if not data:
        return None
    data += _exactly(connection, _LENGTH.size - len(data))
    body = _exactly(connection, _LENGTH.unpack(data)[0])
    message: dict[str, Any] = json.loads(body)
    return message, files


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = connection.recv(min(count, 1 << 20))
        if not part:
            raise ConnectionError("the connection ended in the middle of a message")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
