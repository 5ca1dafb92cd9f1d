"""Length against win rate or score: does an arm win by longer answers?"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from marl_bench.reporting.comparison import ORACLE, Arm, Comparison
from marl_bench.reporting.formatting import interval, metric_name, number, percent, percent_interval, titled
from marl_bench.reporting.plots.dressing import MANY_ARMS, dress, legend_label, line_style
from marl_bench.reporting.plots.plot import LeftOut, Sketch
from marl_bench.reporting.plots.source import Numbers, PlotSource
from marl_bench.reporting.plots.theme import Style, Theme
from marl_bench.statistics.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAME = "length"
_LENGTH = "response_tokens"
_FIFTHS = 5
_NAMED = 2


@dataclasses.dataclass(frozen=True)
class _Point:
    """An arm's mean length and what is held against it, each with its interval over prompts."""

    arm: Arm
    length: float
    length_interval: Interval | None
    value: float
    value_interval: Interval | None


@dataclasses.dataclass(frozen=True)
class _Rates:
    """Win rates of arms against one arm by one judge."""

    judge: str
    reference: str
    by_arm: Sequence[tuple[Arm, Interval]]


@dataclasses.dataclass(frozen=True)
class _Points:
    """The left panel.

    Attributes:
        label: Of the y axis.
        points: A point an arm.
        rates: The win rates that the points show; None where they show a score.
    """

    label: str
    points: Sequence[_Point]
    rates: _Rates | None


def sketches(source: PlotSource) -> Iterator[Sketch | LeftOut]:
    """Yields length against win rate, and score by length within each arm."""
    found = _points(source.comparison)
    if not found.points:
        yield LeftOut(_NAME, "no arm has both a response length and a win rate or score")
        return
    metric = source.comparison.primary_metric
    bins = {arm.name: line for arm in _binned_arms(source.arms) if (line := _by_length(source, arm, metric))}
    shown = percent if found.rates else number
    yield Sketch(
        name=_NAME,
        title=_title(found),
        subtitle=(
            "Left: means with 95 % intervals over prompts. Right: the samples of each arm in fifths by length, mean "
            f"{metric_name(metric)} of each fifth."
            if bins
            else "Means with 95 % intervals over prompts."
        ),
        caption=(
            "A judge or a reward model that favours length shows as lines that rise on the right, and an arm that uses "
            "it stands further to the right on the left. Neither panel says which causes which."
        ),
        alt="Scatter plot of response length and "
        + found.label
        + ". "
        + " ".join(
            f"{one.arm.label}: {number(one.length)} tokens, {shown(one.value)} "
            f"{percent_interval(one.value_interval) if found.rates else interval(one.value_interval)}."
            for one in found.points
        ),
        height=3.3,
        draw=lambda figure, theme: _draw(figure, theme, source, found, bins),
    )


def _points(comparison: Comparison) -> _Points:
    rates = _rates(comparison)
    lengths = {one.arm.name: one.metrics[_LENGTH] for one in comparison.arms if _LENGTH in one.metrics}
    points = []
    for arm, rate in rates.by_arm if rates else []:
        own = lengths.get(arm.name)
        if own:
            points.append(_Point(arm, own.mean, own.over_prompts, rate.estimate, rate))
    if rates and points:
        return _Points(f"Win rate against {rates.reference}, by {rates.judge} (%)", points, rates)
    metric = comparison.primary_metric
    for one in comparison.arms:
        score, own = one.metrics.get(metric), lengths.get(one.arm.name)
        if score and own:
            points.append(_Point(one.arm, own.mean, own.over_prompts, score.mean, score.over_prompts))
    return _Points(titled(metric_name(metric)), points, None)


def _rates(comparison: Comparison) -> _Rates | None:
    """Returns the win rates of one judge against one arm: of the judge with most pairs before the oracle, against SFT before token PPO."""
    arms = {one.arm.label: one.arm for one in comparison.arms}
    found: list[tuple[str, Arm, str, Interval]] = []
    for judged in sorted(comparison.judged, key=lambda judged: judged.unscored - judged.pairs):
        for rate in judged.rates:
            if rate.arm in arms and rate.found.rate is not None:
                found.append((judged.judgement.judge, arms[rate.arm], rate.reference, rate.found.rate))
    found += [(ORACLE, rate.arm, rate.reference.label, rate.rate) for rate in comparison.win_rates]
    for judge in dict.fromkeys(judge for judge, *_ in found):
        for reference in (comparison.start, comparison.token):
            label = reference.label if reference else None
            by_arm = [(arm, rate) for by, arm, against, rate in found if (by, against) == (judge, label)]
            if label and by_arm:
                return _Rates(judge, label, by_arm)
    return None


def _title(found: _Points) -> str:
    macros = [one for one in found.points if one.arm.role == "macro"] or list(found.points)
    token = [one for one in found.points if one.arm.role == "token"]
    if len(macros) > _NAMED:
        lengths = [one.length for one in found.points]
        return (
            f"{len(found.points)} arms answer with {number(min(lengths))} to {number(max(lengths))} tokens on average"
        )
    verb = "win" if found.rates else "score"
    shown = percent if found.rates else number
    texts = [
        f"{one.arm.label}: {number(one.length)} tokens, {verb}s {shown(one.value)}{_ends(found, one)}"
        for one in dict.fromkeys([*macros, *token])
    ]
    against = f" against {found.rates.reference}" if found.rates else ""
    return "; ".join(texts) + against


def _ends(found: _Points, one: _Point) -> str:
    """Returns the interval of a rate, without which two rates in a title would read as a difference."""
    return f" {percent_interval(one.value_interval)}" if found.rates and one.value_interval else ""


def _binned_arms(arms: Sequence[Arm]) -> Sequence[Arm]:
    """Returns the arms whose lines can be told apart: all, or SFT, token PPO and the first macro arms."""
    if len(arms) <= MANY_ARMS:
        return arms
    order = {role: place for place, role in enumerate(("start", "token", "macro", "control", "other"))}
    chosen = sorted(arms, key=lambda arm: order[arm.role])[:MANY_ARMS]
    return [arm for arm in arms if arm in chosen]


def _by_length(source: PlotSource, arm: Arm, metric: str) -> tuple[Numbers, Numbers] | None:
    """Returns mean length and mean score of each fifth of the arm's samples by length; None with too few samples."""
    lengths, scores = [], []
    for cell in source.cells.get(arm.name, {}).values():
        known = cell.columns.metrics
        if _LENGTH in known and metric in known:
            both = np.isfinite(known[_LENGTH]) & np.isfinite(known[metric])
            lengths.append(known[_LENGTH][both])
            scores.append(known[metric][both])
    if not lengths or sum(one.size for one in lengths) < 4 * _FIFTHS:
        return None
    length, score = np.concatenate(lengths), np.concatenate(scores)
    # Equal lengths stay together: many samples stand exactly at the limit.
    part = np.searchsorted(np.quantile(length, np.arange(1, _FIFTHS) / _FIFTHS), length, side="left")
    counts = np.bincount(part, minlength=_FIFTHS)
    filled = counts > 0
    return (
        np.bincount(part, weights=length, minlength=_FIFTHS)[filled] / counts[filled],
        np.bincount(part, weights=score, minlength=_FIFTHS)[filled] / counts[filled],
    )


def _draw(
    figure: "Figure", theme: Theme, source: PlotSource, found: _Points, bins: dict[str, tuple[Numbers, Numbers]]
) -> None:
    left, *rest = figure.subplots(1, 2 if bins else 1, squeeze=False).flat
    dress(left, theme, x="Mean response length (tokens)", y=found.label)
    scale = 100 if found.rates else 1
    if found.rates:
        left.axhline(50, color=theme.muted, linewidth=0.9, linestyle=(0, (3, 3)))
    for one in found.points:
        # A line and a marker of one arm have one entry in the legend: the line's.
        label = "_" if one.arm.name in bins else legend_label(one.arm.label)
        _draw_point(left, theme, source.styles[one.arm.name], one, scale=scale, label=label)
    for axes in rest:
        metric = source.comparison.primary_metric
        dress(axes, theme, x="Response length (tokens)", y=titled(metric_name(metric)))
        for arm in source.arms:
            if arm.name in bins:
                style = line_style(source.styles[arm.name], theme)
                axes.plot(*bins[arm.name], label=legend_label(arm.label), **style)


def _draw_point(axes: "Axes", theme: Theme, style: Style, one: _Point, *, scale: float, label: str) -> None:
    colour = style.of(theme)
    if one.value_interval:
        ends = [scale * one.value_interval.low, scale * one.value_interval.high]
        axes.plot([one.length] * 2, ends, color=colour, linewidth=1.4)
    if one.length_interval:
        ends = [one.length_interval.low, one.length_interval.high]
        axes.plot(ends, [scale * one.value] * 2, color=colour, linewidth=1.4)
    axes.plot(
        [one.length],
        [scale * one.value],
        **{**line_style(style, theme), "markersize": 9.0, "linestyle": "none"},  # type: ignore[arg-type]
        label=label,
    )
