"""Whether a process holds a lock on a run, without taking the lock: even to try it for a moment could turn away a run that starts."""

from pathlib import Path

from marl_bench.run_dir import LOCK, WORKERS_LOCK, RunDir

LOCKS = Path("/proc/locks")
"""Linux lists there every file lock of the processes that this one can see."""


def anyone_works(run_dir: RunDir, *, listing: Path = LOCKS) -> bool | None:
    """Returns True if a process holds the folder's lock or a worker's, False if none does, None where that cannot be told."""
    try:
        held = listing.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    inodes = {inode for name in (LOCK, WORKERS_LOCK) if (inode := _inode(run_dir.root / name)) is not None}
    # A line reads: 1: FLOCK ADVISORY WRITE 4711 fd:01:2228 0 EOF; one that waits has `->` after its number. The inode alone is compared: on
    # some file systems the device in this list is not the one that a file says it is on.
    for line in held:
        fields = line.split()
        if len(fields) == 8 and fields[5].rsplit(":", 1)[-1] in inodes:
            return True
    return False


def _inode(path: Path) -> str | None:
    try:
        return str(path.stat().st_ino)
    except OSError:
        return None
