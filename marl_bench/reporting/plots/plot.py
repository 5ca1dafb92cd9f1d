"""What a plot is before and after it is drawn: frozen records."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from marl_bench.reporting.plots.theme import Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH_INCHES = 7.6
"""Width of every plot: what a page of text and a slide's half hold without scaling."""


@dataclasses.dataclass(frozen=True)
class Sketch:
    """A plot whose numbers are known and that is not drawn yet.

    Attributes:
        name: Name of its files without ending.
        title: One sentence of what is seen, made from the numbers, no stronger than the intervals allow.
        subtitle: What marks, lines and bands mean; stands in the plot under the title.
        caption: How to read it, for the text beside the plot.
        alt: What a reader who cannot see the plot needs: kind of plot, axes, the numbers.
        height: Inches for the panels; title and legend come on top.
        draw: Puts panels on a figure in the colours of a theme; neither title nor legend.
    """

    name: str
    title: str
    subtitle: str
    caption: str
    alt: str
    height: float
    draw: Callable[["Figure", Theme], None]


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A plot that cannot be drawn from these records, and why."""

    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Plot:
    """A drawn plot; a format that was not asked for is empty.

    Attributes:
        name: Name of its files without ending.
        title: One sentence of what is seen.
        caption: How to read it.
        alt: Text for readers who cannot see it.
        svg: The light theme.
        dark_svg: The dark theme.
        png: The light theme.
    """

    name: str
    title: str
    caption: str
    alt: str
    svg: str = ""
    dark_svg: str = ""
    png: bytes = b""

    @property
    def file_name(self) -> str:
        """Name of the file that a document without themes shows: the PNG if there is one, else the light SVG."""
        return f"{self.name}.png" if self.png else f"{self.name}.svg"

    def files(self) -> dict[str, bytes]:
        """Returns file name to bytes of the formats that were drawn."""
        every = {
            f"{self.name}.png": self.png,
            f"{self.name}.svg": self.svg.encode(),
            f"{self.name}-dark.svg": self.dark_svg.encode(),
        }
        return {name: data for name, data in every.items() if data}


@dataclasses.dataclass(frozen=True)
class Gallery:
    """All plots of a report, and those that its records do not allow."""

    plots: Sequence[Plot]
    left_out: Sequence[LeftOut]
