"""The parent's side of one helper: start it, hand it programs with their open files, end it."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from marl_bench.execution.isolation import Launcher
from marl_bench.execution.launch import plan_launch
from marl_bench.execution.programs import Limits
from marl_bench.execution.sandbox import wire
from marl_bench.execution.view import View

START_SECONDS = 30.0


class HelperDied(Exception):  # noqa: N818 (an event that the caller handles)
    """The helper ended by itself; what it ran has no result."""


class HelperProcess:
    """A helper under one kind of isolation."""

    def __init__(self, launcher: Launcher, limits: Limits, *, view: View, filtered: bool = True) -> None:
        """Starts it and waits until it is ready.

        Raises:
            OSError: The host does not allow this isolation; the text says what.
        """
        launch = plan_launch(launcher, limits=limits, view=view, filtered=filtered)
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*launch.command, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=dict(launch.environment),
                start_new_session=True,  # Ctrl-C is the parent's to handle
                cwd="/",
            )
        self.connection, self.user, self._folder = ours, launch.user, launch.folder
        ours.settimeout(START_SECONDS)
        try:
            wire.send(ours, launch.settings)
            received = wire.receive(ours)
        except OSError:
            received = None
        if received is None or "error" in received[0]:
            words = self._end()
            raise OSError(received[0]["error"] if received else f"it did not start ({words})")
        ours.settimeout(None)
        self.proc: bool = received[0]["proc"]
        self.seccomp: bool = received[0]["seccomp"]
        self.files_confined: bool = received[0]["files_confined"]
        self.loop_seconds: float = received[0]["loop_seconds"]

    def start(self, request: Mapping[str, Any], files: Sequence[int]) -> None:
        """Starts a program with copies of `files` as its first descriptors."""
        if self.user is not None:
            for file in files:
                os.fchown(file, self.user, self.user)  # else it could not open /dev/stdin
        try:
            wire.send(self.connection, dict(request), tuple(files))
        except OSError as error:
            raise HelperDied from error

    def ask_to_end(self) -> None:
        """Asks for the end of the program that runs."""
        with contextlib.suppress(OSError):  # a dead helper is noticed by whoever waits for its answer
            wire.send(self.connection, {"end": True})

    def ending(self) -> dict[str, Any]:
        """Returns how the program ended, once the connection can be read."""
        try:
            received = wire.receive(self.connection)
        except OSError as error:
            raise HelperDied from error
        if received is None:
            raise HelperDied
        return received[0]

    def close(self) -> None:
        """Ends the helper and all that runs below it."""
        self._end()

    def _end(self) -> str:
        """Ends it and returns the last line that it wrote to its stderr."""
        self.connection.close()  # it then ends its program and itself
        try:
            _, written = self._process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its namespaces die with it
            _, written = self._process.communicate()
        if self._folder is not None:
            # Programs may have nested folders deeper than Python can follow, and closed them to their own user.
            for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
                subprocess.run([*command, str(self._folder)], stderr=subprocess.DEVNULL, check=False)
        lines = written.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.returncode}"
