"""Colours, lines, markers and hatches: a light and a dark theme that are safe for the colour-blind and readable in black and white."""

import dataclasses
from collections.abc import Sequence

from marl_bench.reporting.comparison import Arm

LineStyle = str | tuple[int, tuple[float, ...]]


@dataclasses.dataclass(frozen=True)
class Theme:
    """The colours of a plot, all lower-case `#rrggbb`, no two alike and none pure black, which an SVG leaves out.

    Attributes:
        name: `light` or `dark`.
        background: Behind everything, and around markers.
        text: Titles, labels, lines of reference.
        muted: Second text: subtitles, ticks.
        grid: Grid lines.
        faint: What stands behind the line in question: other arms, spans.
        arms: The cycle of arms; the first is the start's (SFT).
    """

    name: str
    background: str
    text: str
    muted: str
    grid: str
    faint: str
    arms: Sequence[str]

    def colours(self) -> Sequence[str]:
        """Returns all colours in the order of their roles."""
        return (self.background, self.text, self.muted, self.grid, self.faint, *self.arms)


LIGHT = Theme(
    name="light",
    background="#ffffff",
    text="#1c2128",
    muted="#57606a",
    grid="#e4e7eb",
    faint="#b6bdc6",
    # Okabe-Ito, the yellow left out because it fades on white; grey for black.
    arms=("#4d4d4d", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
)

DARK = Theme(
    name="dark",
    background="#14181e",
    text="#eef1f5",
    muted="#a7b0bc",
    grid="#2a313b",
    faint="#59636f",
    # The same hues, lightened until they stand out from the background.
    arms=("#c9cdd2", "#ff8a3d", "#4ea8e8", "#2ec99a", "#e7a3ca", "#f7c04a", "#a5dcff"),
)

# Lengths without common factors: colour, line and marker together come back after 7 · 6 · 11 arms.
_LINES: Sequence[LineStyle] = ("-", (0, (5, 2)), "-", (0, (7, 2, 1.5, 2)), (0, (1.2, 1.6)), (0, (10, 2, 2, 2, 2, 2)))
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "p", "h")
_HATCHES = ("", "////", "\\\\\\\\", "....", "xxxx", "----", "++++")

_START, _TOKEN = 0, 1


@dataclasses.dataclass(frozen=True)
class Style:
    """How one arm is drawn in every plot of a report.

    Attributes:
        colour: Place in `Theme.arms`.
        line: Line style.
        marker: Marker.
        hatch: Hatch of its bars.
    """

    colour: int
    line: LineStyle
    marker: str
    hatch: str

    def of(self, theme: Theme) -> str:
        """Returns the colour in a theme."""
        return theme.arms[self.colour]


def styles(arms: Sequence[Arm]) -> dict[str, Style]:
    """Returns arm name to style: SFT grey, token PPO vermilion and dashed, the macro arms from blue on, then the controls."""
    found: dict[str, Style] = {}
    place = _TOKEN + 1
    for role in ("start", "token", "macro", "control", "other"):
        for arm in (one for one in arms if one.role == role):
            fixed = {"start": _START, "token": _TOKEN}.get(role)
            if fixed is None or fixed in {style.colour for style in found.values()}:
                fixed, place = place, place + 1
            found[arm.name] = _style(fixed)
    return found


def _style(place: int) -> Style:
    # After one round of colours grey and vermilion are used like the others.
    return Style(
        place % len(LIGHT.arms),
        _LINES[place % len(_LINES)],
        _MARKERS[place % len(_MARKERS)],
        _HATCHES[place % len(_HATCHES)],
    )
