"""What plots are drawn from: the comparison, the curves, columns of the samples."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from marl_bench.records import Cell
from marl_bench.reporting.arm_cells import ArmCells, arms_of
from marl_bench.reporting.comparison import Arm, Comparison
from marl_bench.reporting.pairs import differences_by_prompt, on_shared_prompts
from marl_bench.reporting.plots.theme import Style, styles
from marl_bench.run_dir import RunDir

Numbers = npt.NDArray[np.float64]

Curve = tuple[Numbers, Numbers]
"""x and y of one line, finite numbers only."""


@dataclasses.dataclass(frozen=True)
class PlotSource:
    """Everything a plot may read.

    Attributes:
        comparison: The numbers of the report.
        complete: The complete cells.
        run_dirs: The experiments, for sweeps, judgements and macro actions.
        styles: Arm name to how it is drawn in every plot.
    """

    comparison: Comparison
    complete: Sequence[Cell]
    run_dirs: Sequence[RunDir]
    styles: Mapping[str, Style]

    @functools.cached_property
    def arm_cells(self) -> Mapping[str, ArmCells]:
        """Arm name to its cells, whose samples are columns: no text is read."""
        return {one.arm.name: one for one in arms_of(self.complete)}

    @functools.cached_property
    def cells(self) -> Mapping[str, Mapping[int, Cell]]:
        """Arm name to seed to its complete cell."""
        by_arm: dict[str, dict[int, Cell]] = {}
        for cell in self.complete:
            by_arm.setdefault(str(cell.record.arm["name"]), {})[cell.record.seed] = cell
        return by_arm

    @property
    def arms(self) -> Sequence[Arm]:
        """The arms in the order of the report."""
        return [found.arm for found in self.comparison.arms]

    def curves(self, arm: Arm, x: str, y: str) -> dict[int, Curve]:
        """Returns seed to the line of two logged numbers; updates without both are left out, seeds without any too."""
        found = {}
        for seed, cell in self.cells.get(arm.name, {}).items():
            pairs = [(_finite(line.get(x)), _finite(line.get(y))) for line in cell.curve]
            known = [(one, other) for one, other in pairs if one is not None and other is not None]
            if known:
                xs, ys = np.array(known, dtype=np.float64).T
                found[seed] = (xs, ys)
        return found

    def values(self, arm: Arm, metric: str) -> Numbers:
        """Returns the arm's values of a metric, all scored samples of all seeds."""
        cells = self.cells.get(arm.name, {}).values()
        columns = [cell.columns.metrics[metric] for cell in cells if metric in cell.columns.metrics]
        joined = np.concatenate(columns) if columns else np.array([], dtype=np.float64)
        return joined[np.isfinite(joined)]

    def differences(self, arm: Arm, reference: Arm, metric: str) -> Numbers:
        """Returns arm minus reference on each prompt that both have scored in every shared seed, as means over seeds."""
        first, second = on_shared_prompts(self.arm_cells[arm.name], self.arm_cells[reference.name], metric)
        return differences_by_prompt(first, second)


def plot_source(cells: Sequence[Cell], comparison: Comparison, run_dirs: Sequence[RunDir] = ()) -> PlotSource:
    """Returns the source of all plots of a comparison."""
    complete = [cell for cell in cells if cell.record.status == "complete" and cell.samples]
    return PlotSource(comparison, complete, list(run_dirs), styles([found.arm for found in comparison.arms]))


def mean_line(curves: Mapping[int, Curve]) -> tuple[Numbers, Numbers, Numbers]:
    """Returns x, the mean over seeds and all seeds' values, [seeds, points]; it ends where the shortest seed does.

    A mean over fewer seeds at the end would jump.
    """
    shortest = min(len(xs) for xs, _ in curves.values())
    xs = np.array([xs[:shortest] for xs, _ in curves.values()])
    ys = np.array([ys[:shortest] for _, ys in curves.values()])
    return xs.mean(axis=0), ys.mean(axis=0), ys


def _finite(value: object) -> float | None:
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return None
