"""How a helper is started under each kind of isolation."""

import dataclasses
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marl_bench.execution.isolation import Launcher
from marl_bench.execution.programs import Limits
from marl_bench.execution.sandbox import layout
from marl_bench.execution.seccomp_filter import filter_instructions
from marl_bench.execution.view import View

_HELPER = "marl_bench.execution.sandbox.helper"
_PACKAGE = Path(__file__).resolve().parents[1]
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
# Loaded once by a helper, so that no program has to. Only what many programs import: every page of memory makes every fork slower.
_PRELOADED = (
    *("bisect", "collections", "copy", "functools", "heapq", "itertools", "json", "math"),
    *("operator", "os", "re", "string", "sys", "time", "types", "typing"),
)


@dataclasses.dataclass(frozen=True)
class Launch:
    """How to start one helper.

    Attributes:
        command: Command line, to which the number of the inherited end of a socket pair is added.
        settings: What the helper is to be sent first.
        environment: Environment of the command.
        user: User and group that programs run as where that is not this process's, else None.
        folder: A folder of this host that was made for it, else None.
    """

    command: tuple[str, ...]
    settings: dict[str, Any]
    environment: Mapping[str, str]
    user: int | None
    folder: Path | None


def plan_launch(launcher: Launcher, *, limits: Limits, view: View, filtered: bool) -> Launch:
    """Returns how to start a helper.

    Args:
        launcher: One of `isolation.launchers()`.
        limits: For the size of the folder.
        view: What programs may see.
        filtered: Whether to install the filter of system calls, where it can be made.
    """
    # Each helper's programs are a user of their own, so that neither signals nor the limit on processes reach those of another.
    user = 60_000 + secrets.randbelow(5_000) if os.geteuid() == 0 else None
    # Root's Python may lie where no other user can read it; then programs get a file system of their own even without namespaces.
    own_world = launcher != "process" or (user is not None and not _readable_by_others(Path(os.__file__)))
    made = None if own_world else _new_folder(user, view)
    folder = layout.FOLDER if made is None else str(made / "folder")
    package_path = layout.PACKAGES if made is None else str(made / "packages")
    library = f"{layout.PACKAGES}-of-helper" if launcher == "bubblewrap" else str(_PACKAGE.parent)
    instructions = filter_instructions(signals=launcher != "process") if filtered else None
    settings: dict[str, Any] = {
        "isolation": launcher,
        "own_world": own_world,
        "user": user,
        "shown": view.shown,
        "hidden": view.hidden,
        "packages": view.packages,
        "readable": [] if own_world else view.readable(),
        "package_path": package_path,
        "folder": folder,
        "folder_bytes": limits.folder_mib << 20,
        "library": library,
        "preload": _PRELOADED,
        "environment": {**_ENVIRONMENT, "HOME": folder, "TMPDIR": folder, "PYTHONPATH": package_path},
        "filter": instructions.hex() if instructions else "",
    }
    command = [str(Path(sys.executable).resolve()), "-S", "-P", "-B", "-m", _HELPER]
    if launcher == "bubblewrap":
        command[:0] = _bubblewrap(view, limits.folder_mib << 20, library)
    environment = {
        "PYTHONPATH": library,
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
        "PATH": os.environ.get("PATH", os.defpath),
    }
    return Launch(tuple(command), settings, environment, user, made)


def _bubblewrap(view: View, folder_bytes: int, library: str) -> list[str]:
    """Returns the command that makes namespaces, and the file system of `sandbox.world`, with bubblewrap."""
    options = ["--unshare-all", "--as-pid-1", "--uid", "1000", "--gid", "1000", "--hostname", "sandbox"]
    for path in view.shown:
        is_link = Path(path).is_symlink()
        options += ["--symlink", str(Path(path).readlink()), path] if is_link else ["--ro-bind", path, path]
    for path in view.hidden:
        options += ["--tmpfs", path, "--remount-ro", path]
    for name, path in view.packages.items():
        options += ["--ro-bind", path, f"{layout.PACKAGES}/{name}"]
    options += ["--ro-bind", str(_PACKAGE), f"{library}/{_PACKAGE.name}"]
    for device in layout.DEVICES:
        options += ["--dev-bind", device, device]
    for place, target in layout.LINKS.items():
        options += ["--symlink", target, place]
    options += ["--proc", "/proc", "--size", str(folder_bytes), "--tmpfs", layout.FOLDER, "--remount-ro", "/", "--"]
    return ["bwrap", *options]


def _readable_by_others(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IROTH) and all(
        parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents
    )


def _new_folder(user: int | None, view: View) -> Path:
    """Makes a folder of this host with one for programs to write to, and one with links to the packages that they may import."""
    made = Path(tempfile.mkdtemp(prefix="marl-bench-program-"))
    made.chmod(0o755)
    for name in ("folder", "packages"):
        (made / name).mkdir()
    for name, path in view.packages.items():
        (made / "packages" / name).symlink_to(path)
    if user is not None:
        os.chown(made / "folder", user, user)
    return made
