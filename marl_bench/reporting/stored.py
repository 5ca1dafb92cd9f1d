"""Finds stored results: every arm of the runs, evaluations and references in some folders."""

import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path

from marl_bench.errors import MarlBenchError, RecordError
from marl_bench.records import Cell
from marl_bench.reporting.arm_cells import arms_of
from marl_bench.reporting.references import REFERENCE, means_only, read_means
from marl_bench.reporting.sides import is_complete, open_side
from marl_bench.run_dir import RECORD, RunDir, read_config

RECORDED, FILE_DATE, UNDATED = "", "file date", "no date"
"""Where a date comes from: the record itself, the date of its file, or nowhere (references are kept without dates)."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """One arm of one stored run or reference.

    Attributes:
        source: Path of its folder as it was found.
        task: Id of the task.
        primary_metric: Of the task; empty where only means are known.
        arm: Folder name of the arm.
        label: Its label.
        config_hash: Hash of its configuration.
        versions: Versions of marl-bench that made its cells.
        commits: Git commits of these, shortened, `+` for uncommitted changes.
        date: When its last cell finished, ISO 8601 in UTC; empty if unknown.
        date_from: `RECORDED`, `FILE_DATE` or `UNDATED`.
        means: Metric to seed to mean.
        cells: Complete cells by seed; empty where only means are known.
    """

    source: str
    task: str
    primary_metric: str
    arm: str
    label: str
    config_hash: str
    versions: str
    commits: str
    date: str
    date_from: str
    means: dict[str, dict[int, float]]
    cells: dict[int, Cell]


def stored_results(paths: Sequence[Path], problems: list[str]) -> list[Stored]:
    """Returns every arm of what lies at or below some folders.

    Args:
        paths: Runs and references, or folders that hold them.
        problems: Takes a sentence for each run that could not be read.

    Raises:
        RecordError: There is nothing, or a run that was named itself cannot be read.
    """
    stored = [one for folder, named in _found(paths) for one in _read(folder, problems, named=named)]
    if not stored:
        raise RecordError(
            f"{', '.join(map(str, paths))}: no finished run and no reference there; give folders of runs, or folders that hold them."
        )
    return stored


def _found(paths: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Yields the folders of runs, evaluations and references, and whether each was named itself."""
    seen: set[Path] = set()
    for path in paths:
        if not path.is_dir():
            raise RecordError(f"{path}: no such folder; give a run, a reference, or a folder that holds some.")
        for folder, named in _below(path, depth=3, named=True):
            if folder.resolve() not in seen:
                seen.add(folder.resolve())
                yield folder, named


def _below(folder: Path, *, depth: int, named: bool) -> Iterator[tuple[Path, bool]]:
    if (folder / "cells").is_dir() or (folder / REFERENCE).is_file() or means_only(folder):
        yield folder, named
        evaluations = folder / "evaluations"
        for each in sorted(evaluations.iterdir()) if evaluations.is_dir() else []:
            if (each / "cells").is_dir():
                yield each, False
    elif depth:
        for each in sorted(folder.iterdir()):
            if each.is_dir() and not each.name.startswith("."):
                yield from _below(each, depth=depth - 1, named=False)


def _read(folder: Path, problems: list[str], *, named: bool) -> list[Stored]:
    try:
        return list(_means_only(folder) if means_only(folder) else _arms(folder))
    except MarlBenchError as error:
        if named:
            raise
        problems.append(str(error))
        return []


def _arms(folder: Path) -> Iterator[Stored]:
    side = open_side(str(folder), reference_dir=folder)
    for arm in arms_of(side.cells):
        cells = dict(arm.cells)
        records = [cell.record for cell in cells.values()]
        metrics = sorted({name for record in records for name in record.metrics})
        date, date_from = ("", UNDATED) if side.is_reference else _date(RunDir(folder), cells)
        yield Stored(
            source=str(folder),
            task=str(records[0].task["id"]),
            primary_metric=str(records[0].task["primary_metric"]),
            arm=arm.arm.name,
            label=arm.arm.label,
            config_hash=records[0].config_hash,
            versions=", ".join(sorted({_version(cell) for cell in cells.values()})),
            commits=", ".join(sorted({_commit(cell) for cell in cells.values()})),
            date=date,
            date_from=date_from,
            means={
                name: {
                    seed: float(cell.record.metrics[name])
                    for seed, cell in cells.items()
                    if name in cell.record.metrics
                }
                for name in metrics
            },
            cells={seed: cell for seed, cell in cells.items() if is_complete(cell)},
        )


def _means_only(folder: Path) -> Iterator[Stored]:
    config = read_config(RunDir(folder))
    means = read_means(folder)
    for arm in sorted({arm for arm, _ in means}):
        yield Stored(
            source=str(folder),
            task=str(config.get("task", "")),
            primary_metric="",
            arm=arm,
            label=arm,
            config_hash=str(config.get("config_hash", "")),
            versions="",
            commits="",
            date="",
            date_from=UNDATED,
            means={metric: dict(by_seed) for (owner, metric), by_seed in means.items() if owner == arm},
            cells={},
        )


def _version(cell: Cell) -> str:
    return str((cell.record.environment.get("packages") or {}).get("marl-bench") or "?")


def _commit(cell: Cell) -> str:
    environment = cell.record.environment
    commit = environment.get("git_commit")
    return f"{commit[:9]}{'+' if environment.get('git_dirty') else ''}" if commit else "?"


def _date(run_dir: RunDir, cells: dict[int, Cell]) -> tuple[str, str]:
    recorded = [str(cell.record.costs.get("finished_at") or "") for cell in cells.values()]
    if all(recorded):
        return max(recorded), RECORDED
    files = [run_dir.cell(str(cell.record.arm["name"]), seed) / RECORD for seed, cell in cells.items()]
    latest = max(path.stat().st_mtime for path in files)
    return datetime.datetime.fromtimestamp(latest, datetime.UTC).isoformat(timespec="seconds"), FILE_DATE
