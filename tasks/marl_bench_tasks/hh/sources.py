"""Where rows come from: the embedded generator, the hub, or a local folder; each row with its subset's name."""

import collections
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from marl_bench.dataset_rows import check_data_folder, dataset_rows
from marl_bench.errors import DataError
from marl_bench_tasks.hh.embedded import embedded_rows

PlacedRow = tuple[str, str, Mapping[str, Any]]

Subset = Literal["helpful-base", "harmless-base", "helpful-online", "helpful-rejection-sampled"]
SUBSETS: tuple[Subset, ...] = typing.get_args(Subset)
ANTHROPIC_ID = "Anthropic/hh-rlhf"
ANTHROPIC_REVISION = "09be8c5bbc57cb3887f3a9732ad6aa7ec602a1fa"
DAHOAS_ID = "Dahoas/full-hh-rlhf"
DAHOAS_REVISION = "main"  # plain data files; no commit of it is known to us

PUBLISHED_ROWS: Mapping[str, Mapping[str, int]] = {
    "helpful-base": {"train": 43835, "test": 2354},
    "harmless-base": {"train": 42537, "test": 2312},
    "helpful-online": {"train": 22007, "test": 1137},
    "helpful-rejection-sampled": {"train": 52421, "test": 2749},
    DAHOAS_ID: {"train": 112052, "test": 12451},
}
"""Of each subset, and of the whole of the data set with answers only."""


class CountedRows:
    """Passes rows on and counts them by part of the data and split."""

    def __init__(self) -> None:
        """Starts with none."""
        self._counts: dict[str, collections.Counter[str]] = {}

    def counted(self, rows: Iterator[PlacedRow]) -> Iterator[PlacedRow]:
        """Yields the rows as they are."""
        for split, where, row in rows:
            part = DAHOAS_ID if "prompt" in row else row.get("subset") or "all"
            self._counts.setdefault(part, collections.Counter())[split] += 1
            yield split, where, row

    def notes(self, *, is_hub: bool) -> list[str]:
        """Returns a sentence for each part with the published count or, on the hub, with another one."""
        notes = []
        for part, counts in self._counts.items():
            published = PUBLISHED_ROWS.get(part)
            if published is None or (dict(counts) != published and not is_hub):
                continue
            verdict = "as published" if dict(counts) == published else f"the published data has {_numbers(published)}"
            notes.append(f"{part}: {_numbers(counts)} rows were read, {verdict}.")
        return notes


def embedded(*, seed: int) -> Iterator[PlacedRow]:
    """Yields split, place and row of the embedded rows."""
    for number, row in enumerate(embedded_rows(seed=seed)):
        yield row["split"], f"embedded row {number}", row


def hub_rows(
    dataset: Literal["anthropic", "dahoas"], subsets: Sequence[str], revision: str | None
) -> Iterator[PlacedRow]:
    """Yields the rows of a data set of the hub.

    Raises:
        DataError: It cannot be read.
    """
    if dataset == "dahoas":
        arguments = {"path": DAHOAS_ID, "revision": revision or DAHOAS_REVISION}
        yield from dataset_rows(arguments, source=f"hub data set {DAHOAS_ID}")
        return
    for subset in subsets:
        arguments = {"path": ANTHROPIC_ID, "data_dir": subset, "revision": revision or ANTHROPIC_REVISION}
        yield from _named(dataset_rows(arguments, source=f"hub data set {ANTHROPIC_ID}/{subset}"), subset)


def folder_rows(folder: Path, subsets: Sequence[str]) -> Iterator[PlacedRow]:
    """Yields the rows of a folder with a sub-folder for each subset, or with train and test files of its own.

    Raises:
        DataError: The folder is missing, empty or not readable, or lacks one of the subsets.
    """
    holds = f"the sub-folders {', '.join(SUBSETS)}, each with train and test files, or such files of its own"
    check_data_folder(folder, holds=holds)
    name = folder.resolve().name  # places go into reports, which hold no absolute paths
    there = [subset for subset in SUBSETS if (folder / subset).is_dir()]
    if not there:
        yield from dataset_rows({"path": str(folder)}, source=f"data folder '{name}'")
        return
    missing = [subset for subset in subsets if subset not in there]
    if missing:
        raise DataError(
            f"data folder '{folder}': has no sub-folder {', '.join(missing)}; has {', '.join(there)}. "
            f"Set task_options.subsets to what should be read."
        )
    for subset in subsets:
        source = f"data folder '{name}/{subset}'"
        check_data_folder(folder / subset, holds="train and test files")
        yield from _named(dataset_rows({"path": str(folder / subset)}, source=source), subset)


def _named(rows: Iterator[PlacedRow], subset: str) -> Iterator[PlacedRow]:
    for split, where, row in rows:
        yield split, where, {**row, "subset": subset}


def _numbers(counts: Mapping[str, int]) -> str:
    return " and ".join(f"{count:,} {split}" for split, count in counts.items())
