"""The paired differences themselves: one arm minus token PPO on each prompt, sorted."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from marl_bench.reporting.comparison import Difference
from marl_bench.reporting.formatting import interval, metric_name, signed, titled
from marl_bench.reporting.plots.dressing import PANEL_COLUMNS, dress, two_lines
from marl_bench.reporting.plots.lines import facet_title
from marl_bench.reporting.plots.plot import LeftOut, Sketch
from marl_bench.reporting.plots.source import Numbers, PlotSource
from marl_bench.reporting.plots.theme import Theme
from marl_bench.reporting.reading import SHOWN, SHOWN_FOR_ONE_SEED, evidence, word

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAME = "paired_differences"
_STEPS = 400
"""More prompts than this are drawn as so many quantiles."""

_NAMED = 1


@dataclasses.dataclass(frozen=True)
class _Sorted:
    """A difference with its prompts' differences in ascending order, thinned."""

    found: Difference
    steps: Numbers


def sketches(source: PlotSource) -> Iterator[Sketch | LeftOut]:
    """Yields the sorted differences from token PPO on the primary metric."""
    comparison = source.comparison
    token, metric = comparison.token, comparison.primary_metric
    differences = [
        found
        for found in comparison.differences
        if token is not None and found.reference.name == token.name and found.metric == metric
    ]
    if not differences or token is None:
        yield LeftOut(_NAME, "no arm shares seeds and scored prompts with a plain token-PPO arm")
        return
    panels = [_Sorted(found, _thinned(source.differences(found.arm, token, metric))) for found in differences]
    thinned = max(found.over_prompts.prompts for found in differences) > _STEPS
    subtitle = (
        "Each prompt's difference, mean over seeds, in ascending order"
        f"{f', as {_STEPS} quantiles' if thinned else ''}. Line and band: mean with its 95 % interval over prompts."
    )
    columns = min(PANEL_COLUMNS, len(panels))
    yield Sketch(
        name=_NAME,
        title=_title(differences, metric),
        subtitle=subtitle,
        caption=(
            f"Where the curve crosses 0 splits the prompts on which the arm is higher from those on which {token.label} "
            "is. A few steep ends carry a mean; a long plateau on one side carries a sign test. The band says nothing "
            "about other training runs: for that see the interval over seeds."
        ),
        alt="Sorted differences by prompt. "
        + " ".join(
            f"{found.arm.label} minus {token.label}: higher on {found.over_prompts.higher}, equal on "
            f"{found.over_prompts.equal}, lower on {found.over_prompts.lower} prompts; mean {signed(found.delta)} "
            f"{interval(found.over_prompts.interval)}."
            for found in differences
        ),
        height=0.35 + (2.5 if len(panels) <= PANEL_COLUMNS else 2.1) * math.ceil(len(panels) / columns),
        draw=lambda figure, theme: _draw(figure, theme, source, panels, metric),
    )


def _thinned(differences: Numbers) -> Numbers:
    ordered = np.sort(differences)
    if ordered.size <= _STEPS:
        return ordered
    return ordered[((np.arange(_STEPS) + 0.5) * ordered.size / _STEPS).astype(np.int64)]


def _title(differences: Sequence[Difference], metric: str) -> str:
    macros = [found for found in differences if found.arm.role == "macro"] or differences
    name = metric_name(metric)
    if len(macros) > _NAMED:
        most = sum(found.over_prompts.higher > found.over_prompts.lower for found in macros)
        shown = sum(evidence(found) in (SHOWN, SHOWN_FOR_ONE_SEED) for found in macros)
        return (
            f"{most} of {len(macros)} arms have a higher {name} than {macros[0].reference.label} on more prompts than "
            f"a lower one; a difference of the mean can be shown for {shown or 'none'}"
        )
    found = macros[0]
    counts = found.over_prompts
    equal = f", equal on {counts.equal:,}" if counts.equal else ""
    conclusion = {
        SHOWN: f"{word(found)} on average",
        SHOWN_FOR_ONE_SEED: f"{word(found)} on average on these prompts, with one seed",
    }.get(evidence(found), "no difference of the mean can be shown")
    return (
        f"{found.arm.label} has a higher {name} than {found.reference.label} on {counts.higher:,} of "
        f"{counts.prompts:,} prompts{equal}; {conclusion}"
    )


def _draw(figure: "Figure", theme: Theme, source: PlotSource, panels: Sequence[_Sorted], metric: str) -> None:
    columns = min(PANEL_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for index, axes in enumerate(grid.flat):
        if index >= len(panels):
            axes.set_visible(False)
            continue
        dress(axes, theme, grid="y")
        _draw_panel(axes, theme, source, panels[index])
        axes.set_title(
            facet_title(panels[index].found.arm.label, columns=columns), loc="left", size=8, color=theme.text
        )
        axes.tick_params(labelbottom=index + columns >= len(panels))
    figure.supxlabel("Prompts, ascending (%)", size=9.5, color=theme.text)
    reference = panels[0].found.reference.label
    label = two_lines(f"{titled(metric_name(metric))} minus {reference}", 9.5, width=130.0 * rows)
    figure.supylabel(label, size=9.5, color=theme.text)


def _draw_panel(axes: "Axes", theme: Theme, source: PlotSource, one: _Sorted) -> None:
    style, found = source.styles[one.found.arm.name], one.found
    edges = np.linspace(0, 100, one.steps.size + 1)
    above, below = np.maximum(one.steps, 0), np.minimum(one.steps, 0)
    axes.stairs(above, edges, baseline=0, fill=True, color=style.of(theme), alpha=0.75, linewidth=0)
    axes.stairs(
        below, edges, baseline=0, fill=True, facecolor=theme.background, edgecolor=style.of(theme), hatch="////",
        linewidth=0,
    )  # fmt: skip
    axes.stairs(one.steps, edges, baseline=None, color=style.of(theme), linewidth=1.0)
    axes.axhline(0, color=theme.text, linewidth=0.9)
    over = found.over_prompts
    if over.interval:
        axes.axhspan(over.interval.low, over.interval.high, color=theme.text, alpha=0.16, linewidth=0)
    axes.axhline(found.delta, color=theme.text, linewidth=1.1, linestyle=(0, (4, 2)))
    axes.set_xlim(0, 100)
    corner: dict[str, Any] = {"transform": axes.transAxes, "size": 8, "color": theme.text}
    axes.text(0.03, 0.96, f"higher on {over.higher:,}\nmean {signed(found.delta)}", va="top", **corner)
    axes.text(0.97, 0.04, f"lower on {over.lower:,}", ha="right", va="bottom", **corner)
