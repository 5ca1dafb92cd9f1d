"""Texts that must fit: measured, wrapped, shortened."""

import functools
import re
from collections.abc import Iterable

ELLIPSIS = "…"

_LABEL_CHARACTERS = 44
_KEPT = 20

_STEPS = 12
"""Widths that are tried to balance lines."""

_PIECES = re.compile(r"\s+|[^\s,:;/)_-]*[,:;/)_-]+|[^\s,:;/)_-]+")
"""Where a line may break: at spaces, and within long names after punctuation."""


@functools.cache
def text_points(text: str, size: float, *, bold: bool = False) -> float:
    """Returns the width of one line in points."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.font_manager import FontProperties

    # Ten pixels a point: at one, hinting would round every letter.
    renderer = RendererAgg(1, 1, 720)  # type: ignore[no-untyped-call]
    font = FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")
    return float(renderer.get_text_width_height_descent(text, font, False)[0]) / 10  # type: ignore[no-untyped-call]


def balanced(text: str, size: float, *, width: float, bold: bool = False) -> list[str]:
    """Returns what `wrapped` does with lines about equally long: no last word stands alone."""
    lines = wrapped(text, size, width=width, bold=bold)
    for part in range(_STEPS // 2, _STEPS):
        narrower = wrapped(text, size, width=width * part / _STEPS, bold=bold) if len(lines) > 1 else lines
        if len(narrower) == len(lines):
            return narrower
    return lines


def wrapped(text: str, size: float, *, width: float, bold: bool = False) -> list[str]:
    """Returns the lines of a text none of which is wider than `width` points; words too long for a line are broken."""
    lines = [""]
    for piece in _pieces(text, size, width=width, bold=bold):
        if text_points((lines[-1] + piece).rstrip(), size, bold=bold) <= width or not lines[-1]:
            lines[-1] += piece if lines[-1] else piece.lstrip()
        else:
            lines.append(piece.lstrip())
    return [line.rstrip() for line in lines if line.strip()]


def shortened(text: str, size: float, *, width: float, bold: bool = False) -> str:
    """Returns the text with an ellipsis in its middle if it is wider than `width` points; heads and tails tell names apart."""
    text = " ".join(text.split())
    if text_points(text, size, bold=bold) <= width:
        return text
    # The most characters that fit, by halving: a label may have thousands.
    fits, too_wide = 1, len(text)
    while too_wide - fits > 1:
        middle = (fits + too_wide) // 2
        if text_points(_without_middle(text, middle), size, bold=bold) <= width:
            fits = middle
        else:
            too_wide = middle
    return _without_middle(text, fits)


def _without_middle(text: str, kept: int) -> str:
    head = (kept + 1) // 2
    return text[:head] + ELLIPSIS + text[len(text) - (kept - head) :]


def _pieces(text: str, size: float, *, width: float, bold: bool) -> Iterable[str]:
    """Yields parts between which a line may break, each narrower than a line."""
    for found in re.finditer(r"(?:\S| (?=%))+\s*", text):
        word = found[0]
        if text_points(word.rstrip(), size, bold=bold) <= width:
            yield word
            continue
        for part in _PIECES.findall(word):
            if text_points(part, size, bold=bold) <= width:
                yield part
            else:
                yield from part


def in_title(label: str) -> str:
    """Returns an arm's label as titles name it: at most 44 characters, the middle left out."""
    return label if len(label) <= _LABEL_CHARACTERS else f"{label[:_KEPT]}{ELLIPSIS}{label[-_KEPT:]}"
