"""What a plot is before and after it is drawn: frozen records."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from marl_bench.reporting.plots.theme import Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADINGS: Mapping[str, str] = {
    "differences": "Paired differences with their intervals",
    "differences_oracle": "Paired differences of the oracle",
    "score_by_update": "Learning curves",
    "oracle_by_update": "Oracle by update",
    "score_by_kl": "Score against distance from SFT",
    "updates_to_parity": "Updates to parity",
    "paired_differences": "Differences prompt by prompt",
    "score_distributions": "Distributions of scores",
    "length": "Length of responses",
    "best_of_n": "Best of N",
    "temperature_sweep": "Sampling temperature",
    "macro_lengths": "Lengths of macro actions",
    "credit_by_position": "Credit by position",
}
"""What each kind of plot is called where its title, a sentence, would be too long."""

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
    def heading(self) -> str:
        """What kind of plot it is, for a heading over it."""
        kind = self.name.rstrip("_0123456789")
        return HEADINGS.get(kind, kind.replace("_", " ").capitalize())

    def files(self, formats: Collection[str]) -> dict[str, bytes]:
        """Returns file name to bytes of these formats, first the file that a document without themes shows."""
        data = (self.png, self.svg.encode(), self.dark_svg.encode())
        known = dict(zip(file_names(self.name, ("png", "svg")), data, strict=True))
        return {name: known[name] for name in file_names(self.name, formats) if known[name]}


def file_names(name: str, formats: Collection[str]) -> list[str]:
    """Returns the names of a plot's files in these formats."""
    names = [f"{name}.png"] if "png" in formats else []
    return names + ([f"{name}.svg", f"{name}-dark.svg"] if "svg" in formats else [])


@dataclasses.dataclass(frozen=True)
class Gallery:
    """All plots of a report, and those that its records do not allow."""

    plots: Sequence[Plot]
    left_out: Sequence[LeftOut]
