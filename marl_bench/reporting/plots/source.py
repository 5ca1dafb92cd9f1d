"""What plots are drawn from: the comparison, the curves, columns of the samples."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from marl_bench.records import Cell
from marl_bench.reporting.comparison import Arm, Comparison
from marl_bench.reporting.plots.theme import Style, styles

Numbers = npt.NDArray[np.float64]

Curve = tuple[Numbers, Numbers]
"""x and y of one line, finite numbers only."""


@dataclasses.dataclass(frozen=True)
class PlotSource:
    """Everything a plot may read.

    Attributes:
        comparison: The numbers of the report.
        cells: Arm name to seed to its complete cell.
        folders: Folders of the experiments, for sweeps, judgements and macro actions.
        styles: Arm name to how it is drawn in every plot.
    """

    comparison: Comparison
    cells: Mapping[str, Mapping[int, Cell]]
    folders: Sequence[Path]
    styles: Mapping[str, Style]

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


def plot_source(cells: Sequence[Cell], comparison: Comparison, folders: Sequence[Path] = ()) -> PlotSource:
    """Returns the source of all plots of a comparison."""
    by_arm: dict[str, dict[int, Cell]] = {}
    for cell in cells:
        if cell.record.status == "complete":
            by_arm.setdefault(str(cell.record.arm["name"]), {})[cell.record.seed] = cell
    return PlotSource(comparison, by_arm, list(folders), styles([found.arm for found in comparison.arms]))


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
