"""What finished experiments no longer need on the disk: checkpoints, half-written files, and on request weights. No torch."""

import dataclasses
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from marl_bench.errors import RecordError, RunFolderError
from marl_bench.run_dir import CHECKPOINTS, RunDir, leftovers, locked, read_record

WEIGHTS = ("policy", "critic", "best_policy")
_SECONDS_A_DAY = 86_400


@dataclasses.dataclass(frozen=True)
class Removable:
    """A file or folder that can go.

    Attributes:
        run: The experiment.
        path: The file or folder.
        kind: What it is, in words.
        size_bytes: Of all its files.
        days: Since the last of them was written.
    """

    run: RunDir
    path: Path
    kind: str
    size_bytes: int
    days: float


def removables(
    folders: Sequence[Path], *, weights: bool = False, older_than_days: float = 0.0, larger_than_bytes: int = 0
) -> list[Removable]:
    """Returns what can go from the experiments at or below some folders, largest first.

    Args:
        folders: Experiments, or folders that hold some.
        weights: Also the policies and critics of finished cells; reports need them not, but evaluate, diagnose and best-of-n do.
        older_than_days: Only what was written so long ago.
        larger_than_bytes: Only what is that large.

    Raises:
        RecordError: A folder does not exist or there is no experiment.
    """
    runs = [run for folder in folders for run in _runs(folder)]
    if not runs:
        raise RecordError(
            f"{', '.join(map(str, folders))}: no experiment there; give the folder of a run, or one that holds some."
        )
    found = [item for run in runs for item in _of_run(run, weights=weights)]
    kept = [item for item in found if item.days >= older_than_days and item.size_bytes >= larger_than_bytes]
    return sorted(kept, key=lambda item: (-item.size_bytes, str(item.path)))


def remove(items: Sequence[Removable]) -> list[str]:
    """Removes the items; returns a sentence for each experiment that another process works in, which is left alone."""
    busy = []
    for run in dict.fromkeys(item.run for item in items):
        try:
            with locked(run):
                for item in items:
                    if item.run == run:
                        _remove(item.path)
        except RunFolderError as error:
            busy.append(str(error))
    return busy


def _runs(folder: Path, depth: int = 2) -> Iterator[RunDir]:
    if not folder.is_dir():
        raise RecordError(f"{folder}: no such folder; give the folder of a run, or one that holds some.")
    run = RunDir(folder)
    if run.config.is_file() and run.cells.is_dir():
        yield run
    elif depth:
        for each in sorted(folder.iterdir()):
            if each.is_dir() and not each.name.startswith("."):
                yield from _runs(each, depth - 1)


def _of_run(run: RunDir, *, weights: bool) -> Iterator[Removable]:
    for folder in (run.root, run.root / "shared", *sorted(run.cells.glob("*"))):
        for path in leftovers(folder):
            yield _removable(run, path, "half written by a process that was killed")
    for folder in sorted(run.cells.glob("*")):
        try:
            record = read_record(folder)
        except RecordError:
            continue  # a damaged cell may need its checkpoints
        if record is None or record.status != "complete":
            continue
        if (folder / CHECKPOINTS).is_dir():
            yield _removable(run, folder / CHECKPOINTS, "checkpoints of a finished cell")
        for name in WEIGHTS if weights else ():
            if (folder / name).is_dir():
                yield _removable(run, folder / name, f"weights of a finished cell ({name.replace('_', ' ')})")


def _removable(run: RunDir, path: Path, kind: str) -> Removable:
    files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
    stats = [each.stat() for each in files] or [path.stat()]
    newest = max(stat.st_mtime for stat in stats)
    return Removable(
        run, path, kind, sum(stat.st_size for stat in stats), max(0.0, time.time() - newest) / _SECONDS_A_DAY
    )


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
