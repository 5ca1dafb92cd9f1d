"""How a run looks while it works: its cells, and curves as rows of blocks, for a terminal or as lines for pipes."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from marl_bench.display import duration
from marl_bench.errors import UnknownNameError
from marl_bench.reporting.formatting import NONE, counted, metric_name, number
from marl_bench.reporting.rendering import as_plain_text, as_rich_table
from marl_bench.reporting.tables import Table
from marl_bench.watching.state import CellState, RunState

if TYPE_CHECKING:
    import rich.console

BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH = 40
"""Columns of a curve; longer ones are averaged into so many."""


def as_text(state: RunState, metrics: Sequence[str]) -> str:
    """Returns the view for pipes: an item a line.

    Raises:
        UnknownNameError: No cell has a figure of that name.
    """
    lines = [f"Run | {headline(state)}", *(f"Warning | {problem}" for problem in state.problems)]
    lines += [text for table in _tables(state, metrics) if (text := as_plain_text(table))]
    return "\n".join(lines)


def for_terminal(state: RunState, metrics: Sequence[str]) -> "rich.console.RenderableType":
    """Returns the view for a terminal; raises as `as_text`."""
    import rich.console
    import rich.text

    parts: list[rich.console.RenderableType] = [rich.text.Text(headline(state), style="bold")]
    parts += [rich.text.Text(f"Warning: {problem}", style="yellow") for problem in state.problems]
    parts += [as_rich_table(table) for table in _tables(state, metrics) if table.rows]
    return rich.console.Group(*parts)


def headline(state: RunState) -> str:
    """Returns one line: who, how far, how long."""
    counts = {status: sum(cell.status == status for cell in state.cells) for status in _STATUSES}
    counts["not begun"] = max(0, state.planned - len(state.cells))
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    work = {True: "at work", False: "nobody at work", None: "cannot tell who is at work"}[state.working]
    stages = ", ".join(
        f"{stage.name} {'finished' if stage.finished else stage.checkpoint or 'not finished'}" for stage in state.stages
    )
    parts = [state.name, f"task {state.task}", "finished" if state.finished else work, f"shared stages: {stages}"]
    parts.append(f"{counted(state.planned, 'cell')}: {told}")
    left = seconds_left(state)
    if left is not None and state.working is not False and not state.finished:
        parts.append(f"about {duration(left)} left")
    return " | ".join(parts)


def seconds_left(state: RunState) -> float | None:
    """Returns the time until the last update of all cells at the pace so far; those that have not begun count as the slowest that has.

    Evaluations are not counted. None where nothing is known.
    """
    known = [cell.seconds_left for cell in state.cells if cell.seconds_left is not None]
    whole = [
        cell.updates * cell.seconds_an_update
        for cell in state.cells
        if cell.updates and cell.seconds_an_update is not None
    ]
    if not whole:
        return None
    side_by_side = max(1, sum(cell.status == "running" for cell in state.cells))
    return (sum(known) + max(0, state.planned - len(state.cells)) * max(whole)) / side_by_side


def blocks(values: Sequence[float], *, low: float, high: float) -> str:
    """Returns a curve as one row of blocks between two ends; a level curve lies in the middle."""
    bins = min(WIDTH, len(values))
    edges = [round(place * len(values) / bins) for place in range(bins + 1)] if bins else []
    means = [sum(values[start:end]) / (end - start) for start, end in itertools.pairwise(edges)]
    span = high - low
    levels = ((mean - low) / span if span > 0 else 0.5 for mean in means)
    return "".join(BLOCKS[min(len(BLOCKS) - 1, int(level * len(BLOCKS)))] for level in levels)


def mean_curve(cells: Sequence[CellState], metric: str) -> dict[int, float]:
    """Returns update to mean over the seeds that have got there."""
    values: dict[int, list[float]] = {}
    for cell in cells:
        for line in cell.curve:
            value = line.get(metric)
            if isinstance(value, int | float):
                values.setdefault(line["update"], []).append(float(value))
    return {update: sum(found) / len(found) for update, found in sorted(values.items())}


_STATUSES = ("complete", "running", "failed", "stale")


def _tables(state: RunState, metrics: Sequence[str]) -> list[Table]:
    known = state.metrics()
    for metric in metrics:
        if known and metric not in known:
            raise UnknownNameError("metric of the curves", metric, known)
    return [_cells_table(state), *(_curves_table(state, metric) for metric in metrics)]


def _cells_table(state: RunState) -> Table:
    rows = []
    for cell in state.cells:
        updates = f"{cell.done}/{cell.updates if cell.updates is not None else '?'}" if cell.updates != 0 else NONE
        pace = f"{number(cell.seconds_an_update)} s" if cell.seconds_an_update is not None else NONE
        left = duration(cell.seconds_left) if cell.status == "running" and cell.updates else NONE
        rows.append((cell.arm, str(cell.seed), _status(cell), updates, pace, left))
    return Table("Cells", ("Arm", "Seed", "Status", "Update", "An update", "Left"), rows, text_columns=3)


def _status(cell: CellState) -> str:
    if cell.status == "stale":
        return f"stale: nobody works on it, silent for {duration(cell.silent_seconds)}"
    if cell.status == "failed":
        return f"failed: {cell.error or 'no error recorded'}"
    at_its_end = cell.status == "running" and cell.updates is not None and cell.done >= cell.updates
    return "running: evaluation" if at_its_end else cell.status


def _curves_table(state: RunState, metric: str) -> Table:
    curves: Mapping[str, dict[int, float]] = {
        arm: curve for arm, cells in state.arms().items() if (curve := mean_curve(cells, metric))
    }
    everything = [value for curve in curves.values() for value in curve.values()]
    low, high = (min(everything), max(everything)) if everything else (0.0, 0.0)
    rows = []
    for arm, curve in curves.items():
        last = max(curve)
        seeds = sum(cell.done >= last for cell in state.arms()[arm])
        drawn = blocks(list(curve.values()), low=low, high=high)
        rows.append((arm, drawn, number(curve[min(curve)]), number(curve[last]), str(last), str(seeds)))
    name = metric_name(metric)
    title = f"{name[:1].upper()}{name[1:]}, {number(low)} to {number(high)}"
    return Table(title, ("Arm", "Curve", "First", "Latest", "At update", "Seeds"), rows, text_columns=2)
