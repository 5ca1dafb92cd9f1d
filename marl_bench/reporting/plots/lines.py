"""Curves of arms with bands over seeds: in one panel while they can be told apart, else a small panel an arm."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from marl_bench.reporting.comparison import Arm
from marl_bench.reporting.formatting import counted
from marl_bench.reporting.plots.dressing import (
    MANY_ARMS,
    PANEL_COLUMNS,
    dress,
    legend_label,
    line_style,
    marked_every,
    two_lines,
)
from marl_bench.reporting.plots.plot import WIDTH_INCHES
from marl_bench.reporting.plots.source import Curve, Numbers, PlotSource, mean_line
from marl_bench.reporting.plots.theme import Theme
from marl_bench.statistics.parity import smoothed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INTERVAL_FROM_SEEDS = 5
"""From so many seeds on the band is the interval of the mean; below it would be wider than all seeds together."""

_PANEL_INCHES = 3.3
_FACET_INCHES = 1.75
_FACET_LABEL_POINTS = 8.0
_FAINT_POINTS = 60

ArmCurves = Mapping[str, Mapping[int, Curve]]
"""Arm name to seed to its line."""


@dataclasses.dataclass(frozen=True)
class Panel:
    """One number against another, a line an arm.

    Attributes:
        curves: Arm name to seed to its line; arms without lines are left out.
        x: Label of the x axis.
        y: Label of the y axis.
        whole_x: True if x counts something.
        window: Updates of the trailing mean that smooths both numbers of the mean line.
    """

    curves: ArmCurves
    x: str
    y: str
    whole_x: bool = False
    window: int = 1


def panel(source: PlotSource, x: tuple[str, str], y: tuple[str, str], *, whole_x: bool = False) -> Panel | None:
    """Returns the lines of all arms for two logged numbers (name and label), or None where no arm has any."""
    found = {arm.name: curves for arm in source.arms if (curves := source.curves(arm, x[0], y[0]))}
    return Panel(found, x[1], y[1], whole_x=whole_x) if found else None


def lines_height(panels: int, arms: int) -> float:
    """Returns the inches of panels of that many arms."""
    if arms <= MANY_ARMS:
        return _PANEL_INCHES
    return 0.35 + panels * _FACET_INCHES * math.ceil(arms / PANEL_COLUMNS)


def band_words(panels: Panel) -> str:
    """Returns what lines and bands mean, for the subtitle."""
    seeds = sorted({len(curves) for curves in panels.curves.values()})
    if seeds == [1]:
        return "One seed."
    count = counted(seeds[-1], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    interval, whole = "95 % interval of the mean", "from the lowest to the highest seed"
    if seeds[0] >= INTERVAL_FROM_SEEDS:
        band = interval
    elif seeds[-1] < INTERVAL_FROM_SEEDS:
        band = whole
    else:
        band = f"{interval} from {INTERVAL_FROM_SEEDS} seeds on, {whole} below"
    return f"Line: mean of {count}. Band: {band}."


def draw_lines(figure: "Figure", theme: Theme, source: PlotSource, *panels: Panel, banded: bool = True) -> None:
    """Draws the panels side by side, or with many arms below each other with a small panel an arm."""
    names = [arm for arm in source.arms if any(arm.name in one.curves for one in panels)]
    if len(names) > MANY_ARMS:
        _draw_facets(figure, theme, source, panels, banded=banded)
        return
    for axes, one in zip(figure.subplots(1, len(panels), squeeze=False).flat, panels, strict=True):
        dress(axes, theme, x=one.x, y=one.y)
        for arm in names:
            if arm.name in one.curves:
                _draw_arm(axes, theme, source, arm, one, banded=banded)
        _whole(axes, one)


def band(ys: Numbers) -> tuple[Numbers, Numbers] | None:
    """Returns the lower and upper edge of a band over seeds, [seeds, points] to two [points]; None with one seed."""
    seeds = len(ys)
    if seeds < 2:
        return None
    if seeds < INTERVAL_FROM_SEEDS:
        return ys.min(axis=0), ys.max(axis=0)
    from scipy.special import stdtrit

    half = float(stdtrit(seeds - 1, 0.975)) * ys.std(axis=0, ddof=1) / math.sqrt(seeds)
    return ys.mean(axis=0) - half, ys.mean(axis=0) + half


def _draw_arm(axes: "Axes", theme: Theme, source: PlotSource, arm: Arm, one: Panel, *, banded: bool) -> None:
    style = source.styles[arm.name]
    xs, mean, ys = mean_line(one.curves[arm.name])
    edges = band(ys) if banded else None
    if not banded and 1 < len(ys) < INTERVAL_FROM_SEEDS:
        for line in one.curves[arm.name].values():
            smooth = [smoothed(numbers.tolist(), window=one.window) for numbers in line]
            axes.plot(*smooth, color=style.of(theme), linestyle=style.line, linewidth=0.7, alpha=0.4)
    if edges:
        axes.fill_between(xs, *edges, color=style.of(theme), alpha=0.15, linewidth=0)
        for edge in edges:  # so that the band is seen in black and white, too
            axes.plot(xs, edge, color=style.of(theme), linewidth=0.6, linestyle=style.line, alpha=0.7)
    xs, mean = smoothed(xs.tolist(), window=one.window), smoothed(mean.tolist(), window=one.window)
    axes.plot(
        xs,
        mean,
        label=legend_label(arm.label),
        markevery=marked_every(len(xs)),
        zorder=3,
        **line_style(style, theme),  # type: ignore[arg-type]
    )


def _draw_facets(
    figure: "Figure", theme: Theme, source: PlotSource, panels: tuple[Panel, ...], *, banded: bool
) -> None:
    parts = figure.subfigures(len(panels), 1, squeeze=False).flat
    token = source.comparison.token
    for part, one in zip(parts, panels, strict=True):
        part.set_facecolor(theme.background)
        arms = [arm for arm in source.arms if arm.name in one.curves]
        rows = math.ceil(len(arms) / PANEL_COLUMNS)
        grid = part.subplots(rows, PANEL_COLUMNS, sharex=True, sharey=True, squeeze=False)
        for index, (axes, arm) in enumerate(zip(grid.flat, arms, strict=False)):
            dress(axes, theme)
            axes.plot(*_together(one, [other for other in arms if other is not arm]), color=theme.faint, linewidth=0.6)
            if token and token.name in one.curves and token.name != arm.name:
                style = source.styles[token.name]
                xs, mean, _ = mean_line(one.curves[token.name])
                axes.plot(xs, mean, color=style.of(theme), linewidth=1.3, linestyle=style.line, zorder=2)
            _draw_arm(axes, theme, source, arm, one, banded=banded)
            axes.get_lines()[-1].set_label("_")  # the panel's title names it
            axes.set_title(facet_title(arm.label), loc="left", size=_FACET_LABEL_POINTS, color=theme.text)
            axes.tick_params(labelbottom=index + PANEL_COLUMNS >= len(arms))
            _whole(axes, one)
        for axes in grid.flat[len(arms) :]:
            axes.set_visible(False)
        part.supxlabel(one.x, size=9.5, color=theme.text)
        part.supylabel(one.y, size=9.5, color=theme.text)


def _together(one: Panel, arms: Sequence[Arm]) -> tuple[Numbers, Numbers]:
    """Returns the mean lines of arms as one line with gaps, thinned: one path is drawn fifteen times as fast as fifteen."""
    xs: list[float] = []
    ys: list[float] = []
    for arm in arms:
        own_xs, mean, _ = mean_line(one.curves[arm.name])
        step = max(1, len(own_xs) // _FAINT_POINTS)
        xs += [*own_xs[::step], math.nan]
        ys += [*mean[::step], math.nan]
    return np.array(xs), np.array(ys)


def facet_title(label: str, *, columns: int = PANEL_COLUMNS) -> str:
    """Returns a label as the title of a small panel: two lines at most."""
    return two_lines(label, _FACET_LABEL_POINTS, width=(WIDTH_INCHES / columns - 0.35) * 72)


def _whole(axes: "Axes", one: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    if one.whole_x:
        low, high = axes.get_xlim()
        if high - low < 1:  # one update
            axes.set_xlim(low - 1, high + 1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7, min_n_ticks=1))


def last_value(ys: Numbers, window: int) -> float:
    """Returns the mean of the last `window` values."""
    return float(np.mean(ys[-window:]))
