"""How well this host can isolate programs: levels, and the ways to reach them."""

import dataclasses
import os
import shutil
import sys
from collections.abc import Mapping
from typing import Any, Literal

from marl_bench.errors import IsolationError

Level = Literal["process", "namespaces", "full"]
LEVELS: tuple[Level, ...] = ("process", "namespaces", "full")
"""From the weakest: processes with limits; namespaces for user, PID, network, mounts and IPC; these and a filter of system calls."""

Launcher = Literal["bubblewrap", "namespaces", "process"]


@dataclasses.dataclass(frozen=True)
class Isolation:
    """The isolation under which programs run.

    Attributes:
        level: See `LEVELS`.
        launcher: `bubblewrap`, `namespaces` (made by the helper itself) or `process` (none).
        seccomp: True if a filter of system calls is in force.
        proc: True if programs have a /proc of their own.
        files_confined: True if programs change files in their own folder alone, and read only what is Python's, the system's or allowed.
        reasons: Launcher to why it was not used.
    """

    level: Level
    launcher: Launcher
    seccomp: bool
    proc: bool
    files_confined: bool
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns what a record keeps: no text of this host."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "reasons"}


def launchers() -> list[Launcher]:
    """Returns the ways to start a helper here, in the order of preference.

    Bubblewrap comes first where it is installed: hosts that keep namespaces from ordinary programs often allow them to it. Not for root,
    whose programs it would leave root's own user id outside, which escapes the limit on processes.

    Raises:
        IsolationError: Programs cannot be run on this system.
    """
    if os.name != "posix":
        raise IsolationError(f"isolation: programs can be run on Linux and macOS, not on {sys.platform}.")
    if sys.platform != "linux":
        return ["process"]
    found: list[Launcher] = ["namespaces", "process"]
    return ["bubblewrap", *found] if os.geteuid() != 0 and shutil.which("bwrap") else found


def level_of(launcher: Launcher, *, seccomp: bool) -> Level:
    """Returns the level that a launcher gives."""
    if launcher == "process":
        return "process"
    return "full" if seccomp else "namespaces"
