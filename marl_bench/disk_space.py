"""Tells a full disk from other failures, whichever library was writing. No torch."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from marl_bench.errors import DiskFullError

_NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_TEXTS = ("No space left on device", "Disk quota exceeded", "File too large")
"""What safetensors, which is not Python, puts into an error of its own."""


@contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Turns the errors of a full disk into one that names the folder.

    Raises:
        DiskFullError: In their place.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DiskFullError) or not is_disk_full(error):
            raise
        raise DiskFullError(
            f"{folder}: the disk is full, or a quota is used up ({type(error).__name__} while writing); make room there. Nothing is damaged: "
            "the same command again goes on from the last checkpoint."
        ) from error


def is_disk_full(error: BaseException | None) -> bool:
    """Returns True if an error, or one that led to it, is that of a full disk. torch reports its own confusion after the first failed write."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NUMBERS:
            return True
        if any(text in str(error) for text in _TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False
