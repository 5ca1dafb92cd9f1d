"""All plots of a report, in the order in which it shows them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from marl_bench.records import Cell
from marl_bench.reporting.comparison import Comparison
from marl_bench.reporting.plots import forest, learning
from marl_bench.reporting.plots.canvas import plain_style, render
from marl_bench.reporting.plots.plot import Gallery, LeftOut, Plot, Sketch
from marl_bench.reporting.plots.source import PlotSource, plot_source

Kind = Callable[[PlotSource], Iterable[Sketch | LeftOut]]

_KINDS: Sequence[Kind] = (forest.sketches, learning.sketches)


def draw_plots(
    cells: Sequence[Cell], comparison: Comparison, *, folders: Sequence[Path] = (), formats: Collection[str] = ("png",)
) -> Gallery:
    """Draws what the records allow.

    Args:
        cells: Cells of the comparison.
        comparison: Its numbers.
        folders: Folders of the experiments, where sweeps, judgements and macro actions stand.
        formats: `png`, `svg`, both or neither; only what is asked for is drawn.

    Raises:
        RecordError: A sweep, a judgement or a file of macro actions is damaged.
    """
    plots, left_out = [], []
    for found in _all(plot_source(cells, comparison, folders)):
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
        yield from kind(source)
