"""How the scores of the samples are spread, arm by arm."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from marl_bench.reporting.comparison import ORACLE, Arm
from marl_bench.reporting.formatting import metric_name, number, titled
from marl_bench.reporting.plots.dressing import dress, two_lines
from marl_bench.reporting.plots.plot import LeftOut, Sketch
from marl_bench.reporting.plots.source import Numbers, PlotSource
from marl_bench.reporting.plots.theme import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAME = "score_distributions"
_BINS = 40
_ROW_INCHES = 0.5
_NAMED = 4
_TAIL = 0.001
"""Share at each end that may lie outside the axis if it would squeeze everything else."""


@dataclasses.dataclass(frozen=True)
class _Spread:
    """The samples of one arm on one metric: counts by bin and five numbers, whatever the number of samples."""

    arm: Arm
    shares: Numbers
    quartiles: tuple[float, float, float]
    mean: float
    samples: int


@dataclasses.dataclass(frozen=True)
class _Column:
    metric: str
    edges: Numbers
    spreads: Sequence[_Spread]
    outside: int


def sketches(source: PlotSource) -> Iterator[Sketch | LeftOut]:
    """Yields the distributions of primary metric and oracle side by side."""
    metrics = dict.fromkeys((source.comparison.primary_metric, ORACLE))
    columns = [found for metric in metrics if (found := _column(source, metric))]
    if not columns:
        yield LeftOut(_NAME, "no sample has a score")
        return
    rows = max(len(column.spreads) for column in columns)
    outside = sum(column.outside for column in columns)
    beyond = f" {outside:,} samples lie beyond the axis." if outside else ""
    yield Sketch(
        name=_NAME,
        title=_title(columns[0]),
        subtitle=f"Held-out samples of all seeds. Bar: middle half, stroke: median, diamond: mean.{beyond}",
        caption=(
            "Each hill is a histogram of single samples, so it shows the spread between samples, not how well the mean "
            "is known: the intervals stand in the tables."
        ),
        alt="Histograms of samples. "
        + " ".join(
            f"{titled(metric_name(column.metric))} of {one.arm.label}: median {number(one.quartiles[1])}, middle half "
            f"{number(one.quartiles[0])} to {number(one.quartiles[2])}."
            for column in columns
            for one in column.spreads
        ),
        height=0.75 + _ROW_INCHES * rows,
        draw=lambda figure, theme: _draw(figure, theme, source, columns),
    )


def _column(source: PlotSource, metric: str) -> _Column | None:
    known = [(arm, values) for arm in source.arms if (values := source.values(arm, metric)).size]
    if not known:
        return None
    low, high = min(float(values.min()) for _, values in known), max(float(values.max()) for _, values in known)
    inner_low = min(float(np.quantile(values, _TAIL)) for _, values in known)
    inner_high = max(float(np.quantile(values, 1 - _TAIL)) for _, values in known)
    if high - low > 2 * (inner_high - inner_low) > 0:
        low, high = inner_low, inner_high
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    spreads = []
    outside = 0
    for arm, values in known:
        counts, _ = np.histogram(values, bins=edges)
        outside += values.size - int(counts.sum())
        first, median, third = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
        spreads.append(_Spread(arm, counts / values.size, (first, median, third), float(values.mean()), values.size))
    return _Column(metric, edges, spreads, outside)


def _title(column: _Column) -> str:
    name = metric_name(column.metric)
    medians = [(one.arm.label, one.quartiles[1]) for one in column.spreads]
    if len(medians) <= _NAMED:
        return f"Median {name}: {', '.join(f'{number(median)} for {label}' for label, median in medians)}"
    lowest, highest = min(medians, key=lambda one: one[1]), max(medians, key=lambda one: one[1])
    return f"Median {name}: from {number(lowest[1])} for {lowest[0]} to {number(highest[1])} for {highest[0]}"


def _draw(figure: "Figure", theme: Theme, source: PlotSource, columns: Sequence[_Column]) -> None:
    arms = [arm for arm in source.arms if any(one.arm == arm for column in columns for one in column.spreads)]
    places = {arm.name: place for place, arm in enumerate(arms)}
    for index, axes in enumerate(figure.subplots(1, len(columns), sharey=True, squeeze=False).flat):
        column = columns[index]
        dress(axes, theme, x=titled(metric_name(column.metric)), grid="x")
        tallest = max(float(one.shares.max()) for one in column.spreads)
        for one in column.spreads:
            _draw_spread(axes, theme, source, one, column.edges, place=places[one.arm.name], tallest=tallest)
        axes.spines["left"].set_visible(False)
        axes.tick_params(left=False)
    first = figure.axes[0]
    first.set_yticks(range(len(arms)), [two_lines(arm.label, 8.5, width=150) for arm in arms], color=theme.text)
    first.set_ylim(len(arms) - 0.6, -0.85)


def _draw_spread(
    axes: "Axes", theme: Theme, source: PlotSource, one: _Spread, edges: Numbers, *, place: int, tallest: float
) -> None:
    style = source.styles[one.arm.name]
    colour = style.of(theme)
    hill = place - 0.75 * one.shares / tallest
    axes.stairs(hill, edges, baseline=place, fill=True, color=colour, alpha=0.35, linewidth=0)
    axes.stairs(hill, edges, baseline=place, color=colour, linewidth=1.1)
    below = place + 0.12
    axes.plot([one.quartiles[0], one.quartiles[2]], [below, below], color=colour, linewidth=4, solid_capstyle="butt")
    axes.plot([one.quartiles[1]], [below], marker="|", markersize=9, markeredgewidth=1.8, color=theme.text, zorder=4)
    axes.plot(
        [one.mean], [below], marker="D", markersize=4.5, color=theme.background, markeredgecolor=theme.text,
        markeredgewidth=0.9, zorder=5,
    )  # fmt: skip
