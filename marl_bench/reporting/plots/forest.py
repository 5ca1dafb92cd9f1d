"""The headline: every arm minus token PPO, and every macro arm minus its control, with intervals over prompts and over seeds."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from marl_bench.reporting.comparison import ORACLE, Comparison, Difference
from marl_bench.reporting.formatting import counted, interval, listed, metric_name, signed, titled
from marl_bench.reporting.plots.dressing import dress
from marl_bench.reporting.plots.plot import WIDTH_INCHES, LeftOut, Sketch
from marl_bench.reporting.plots.source import PlotSource
from marl_bench.reporting.plots.text import shortened
from marl_bench.reporting.plots.theme import Theme
from marl_bench.reporting.reading import SHOWN, SHOWN_FOR_ONE_SEED, evidence, word
from marl_bench.statistics.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW_INCHES = 0.52
_HEAD_INCHES = 0.3
_LABEL_POINTS, _NUMBER_POINTS = 9.0, 8.0
_NAMED = 2
_REACH = 4.0
"""How many times wider than what the prompts' intervals need the axis may grow for intervals over seeds."""


@dataclasses.dataclass(frozen=True)
class _Group:
    head: str
    rows: Sequence[Difference]


def sketches(source: PlotSource) -> Iterator[Sketch | LeftOut]:
    """Yields one forest plot for the primary metric, one for the oracle."""
    comparison = source.comparison
    for metric in dict.fromkeys((comparison.primary_metric, ORACLE)):
        name = "differences" if metric == comparison.primary_metric else f"differences_{metric}"
        groups = _groups(comparison, metric)
        if groups:
            yield _sketch(source, name, metric, groups)
        elif metric == comparison.primary_metric or comparison.has_oracle:
            yield LeftOut(name, "no arm shares seeds and scored prompts with a plain token-PPO arm or with its control")


def _groups(comparison: Comparison, metric: str) -> list[_Group]:
    token = comparison.token
    against_token = [
        found
        for found in comparison.differences
        if token is not None and found.reference.name == token.name and found.metric == metric
    ]
    against_controls = [found for found in comparison.against_controls if found.metric == metric]
    groups = [_Group(f"Minus {token.label if token else ''}", against_token)] + [
        _Group(f"Minus {label}", [found for found in against_controls if found.reference.label == label])
        for label in dict.fromkeys(found.reference.label for found in against_controls)
    ]
    return [group for group in groups if group.rows]


def headline(differences: Sequence[Difference], metric: str) -> str:
    """Returns one sentence on arms minus token PPO that claims no more than the intervals carry."""
    shown = [found for found in differences if evidence(found) in (SHOWN, SHOWN_FOR_ONE_SEED)]
    reference = differences[0].reference.label
    if not shown:
        arms = differences[0].arm.label if len(differences) == 1 else f"any of {len(differences)} arms"
        return f"No difference from {reference} in {metric_name(metric)} can be shown for {arms}"
    parts = []
    for verdict in dict.fromkeys(word(found) for found in shown):
        labels = [found.arm.label for found in shown if word(found) == verdict]
        named = listed(labels) if len(labels) <= _NAMED else f"{len(labels)} of {len(differences)} arms"
        verb = "is" if len(labels) == 1 else "are"
        parts.append(f"{named} {verb} {verdict} than {reference}")
    caution = (
        " on these prompts, with one seed" if any(evidence(found) == SHOWN_FOR_ONE_SEED for found in shown) else ""
    )
    rest = len(differences) - len(shown)
    others = f"; for {counted(rest, 'arm')} no difference can be shown" if rest else ""
    return f"{titled(metric_name(metric))}: {'; '.join(parts)}{caution}{others}"


def _sketch(source: PlotSource, name: str, metric: str, groups: Sequence[_Group]) -> Sketch:
    rows = [found for group in groups for found in group.rows]
    seeds = max(len(found.seeds) for found in rows)
    over_seeds = (
        f"open marker, thin line: over {counted(seeds, 'seed')}" if seeds > 1 else "one seed, so none over seeds"
    )
    prompts = max(found.over_prompts.prompts for found in rows)
    subtitle = (
        f"95 % intervals. Filled marker, thick line: over {counted(prompts, 'prompt')}; {over_seeds}. "
        "An arrow: the interval goes on."
    )
    caption = (
        "Each row is the mean paired difference over shared prompts and seeds. Over prompts: what other prompts would "
        "give with these policies. Over seeds: what other training runs would give. A difference counts as shown where "
        "both intervals exclude 0; each is a 95 % interval for itself, so with many arms some exclude 0 by chance."
    )
    alt = "Forest plot. " + " ".join(
        f"{found.arm.label} minus {found.reference.label}: {signed(found.delta)}, over prompts "
        f"{interval(found.over_prompts.interval)}, over seeds {interval(found.over_seeds)}."
        for found in rows
    )

    def draw(figure: "Figure", theme: Theme) -> None:
        _draw(figure, theme, source, groups, metric)

    height = _ROW_INCHES * len(rows) + _HEAD_INCHES * len(groups) + 0.55
    return Sketch(name, headline(groups[0].rows, metric), subtitle, caption, alt, height, draw)


def _draw(figure: "Figure", theme: Theme, source: PlotSource, groups: Sequence[_Group], metric: str) -> None:
    axes = figure.add_subplot()
    rows = [found for group in groups for found in group.rows]
    low, high = _limits(rows)
    axes.set_xlim(low, high)
    better = source.comparison.higher_is_better.get(metric)
    end = "" if better is None else f"  (better: {'right' if better else 'left'})"
    dress(axes, theme, x=f"Difference in {metric_name(metric)}{end}", grid="x")
    axes.axvline(0, color=theme.text, linewidth=1.0, zorder=1)
    position = 0.0
    for group in groups:
        head = shortened(group.head, _LABEL_POINTS, width=WIDTH_INCHES * 72 - 30, bold=True)
        axes.text(
            0, position + _HEAD_INCHES / 2, head, transform=axes.get_yaxis_transform(), va="center", size=_LABEL_POINTS,
            weight="bold", color=theme.text, bbox=_plate(theme),
        )  # fmt: skip
        position += _HEAD_INCHES
        for found in group.rows:
            _draw_row(axes, theme, source, found, position)
            position += _ROW_INCHES
    axes.set_ylim(position, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _draw_row(axes: "Axes", theme: Theme, source: PlotSource, found: Difference, top: float) -> None:
    style = source.styles[found.arm.name]
    colour = style.of(theme)
    numbers = (
        f"{signed(found.delta)}   prompts {interval(found.over_prompts.interval)}   seeds {interval(found.over_seeds)}"
    )
    across = axes.get_yaxis_transform()
    text = top + 0.1
    axes.text(
        1,
        text,
        numbers,
        transform=across,
        ha="right",
        va="center",
        size=_NUMBER_POINTS,
        color=theme.muted,
        bbox=_plate(theme),
    )
    label = shortened(found.arm.label, _LABEL_POINTS, width=260)
    axes.text(
        0.012, text, label, transform=across, va="center", size=_LABEL_POINTS, color=theme.text, bbox=_plate(theme)
    )
    if found.over_seeds:
        _draw_interval(axes, found.over_seeds, top + 0.39, colour=colour, width=1.3)
        axes.plot(
            [found.delta], [top + 0.39], marker=style.marker, markersize=5.5, color=colour,
            markerfacecolor=theme.background, markeredgewidth=1.3, zorder=4,
        )  # fmt: skip
    if found.over_prompts.interval:
        _draw_interval(axes, found.over_prompts.interval, top + 0.25, colour=colour, width=3.2)
    axes.plot(
        [found.delta], [top + 0.25], marker=style.marker, markersize=7.5, color=colour,
        markeredgecolor=theme.background, markeredgewidth=0.9, zorder=4,
    )  # fmt: skip


def _plate(theme: Theme) -> dict[str, Any]:
    """Returns what keeps the lines of the grid out of a text."""
    return {"facecolor": theme.background, "linewidth": 0, "pad": 1.0}


def _draw_interval(axes: "Axes", found: Interval, y: float, *, colour: str, width: float) -> None:
    low, high = axes.get_xlim()
    ends = max(found.low, low), min(found.high, high)
    if ends[0] < ends[1]:
        axes.plot(ends, [y, y], color=colour, linewidth=width, solid_capstyle="butt", zorder=3)
    for end, beyond, arrow in ((ends[0], found.low < low, "<"), (ends[1], found.high > high, ">")):
        if beyond:
            axes.plot(
                [min(max(end, low), high)], [y], marker=arrow, markersize=6, color=colour, clip_on=False, zorder=4
            )
        else:
            axes.plot([end], [y], marker="|", markersize=6, markeredgewidth=width / 2, color=colour, zorder=3)


def _limits(rows: Sequence[Difference]) -> tuple[float, float]:
    """Returns the ends of the axis: 0, all differences and intervals over prompts; those over seeds as far as is legible."""
    near = [0.0, *(found.delta for found in rows)]
    for found in rows:
        if found.over_prompts.interval:
            near += [found.over_prompts.interval.low, found.over_prompts.interval.high]
    low, high = min(near), max(near)
    span = (high - low) or max(abs(high), 1e-3)
    room = (_REACH - 1) / 2 * span
    far = [end for found in rows if found.over_seeds for end in (found.over_seeds.low, found.over_seeds.high)]
    low = max(low - room, min([low, *far]))
    high = min(high + room, max([high, *far]))
    margin = 0.06 * ((high - low) or 1.0)
    return low - margin, high + margin
