"""Which samples the browser shows and every number of them, read line by line: what is kept grows with the rows shown, not with the files."""

import array
import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from marl_bench.errors import RecordError
from marl_bench.macro_traces import MACRO_ACTIONS
from marl_bench.reporting.comparison import Comparison
from marl_bench.run_dir import SAMPLES, RunDir, read_record

Key = tuple[str, int]
"""Prompt id and sample index: one row of the browser."""

MISSING = -1
"""Stands for the place of a line that a cell does not have."""

_TITLE_CHARACTERS = 110


@dataclasses.dataclass(frozen=True)
class CellFiles:
    """A complete cell of the comparison.

    Attributes:
        arm: Place of its arm in the comparison.
        seed: Its seed.
        folder: Where its files are.
    """

    arm: int
    seed: int
    folder: Path


@dataclasses.dataclass(frozen=True)
class CellIndex:
    """Where the rows' lines stand in a cell's files, and their numbers.

    Attributes:
        cell: Whose.
        lines: Row to its line's place in `samples.jsonl`, -1 where the cell has none.
        traces: Row to its line's place in `macro_actions.jsonl`, likewise.
        tokens: Row to tokens of the response; -1 where nobody knows.
        cut: Row to 1 where the response is known to have been cut at the limit.
        metrics: Metric to its value by row; NaN where there is none.
        samples: Lines of `samples.jsonl`, shown or not.
    """

    cell: CellFiles
    lines: "array.array[int]"
    traces: "array.array[int]"
    tokens: "array.array[int]"
    cut: "array.array[int]"
    metrics: dict[str, "array.array[float]"]
    samples: int


@dataclasses.dataclass(frozen=True)
class Samples:
    """The rows of the browser.

    Attributes:
        rows: Prompt id and sample index to the row's place, in the order of evaluation.
        subsets: Subset of each row.
        titles: The first characters of each row's prompt.
        cells: What is known of each cell.
    """

    rows: Mapping[Key, int]
    subsets: Sequence[str]
    titles: Sequence[str]
    cells: Sequence[CellIndex]

    @property
    def left_out(self) -> int:
        """Samples of the largest cell that are not among the rows."""
        return max((index.samples for index in self.cells), default=0) - len(self.rows)


def cells_of(run_dirs: Sequence[RunDir], comparison: Comparison) -> list[CellFiles]:
    """Returns the cells that are in the comparison's numbers, by arm and seed."""
    arms = {found.arm.name: place for place, found in enumerate(comparison.arms)}
    counted = {(found.arm.name, seed) for found in comparison.arms for seed in found.seeds}
    cells = []
    for run_dir in run_dirs:
        for folder in sorted(run_dir.cells.glob("*")):
            record = read_record(folder)
            if record and record.status == "complete" and (str(record.arm["name"]), record.seed) in counted:
                cells.append(CellFiles(arms[str(record.arm["name"])], record.seed, folder))
    return sorted(cells, key=lambda cell: (cell.arm, cell.seed))


def index_samples(cells: Sequence[CellFiles], *, limit: int) -> Samples:
    """Reads the cells' files once and keeps the first `limit` rows.

    Raises:
        RecordError: A line is damaged; the text names file and line.
    """
    rows: dict[Key, int] = {}
    subsets: list[str] = []
    titles: list[str] = []
    indices = []
    for cell in cells:
        index = _empty_index(cell, limit)
        for row, offset, sample in _rows_of(cell, rows, limit=limit):
            if row == len(titles):
                subsets.append(str(sample["subset"]))
                titles.append(" ".join(str(sample["prompt"])[: 4 * _TITLE_CHARACTERS].split())[:_TITLE_CHARACTERS])
            _take(index, row, offset, sample)
        indices.append(index)
    for index in indices:
        _index_traces(index, rows)
    return Samples(rows, subsets, titles, indices)


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yields where each line of a JSON-lines file begins, and what stands there.

    Raises:
        RecordError: A line is not JSON; the text names file and line.
    """
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield offset, json.loads(line)
            except ValueError as error:
                raise RecordError(f"{path}, line {number}: not JSON ({error}); run the cell again.") from error
            offset += len(line)


def json_line_at(file: BinaryIO, offset: int) -> Any:
    """Returns what stands in the line that begins there."""
    file.seek(offset)
    return json.loads(file.readline())


def _empty_index(cell: CellFiles, limit: int) -> CellIndex:
    path = cell.folder / SAMPLES
    with path.open("rb") as file:
        count = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    missing = array.array("q", [MISSING]) * limit
    return CellIndex(cell, missing[:], missing[:], missing[:], array.array("b", [0]) * limit, {}, count)


def _rows_of(cell: CellFiles, rows: dict[Key, int], *, limit: int) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
    """Yields row, place of the line and sample of the rows that the cell has; adds rows until there are `limit`."""
    found: set[int] = set()
    for offset, sample in json_lines(cell.folder / SAMPLES):
        key = (str(sample["prompt_id"]), int(sample["sample_index"]))
        if key not in rows:
            if len(rows) >= limit:
                continue
            rows[key] = len(rows)
        row = rows[key]
        if row not in found:
            found.add(row)
            yield row, offset, sample
        if len(found) == limit:
            return  # nothing further down can be shown


def _take(index: CellIndex, row: int, offset: int, sample: Mapping[str, Any]) -> None:
    index.lines[row] = offset
    index.tokens[row] = -1 if sample["token_count"] is None else int(sample["token_count"])
    index.cut[row] = sample["finished"] is False
    for name, value in sample["metrics"].items():
        if name not in index.metrics:
            index.metrics[name] = array.array("d", [math.nan]) * len(index.lines)
        if value is not None:
            index.metrics[name][row] = float(value)


def _index_traces(index: CellIndex, rows: Mapping[Key, int]) -> None:
    path = index.cell.folder / MACRO_ACTIONS
    if path.exists():
        for offset, trace in json_lines(path):
            row = rows.get((str(trace["prompt_id"]), int(trace["sample_index"])))
            if row is not None:
                index.traces[row] = offset
