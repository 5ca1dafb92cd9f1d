"""How long the macro actions are, arm by arm, at the last update and at the first."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from marl_bench.reporting.comparison import Arm
from marl_bench.reporting.formatting import counted, number, percent
from marl_bench.reporting.plots.dressing import PANEL_COLUMNS, dress
from marl_bench.reporting.plots.lines import facet_title
from marl_bench.reporting.plots.plot import WIDTH_INCHES, LeftOut, Sketch
from marl_bench.reporting.plots.source import PlotSource
from marl_bench.reporting.plots.text import text_points
from marl_bench.reporting.plots.theme import Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAME = "macro_lengths"
_NAMED = 2
_SINGLY = 24
"""Up to this length each has a bar of its own; beyond, lengths are binned by powers of two."""


@dataclasses.dataclass(frozen=True)
class _Lengths:
    """Counts of macro-action lengths in tokens, all seeds together."""

    arm: Arm
    first: Mapping[int, int]
    last: Mapping[int, int]

    @property
    def mean(self) -> float:
        return sum(length * count for length, count in self.last.items()) / sum(self.last.values())

    @property
    def most_frequent(self) -> int:
        return max(self.last, key=lambda length: (self.last[length], -length))


def sketches(source: PlotSource) -> Iterator[Sketch | LeftOut]:
    """Yields the histograms of macro-action lengths."""
    found = [
        lengths
        for arm in source.arms
        if arm.role != "token" and (lengths := _lengths(source, arm)) and set(lengths.last) != {1}
    ]
    if not found:
        yield LeftOut(_NAME, "no arm has macro actions of more than one token in its curve")
        return
    rows = math.ceil(len(found) / PANEL_COLUMNS)
    yield Sketch(
        name=_NAME,
        title=_title(found),
        subtitle="Bars: share of the macro actions at the last update, seeds together. Step line: at the first update.",
        caption=(
            "Lengths in tokens of the macro actions into which the arm's rule cuts the sampled responses; the last "
            "action of a response may be shorter than the rule's. A rule that follows the policy moves between the "
            "first update and the last."
        ),
        alt="Histograms of macro-action lengths. "
        + " ".join(
            f"{one.arm.label}: mean {number(one.mean)} tokens, most frequent {one.most_frequent} "
            f"({percent(one.last[one.most_frequent] / sum(one.last.values()))})."
            for one in found
        ),
        height=0.35 + 1.95 * rows,
        draw=lambda figure, theme: _draw(figure, theme, source, found),
    )


def _lengths(source: PlotSource, arm: Arm) -> _Lengths | None:
    curves = [cell.curve for cell in source.cells.get(arm.name, {}).values() if cell.curve]
    last = _sum(curve[-1].get("macro_length_histogram") for curve in curves)
    return _Lengths(arm, _sum(curve[0].get("macro_length_histogram") for curve in curves), last) if last else None


def _sum(histograms: Iterator[Mapping[str, int] | None]) -> dict[int, int]:
    found: dict[int, int] = {}
    for histogram in histograms:
        for length, count in (histogram or {}).items():
            if count:
                found[int(length)] = found.get(int(length), 0) + int(count)
    return dict(sorted(found.items()))


def _title(found: Sequence[_Lengths]) -> str:
    if len(found) > _NAMED:
        means = [one.mean for one in found]
        return f"Macro actions of {len(found)} arms are {number(min(means))} to {number(max(means))} tokens long on average"
    parts = []
    for one in found:
        share = one.last[one.most_frequent] / sum(one.last.values())
        tokens = counted(one.most_frequent, "token")
        parts.append(f"{percent(share)} of the macro actions of {one.arm.label} have {tokens}")
    return "; ".join(parts)


def _draw(figure: "Figure", theme: Theme, source: PlotSource, found: Sequence[_Lengths]) -> None:
    columns = min(PANEL_COLUMNS, len(found))
    rows = math.ceil(len(found) / columns)
    longest = max(length for one in found for length in (*one.last, *one.first))
    edges = _edges(longest)
    names = _bin_names(edges)
    room = (WIDTH_INCHES / columns - 0.6) * 72
    step = math.ceil(len(names) * (max(text_points(name, 8.5) for name in names) + 6) / room)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for index, axes in enumerate(grid.flat):
        if index >= len(found):
            axes.set_visible(False)
            continue
        one, style = found[index], source.styles[found[index].arm.name]
        dress(axes, theme, grid="y")
        shares = _shares(one.last, edges)
        axes.bar(
            range(len(names)), shares, width=0.84, color=style.of(theme), alpha=0.85, hatch=style.hatch,
            edgecolor=theme.background, linewidth=0,
        )  # fmt: skip
        if one.first:
            axes.stairs(
                _shares(one.first, edges),
                [place - 0.5 for place in range(len(names) + 1)],
                color=theme.text,
                linewidth=1.0,
            )
        axes.set_title(facet_title(one.arm.label, columns=columns), loc="left", size=8, color=theme.text)
        axes.set_xticks(range(0, len(names), step), names[::step])
        axes.tick_params(labelbottom=index + columns >= len(found))
    figure.axes[0].set_ylim(0, None)  # after all: it is everyone's
    figure.supxlabel("Length of a macro action (tokens)", size=9.5, color=theme.text)
    figure.supylabel("Share (%)", size=9.5, color=theme.text)


def _edges(longest: int) -> list[int]:
    """Returns the first length of each bin, and the end: singly up to `_SINGLY`, else 1, 2, 3-4, 5-8, ..."""
    if longest <= _SINGLY:
        return list(range(1, longest + 2))
    edges = [1, 2]
    while edges[-1] <= longest:
        edges.append((edges[-1] - 1) * 2 + 1)
    return edges


def _bin_names(edges: Sequence[int]) -> list[str]:
    bins = itertools.pairwise(edges)
    return [f"{first}" if end - first == 1 else f"{first}–{end - 1}" for first, end in bins]


def _shares(histogram: Mapping[int, int], edges: Sequence[int]) -> list[float]:
    total = sum(histogram.values())
    return [
        100 * sum(count for length, count in histogram.items() if first <= length < end) / total
        for first, end in itertools.pairwise(edges)
    ]
