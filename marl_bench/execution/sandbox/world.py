"""Builds the file system that a program sees: read-only but for one bounded folder."""

import os
from typing import Any

from marl_bench.execution.sandbox.kernel import (
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    detach,
    make_read_only,
    mount,
    pivot_root,
)
from marl_bench.execution.sandbox.layout import DEVICES, FOLDER, LINKS, PACKAGES

_OLD = "/.old"


def build(settings: dict[str, Any]) -> None:
    """Makes a new root of what the settings show, less what they hide, with packages, /dev and the folder; /proc is still the old one.

    Needs a mount namespace of its own and the right to mount. Raises OSError.
    """
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    os.mkdir("/tmp" + _OLD)
    pivot_root("/tmp", "/tmp" + _OLD)
    os.chdir("/")
    places = [(path, path) for path in settings["shown"]]
    places += [(path, f"{PACKAGES}/{name}") for name, path in settings["packages"].items()]
    for path, place in places:
        _show(path, place)
        if not os.path.islink(place):
            make_read_only(place)
    for path in settings["hidden"]:
        mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV, "size=4k,mode=555")
    for device in DEVICES:
        if os.path.exists(_OLD + device):
            _show(device, device)
    for path, target in LINKS.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(target, path)
    os.mkdir("/proc")
    mount(_OLD + "/proc", "/proc", None, MS_BIND | MS_REC)  # a new one may only be mounted where an old one is seen
    os.mkdir(FOLDER)
    mount("tmpfs", FOLDER, "tmpfs", MS_NOSUID | MS_NODEV, f"size={settings['folder_bytes']},nr_inodes=20000,mode=1777")
    detach(_OLD)
    os.rmdir(_OLD)
    mount("tmpfs", "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def _show(path: str, place: str) -> None:
    """Makes a path of the old root appear at a place in the new one; a link stays a link."""
    old = _OLD + path
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if os.path.islink(old):
        os.symlink(os.readlink(old), place)
        return
    if os.path.isdir(old):
        os.makedirs(place, exist_ok=True)
    else:
        os.close(os.open(place, os.O_CREAT, 0o644))
    mount(old, place, None, MS_BIND | MS_REC)


def mount_proc() -> bool:
    """Mounts the /proc of this PID namespace; returns False where the host does not allow it."""
    try:
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
    except OSError:
        try:
            mount("tmpfs", "/proc", "tmpfs", MS_NOSUID | MS_NODEV, "size=4k,mode=555")  # hides that of the host
        except OSError:
            detach("/proc")
        return False
    return True
