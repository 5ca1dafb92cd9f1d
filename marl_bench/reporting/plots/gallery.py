"""All plots of a report, in the order in which it shows them."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from marl_bench.records import Cell
from marl_bench.reporting.comparison import Comparison
from marl_bench.reporting.plots import (
    credit,
    distributions,
    forest,
    frontier,
    learning,
    length,
    macro_lengths,
    paired,
    parity,
    sampling,
)
from marl_bench.reporting.plots.canvas import plain_style, render
from marl_bench.reporting.plots.plot import Gallery, LeftOut, Plot, Sketch
from marl_bench.reporting.plots.source import PlotSource, plot_source
from marl_bench.reporting.plots.text import in_title
from marl_bench.run_dir import RunDir

Kind = Callable[[PlotSource], Iterable[Sketch | LeftOut]]

_KINDS: Sequence[Kind] = (
    forest.sketches,
    learning.sketches,
    frontier.sketches,
    parity.sketches,
    paired.sketches,
    distributions.sketches,
    length.sketches,
    sampling.sketches,
    macro_lengths.sketches,
    credit.sketches,
)


def draw_plots(
    cells: Sequence[Cell],
    comparison: Comparison,
    *,
    run_dirs: Sequence[RunDir] = (),
    formats: Collection[str] = ("png",),
) -> Gallery:
    """Draws what the records allow.

    Args:
        cells: Cells of the comparison.
        comparison: Its numbers.
        run_dirs: The experiments, where sweeps, judgements and macro actions stand.
        formats: `png`, `svg`, both or neither; only what is asked for is drawn.

    Raises:
        RecordError: A sweep, a judgement or a file of macro actions is damaged.
    """
    plots, left_out = [], []
    for found in _all(plot_source(cells, comparison, run_dirs)):
        if isinstance(found, LeftOut):
            left_out.append(found)
        else:
            plots.append(_drawn(found, formats))
    return Gallery(plots, left_out)


def _drawn(sketch: Sketch, formats: Collection[str]) -> Plot:
    if not {"png", "svg"} & set(formats):
        return Plot(sketch.name, sketch.title, sketch.caption, sketch.alt)
    with plain_style():
        return render(sketch, formats)


def _all(source: PlotSource) -> Iterator[Sketch | LeftOut]:
    for kind in _KINDS:
        for found in kind(source):
            yield (
                found if isinstance(found, LeftOut) else dataclasses.replace(found, title=_titled(source, found.title))
            )


def _titled(source: PlotSource, title: str) -> str:
    """Returns a title in which very long labels of arms have lost their middle."""
    for label in sorted((arm.label for arm in source.arms), key=len, reverse=True):
        title = title.replace(label, in_title(label))
    return title
