"""No network: what is meant to run offline is caught when it looks for a host."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any
from unittest import mock


class NetworkUsed(BaseException):
    """Something looked for a host."""


@contextlib.contextmanager
def no_network(*, on: bool = True) -> Iterator[None]:
    """Lets nothing in this process connect to a host; sockets of the file system and other processes are left alone.

    Args:
        on: False changes nothing.

    Raises:
        NetworkUsed: Something tried; the text names the host.
    """
    if not on:
        yield
        return

    connect = socket.socket.connect

    def refuse_name(host: Any, *_: Any, **__: Any) -> Any:
        raise NetworkUsed(f"looks for the host {host!r}; embedded data and local folders must do without network")

    def refuse(self: socket.socket, address: Any) -> Any:
        if self.family == getattr(socket, "AF_UNIX", None):
            return connect(self, address)
        return refuse_name(address)

    with (
        mock.patch.object(socket.socket, "connect", refuse),
        mock.patch.object(socket, "getaddrinfo", refuse_name),
    ):
        yield
