"""How well this host can isolate programs, and how a helper is started under each kind of isolation."""

import dataclasses
import json
import os
import shutil
import stat
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from marl_bench.errors import IsolationError
from marl_bench.execution.programs import Limits
from marl_bench.execution.sandbox import layout
from marl_bench.execution.seccomp_filter import filter_instructions

Level = Literal["process", "namespaces", "full"]
LEVELS: tuple[Level, ...] = ("process", "namespaces", "full")
"""From the weakest: processes with limits; namespaces for user, PID, network, mounts and IPC; these and a filter of system calls."""

Launcher = Literal["bubblewrap", "namespaces", "process"]

_HELPER = "marl_bench.execution.sandbox.helper"
_PACKAGE = Path(__file__).parents[1]
PACKAGES = "/packages"  # where programs find installed packages; those of this environment may lie below the folder they write to
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
# Loaded once by a helper, so that no program has to. Only what many programs import: every page of memory makes every fork slower.
PRELOADED = (
    *("bisect", "collections", "copy", "functools", "heapq", "itertools", "json", "math"),
    *("operator", "os", "re", "string", "sys", "time", "types", "typing"),
)


@dataclasses.dataclass(frozen=True)
class Isolation:
    """The isolation under which programs run.

    Attributes:
        level: See `LEVELS`.
        launcher: `bubblewrap`, `namespaces` (made by the helper itself) or `process` (none).
        seccomp: True if a filter of system calls is in force.
        proc: True if programs have a /proc of their own.
        writes_confined: True if programs change files in their own folder alone.
        reasons: Launcher to why it was not used.
    """

    level: Level
    launcher: Launcher
    seccomp: bool
    proc: bool
    writes_confined: bool
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


@dataclasses.dataclass(frozen=True)
class Launch:
    """How to start one helper.

    Attributes:
        command: Command line; it expects the socket under the number that it inherits.
        environment: Environment of the command.
        user: User and group that programs run as where that is not this process's, else None.
        folder: A folder of this host that was made for it, else None.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    user: int | None
    folder: Path | None


def plan_launch(launcher: Launcher, *, connection: int, limits: Limits, packages: bool, filtered: bool) -> Launch:
    """Returns how to start a helper.

    Args:
        launcher: One of `launchers()`.
        connection: File descriptor of the helper's end of a socket pair.
        limits: For the size of the folder.
        packages: Whether programs may import the packages of this environment.
        filtered: Whether to install the filter of system calls, where it can be made.
    """
    user = 60_000 + os.getpid() % 5_000 if os.geteuid() == 0 else None
    folder_bytes = limits.folder_mib << 20
    instructions = filter_instructions(signals=launcher != "process") if filtered else None
    sources = _package_folders() if packages else []
    # Root's Python may lie where no other user can read it; then programs get a file system of their own even without namespaces.
    isolated = launcher != "process" or (user is not None and not _readable_by_others(Path(os.__file__)))
    places = [f"{PACKAGES}/{number}" for number in range(len(sources))] if isolated else sources
    library = f"{PACKAGES}/helper" if launcher == "bubblewrap" else str(_PACKAGE.parent)
    folder = layout.FOLDER if isolated else _new_folder(user)
    paths = [*((path, path) for path in _system_paths()), *zip(sources, places, strict=True)]
    settings = {
        "isolation": launcher,
        "own_world": isolated,
        "socket": connection,
        "user": user,
        "paths": paths,
        "folder": folder,
        "folder_bytes": folder_bytes,
        "packages": places,
        "library": library,
        "preload": PRELOADED,
        "environment": {**ENVIRONMENT, "HOME": folder, "TMPDIR": folder},
        "filter": instructions.hex() if instructions else "",
    }
    command = [str(Path(sys.executable).resolve()), "-S", "-P", "-B", "-m", _HELPER, json.dumps(settings)]
    if launcher == "bubblewrap":
        command[:0] = _bubblewrap([*paths, (str(_PACKAGE), f"{library}/{_PACKAGE.name}")], folder_bytes)
    environment = {
        "PYTHONPATH": library,
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
        "PATH": os.environ.get("PATH", os.defpath),
    }
    return Launch(tuple(command), environment, user, None if isolated else Path(folder))


def _bubblewrap(paths: list[tuple[str, str]], folder_bytes: int) -> list[str]:
    """Returns the command that builds the world of `sandbox.world`, and its namespaces, with bubblewrap."""
    options = [
        "--unshare-all",
        "--as-pid-1",
        "--uid",
        "1000",
        "--gid",
        "1000",
        "--hostname",
        "sandbox",
    ]
    for path, place in paths:
        options += (
            ["--symlink", str(Path(path).readlink()), place] if Path(path).is_symlink() else ["--ro-bind", path, place]
        )
    for device in layout.DEVICES:
        options += ["--dev-bind", device, device]
    for place, target in layout.LINKS.items():
        options += ["--symlink", target, place]
    options += ["--proc", "/proc", "--size", str(folder_bytes), "--tmpfs", layout.FOLDER, "--remount-ro", "/", "--"]
    return ["bwrap", *options]


def _system_paths() -> list[str]:
    """Returns what programs may read: the system's libraries and Python's own."""
    paths = [path for path in layout.SYSTEM_PATHS if os.path.lexists(path)]
    for path in (
        sys.base_prefix,
        sys.base_exec_prefix,
        sysconfig.get_path("stdlib"),
        str(Path(sys.executable).resolve()),
    ):
        if not any(Path(path).is_relative_to(known) for known in paths):
            paths.append(path)
    return paths


def _readable_by_others(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IROTH) and all(
        parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents
    )


def _package_folders() -> list[str]:
    return sorted({sysconfig.get_path(name) for name in ("purelib", "platlib")})


def _new_folder(user: int | None) -> str:
    folder = tempfile.mkdtemp(prefix="marl-bench-program-")
    if user is not None:
        os.chown(folder, user, user)
    return folder
