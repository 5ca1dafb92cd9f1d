"""The processes of one program: their limits, how they are counted, and how all of them are ended."""

import contextlib
import math
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import Any

ADOPTS_ORPHANS = sys.platform == "linux"
"""Whether orphans below a helper become its children; elsewhere one that left its session escapes."""

_STACK_BYTES = 128 << 20  # the kernel keeps this much free below the stack whatever the limit was at the start
_ADDRESS_SPACE_SLACK = 2 << 30


def set_limits(limits: dict[str, Any], *, more_processes: int) -> None:
    """Limits this process and those it starts.

    The address space is wider than the memory limit, because stacks of threads are reserved and rarely used; the memory in use is
    watched by the helper. `more_processes` are those of the same user that are none of the program's.
    """
    cpu = math.ceil(limits["cpu_seconds"])
    _lower(resource.RLIMIT_CPU, cpu, cpu + 1)
    _lower(resource.RLIMIT_AS, limits["memory_bytes"] + _ADDRESS_SPACE_SLACK)
    _lower(resource.RLIMIT_FSIZE, limits["folder_bytes"])
    _lower(resource.RLIMIT_NOFILE, limits["open_files"])
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NPROC, limits["processes"] + more_processes)


def allow_deep_stacks() -> None:
    """Lets the main stack grow as far as the host allows, at most 128 MiB."""
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = _STACK_BYTES if hard == resource.RLIM_INFINITY else min(hard, _STACK_BYTES)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))


def _lower(kind: int, soft: int, hard: int | None = None) -> None:
    _, now = resource.getrlimit(kind)
    ceiling = now if now != resource.RLIM_INFINITY else (1 << 62)
    with contextlib.suppress(ValueError, OSError):  # some systems refuse some limits; `features` says which hold
        resource.setrlimit(kind, (min(soft, ceiling), min(hard if hard is not None else soft, ceiling)))


def descendants(pid: int) -> list[int]:
    """Returns the ids of all processes below one; empty where the system does not tell."""
    found = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                for child in map(int, file.read().split()):
                    found += [child, *descendants(child)]
    return found


def tasks_of_user() -> int:
    """Returns how many processes and threads this process's user has; 0 where the system does not tell."""
    count = 0
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if name.isdigit() and os.stat(f"/proc/{name}").st_uid == os.getuid():
                    count += len(os.listdir(f"/proc/{name}/task"))
    return count


def private_bytes(pid: int) -> int:
    """Returns the memory of a process that is no file's: its own, shared since a fork, and shared on purpose; 0 if it has gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file if line.startswith(("RssAnon:", "RssShmem:", "VmSwap:"))]
    except OSError:
        return 0
    return sum(int(line[1]) << 10 for line in lines)


class Ending:
    """Waits for the end of a child, or for a message of the parent."""

    def __init__(self, child: int) -> None:
        """Watches a child of this process."""
        self._child = child
        self._handle = os.pidfd_open(child) if hasattr(os, "pidfd_open") else None
        self.status: int | None = None
        self.usage: resource.struct_rusage | None = None

    def __enter__(self) -> "Ending":
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            os.close(self._handle)

    def wait(self, connection: socket.socket, seconds: float) -> bool:
        """Waits at most `seconds`; returns whether the parent has sent something. `status` tells whether the child has ended."""
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        if self._handle is not None:
            poll.register(self._handle, select.POLLIN)
            ready = {file for file, _ in poll.poll(seconds * 1000)}
            if self._handle in ready:
                self.take(os.WNOHANG)
            return connection.fileno() in ready
        deadline = time.monotonic() + seconds
        while True:  # a system that cannot wait for both
            self.take(os.WNOHANG)
            asked = bool(poll.poll(0 if self.status is not None else 2))
            if self.status is not None or asked or time.monotonic() > deadline:
                return asked

    def take(self, options: int = 0) -> None:
        """Takes the ended child, with what it used."""
        pid, status, usage = os.wait4(self._child, options)
        if pid == self._child:
            self.status, self.usage = status, usage


def end_all(child: int, *, alone: bool, seconds: float = 5.0) -> bool:
    """Kills every process of a program and waits for their ends; returns False if some did not end in time.

    Args:
        child: The process that was forked for it, which leads a session of its own.
        alone: True if this process is the first of a PID namespace, so that everything else in it is the program's.
        seconds: How long to wait.
    """
    deadline = time.monotonic() + seconds
    if not ADOPTS_ORPHANS:
        kill(child, alone=alone)
    while _reap():  # what is left is a child of this process, even if its own parent has gone
        kill(child, alone=alone)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.0005)
    return True


def kill(child: int, *, alone: bool) -> None:
    """Kills every process of a program once; see `end_all`."""
    if alone:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _reap() -> bool:
    """Takes the ended children; returns True if others still run."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
