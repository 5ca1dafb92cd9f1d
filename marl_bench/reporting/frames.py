"""Records as rows and as pandas DataFrames."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marl_bench.records import Cell, RunRecord
from marl_bench.run_dir import RunDir, read_cells

if TYPE_CHECKING:
    import pandas as pd

SCORE_COLUMNS = ("arm", "seed", "metric", "value")

Row = tuple[str, int, str, float]


def score_rows(cells: Iterable[Cell]) -> list[Row]:
    """Returns arm, seed, metric, value for every complete cell, sorted; nothing from the clock."""
    return sorted(
        (str(cell.record.arm["name"]), cell.record.seed, name, float(value))
        for cell in cells
        if cell.record.status == "complete"
        for name, value in cell.record.metrics.items()
    )


def cost_rows(cells: Iterable[Cell]) -> list[Row]:
    """Returns arm, seed, cost, value for every complete cell, sorted; seconds and MiB."""
    return sorted(
        (str(cell.record.arm["name"]), cell.record.seed, name, value)
        for cell in cells
        if cell.record.status == "complete"
        for name, value in cost_items(cell.record)
    )


def cost_items(record: RunRecord) -> Iterator[tuple[str, float]]:
    """Yields the costs of a cell flat: `seconds_rollout`, ..., `seconds_per_update`, `peak_memory_mib`."""
    for name, value in record.costs.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}_{part}", float(item)) for part, item in value.items() if item is not None)
        elif isinstance(value, int | float):  # a date is no cost
            yield name, float(value)


def load_scores(folder: Path | str) -> "pd.DataFrame":
    """Returns the scores of an experiment: one row for each arm, seed and metric (`arm`, `seed`, `metric`, `value`).

    Raises:
        RecordError: The folder holds no experiment, or a record cannot be read.
    """
    return scores_frame(_cells(folder))


def load_curves(folder: Path | str) -> "pd.DataFrame":
    """Returns the learning curves of an experiment: `arm`, `seed`, then a column a logged number, one row an update.

    Raises:
        RecordError: The folder holds no experiment, or a record cannot be read.
    """
    return curves_frame(_cells(folder))


def load_samples(folder: Path | str) -> "pd.DataFrame":
    """Returns the evaluated samples of an experiment, one row each, with a column a metric (NaN where unscored).

    Raises:
        RecordError: The folder holds no experiment, or a record cannot be read.
    """
    return samples_frame(_cells(folder))


def scores_frame(cells: Sequence[Cell]) -> "pd.DataFrame":
    """Returns what `load_scores` returns, from cells."""
    import pandas as pd

    return pd.DataFrame(score_rows(cells), columns=list(SCORE_COLUMNS))


def curves_frame(cells: Sequence[Cell]) -> "pd.DataFrame":
    """Returns what `load_curves` returns, from cells; histograms stay mappings."""
    return _frame([_keys(cell) | dict(line) for cell in cells for line in cell.curve], first=("arm", "seed", "update"))


def samples_frame(cells: Sequence[Cell]) -> "pd.DataFrame":
    """Returns what `load_samples` returns, from cells."""
    rows = []
    for cell in cells:
        for sample in cell.samples:
            row = sample.to_json()
            metrics = row.pop("metrics")
            # A metric may be called like a column (`finished`); the column already says it.
            rows.append(_keys(cell) | row | {name: value for name, value in metrics.items() if name not in row})
    return _frame(rows, first=("arm", "seed", "prompt_id"))


def _cells(folder: Path | str) -> list[Cell]:
    return read_cells(RunDir(Path(folder)))


def _keys(cell: Cell) -> dict[str, Any]:
    return {"arm": str(cell.record.arm["name"]), "seed": cell.record.seed}


def _frame(rows: Sequence[Mapping[str, Any]], *, first: Sequence[str]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(list(rows), columns=None if rows else list(first))
