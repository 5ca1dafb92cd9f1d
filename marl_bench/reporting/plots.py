"""Plots of a comparison as PNG bytes."""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from marl_bench.records import Cell
from marl_bench.reporting.comparison import ORACLE, Arm, Comparison
from marl_bench.reporting.formatting import counted, metric_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_INCHES, _HEIGHT_INCHES, _DPI = 7.6, 4.6, 130

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe-Ito, the yellow left out because it fades on white."""

_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 2)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_MARKERS_A_LINE = 8

Curves = Mapping[int, tuple[Sequence[float], Sequence[float]]]
"""Seed to the x and y values of its line."""


@dataclasses.dataclass(frozen=True)
class Plot:
    """A drawn plot.

    Attributes:
        file_name: Name of its file, without a folder.
        title: What it shows.
        caption: How to read it.
        png: The bytes of the file.
    """

    file_name: str
    title: str
    caption: str
    png: bytes


@dataclasses.dataclass(frozen=True)
class _Axis:
    """A number of the curve, and its label."""

    name: str
    label: str


def draw_plots(cells: Sequence[Cell], comparison: Comparison) -> list[Plot]:
    """Returns the plots that the curves allow: score by update, oracle by update, score by KL."""
    seeds = counted(len(comparison.seeds), "seed")
    thin = f"Thin lines: one seed each. Thick line: mean of {seeds}." if len(comparison.seeds) > 1 else "One seed."
    update = _Axis("update", "PPO update")
    score = _Axis("score", f"Training {metric_name(comparison.primary_metric)}")
    oracle = _Axis(ORACLE, "Oracle (never used in training)")
    kl = _Axis("kl", "KL to the SFT model (nats per response)")
    wanted = [
        ("score_by_update.png", "Training score by PPO update", update, score, thin),
        ("oracle_by_update.png", "Oracle by PPO update", update, oracle, thin),
        (
            "score_by_kl.png",
            "Training score by distance from the SFT model",
            kl,
            score,
            f"{thin} Each line runs from the first update to the last; higher at the same KL is the better trade.",
        ),
    ]
    plots = []
    for file_name, title, x, y, caption in wanted:
        curves = {found.arm: _curves(cells, found.arm, x, y) for found in comparison.arms}
        drawn = {arm: lines for arm, lines in curves.items() if lines}
        if drawn:
            plots.append(Plot(file_name, title, caption, _png(drawn, title=title, caption=thin, x=x, y=y)))
    return plots


def _curves(cells: Sequence[Cell], arm: Arm, x: _Axis, y: _Axis) -> Curves:
    found = {}
    for cell in cells:
        if cell.record.arm["name"] == arm.name and cell.record.status == "complete":
            lines = [line for line in cell.curve if line.get(x.name) is not None and line.get(y.name) is not None]
            if lines:
                found[cell.record.seed] = (
                    [float(line[x.name]) for line in lines],
                    [float(line[y.name]) for line in lines],
                )
    return found


def _png(curves: Mapping[Arm, Curves], *, title: str, caption: str, x: _Axis, y: _Axis) -> bytes:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # The user's matplotlibrc must not change the bytes; the context gives it back. No pyplot: no global figures, no
    # display.
    with mpl.rc_context():
        mpl.rcdefaults()
        figure = Figure(figsize=(_WIDTH_INCHES, _HEIGHT_INCHES), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for index, (arm, lines) in enumerate(curves.items()):
            _draw_arm(axes, lines, label=arm.label, index=index)
        _dress(figure, axes, title=title, caption=caption, x=x, y=y)
        buffer = io.BytesIO()
        # The default metadata names matplotlib's version.
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_arm(axes: "Axes", lines: Curves, *, label: str, index: int) -> None:
    colour = _COLOURS[index % len(_COLOURS)]
    style = _LINES[index % len(_LINES)]
    if len(lines) > 1:
        for xs, ys in lines.values():
            axes.plot(xs, ys, color=colour, linestyle=style, linewidth=0.8, alpha=0.45)
    # A mean over fewer seeds at the end would jump: it stops where the shortest seed does.
    shortest = min(len(xs) for xs, _ in lines.values())
    mean_x = [sum(xs[i] for xs, _ in lines.values()) / len(lines) for i in range(shortest)]
    mean_y = [sum(ys[i] for _, ys in lines.values()) / len(lines) for i in range(shortest)]
    axes.plot(
        mean_x,
        mean_y,
        color=colour,
        linestyle=style,
        linewidth=2.2,
        marker=_MARKERS[index % len(_MARKERS)],
        markersize=6,
        markeredgecolor="white",
        markevery=[*range(0, shortest - 1, max(1, shortest // _MARKERS_A_LINE)), shortest - 1],
        label=label,
    )


def _dress(figure: "Figure", axes: "Axes", *, title: str, caption: str, x: _Axis, y: _Axis) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", pad=22)
    axes.text(0, 1.02, caption, transform=axes.transAxes, fontsize=9, color="#555555")
    axes.set_xlabel(x.label)
    axes.set_ylabel(y.label)
    if x.name == "update":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9, handlelength=3.5)
