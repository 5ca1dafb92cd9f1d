"""What a record says of the program and the machine that made it: no paths, no host or user names. No torch."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGES = (
    "marl-bench",
    "torch",
    "transformers",
    "trl",
    "accelerate",
    "datasets",
    "numpy",
    "scipy",
    "rouge-score",
    "evaluate",
)


def environment(
    *, device: str, threads: int, processes: int = 1, packages: Mapping[str, str | None] | None = None
) -> dict[str, Any]:
    """Returns package versions, platform, device, threads, what is reproducible, and the git state of the source if it is a checkout.

    Args:
        device: Name of the device.
        threads: Of each process.
        processes: That trained together; one needs no mention.
        packages: Versions of packages that only some runs use.
    """
    commit, dirty = _git_state(Path(__file__).parent)
    return {
        "packages": {**{name: _version(name) for name in PACKAGES}, **(packages or {})},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "device": device,
        "threads": threads,
        **({"processes": processes} if processes > 1 else {}),
        "reproducible": _reproducible(device),
        "git_commit": commit,
        "git_dirty": dirty,
    }


def _reproducible(device: str) -> str:
    """Returns what the same command gives again, with the same packages."""
    if device == "cpu":
        return (
            "bit for bit on this machine with these threads and batch sizes, in any order of cells, interrupted or not"
        )
    return "up to rounding: prompts, seeds and orders are the same; kernels of a GPU may add in another order each time"


def now() -> str:
    """Returns the time in UTC to the second, for a record's `costs`: everything from the clock stands there."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_state(folder: Path) -> tuple[str | None, bool | None]:
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None, None
    # Inside site-packages, a repository further up is somebody else's.
    if _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None, None
    return commit, bool(_git(folder, "status", "--porcelain"))


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
