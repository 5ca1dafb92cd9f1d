"""What all panels share: axes, grid, marks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from marl_bench.reporting.plots.text import shortened, wrapped
from marl_bench.reporting.plots.theme import Style, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABEL_POINTS = 9.0
LEGEND_LABEL_POINTS_WIDE = 440.0
"""Width at which a label in the legend is shortened: one column of the page."""

MANY_ARMS = 6
"""From one more on, lines in one panel cannot be told apart: each arm has its own small panel."""

PANEL_COLUMNS = 3

_Y_LABEL_POINTS_LONG = 175.0
"""What fits beside a panel of usual height."""


def dress(axes: "Axes", theme: Theme, *, x: str = "", y: str = "", grid: str = "both") -> None:
    """Gives axes their labels, a light grid behind the data, and no box."""
    axes.set_facecolor(theme.background)
    axes.set_xlabel(x, color=theme.text)
    axes.set_ylabel(two_lines(y, 9.5, width=_Y_LABEL_POINTS_LONG), color=theme.text)
    axes.tick_params(colors=theme.muted, labelcolor=theme.muted, length=3)
    axes.grid(visible=True, axis=grid, color=theme.grid, linewidth=0.7)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.faint)


def legend_label(label: str) -> str:
    """Returns an arm's label as a legend holds it."""
    return shortened(label, LABEL_POINTS, width=LEGEND_LABEL_POINTS_WIDE)


def marked_every(points: int, *, marks: int = 8) -> Sequence[int]:
    """Returns which points of a line carry a marker: some eight, the last one always."""
    step = max(1, round(points / marks))
    return sorted({*range(points - 1, -1, -step)})


def line_style(style: Style, theme: Theme) -> dict[str, object]:
    """Returns the keywords of a line with markers."""
    return {
        "color": style.of(theme),
        "linestyle": style.line,
        "marker": style.marker,
        "markeredgecolor": theme.background,
        "markeredgewidth": 0.8,
        "markersize": 6.0,
        "linewidth": 2.0,
    }


def two_lines(label: str, size: float, *, width: float) -> str:
    """Returns a label on two lines at most, none wider than `width` points; what does not fit loses its middle."""
    lines = wrapped(label, size, width=width)
    kept = 2.0
    while len(lines) > 2:  # a line may end early, so twice the width need not fit
        kept -= 0.15
        lines = wrapped(shortened(label, size, width=kept * width), size, width=width)
    return "\n".join(lines)
