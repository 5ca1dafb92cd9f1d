"""Texts that must fit: measured, wrapped, shortened."""

import functools
import re
from collections.abc import Iterable

ELLIPSIS = "…"

_STEPS = 12
"""Widths that are tried to balance lines."""

_PIECES = re.compile(r"\s+|[^\s,:;/)_-]*[,:;/)_-]+|[^\s,:;/)_-]+")
"""Where a line may break: at spaces, and within long names after punctuation."""


@functools.cache
def text_points(text: str, size: float, *, bold: bool = False) -> float:
    """Returns the width of one line in points."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.font_manager import FontProperties

    # 72 dots an inch: pixels are points.
    renderer = RendererAgg(1, 1, 72)  # type: ignore[no-untyped-call]
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    return float(renderer.get_text_width_height_descent(text, font, False)[0])  # type: ignore[no-untyped-call]


def wrapped(text: str, size: float, *, width: float, bold: bool = False) -> list[str]:
    """Returns the lines of a text none of which is wider than `width` points; words too long for a line are broken.

    Lines are about equally long: no last word stands alone.
    """
    lines = _wrapped(text, size, width=width, bold=bold)
    for part in range(_STEPS // 2, _STEPS):
        narrower = _wrapped(text, size, width=width * part / _STEPS, bold=bold) if len(lines) > 1 else lines
        if len(narrower) == len(lines):
            return narrower
    return lines


def _wrapped(text: str, size: float, *, width: float, bold: bool) -> list[str]:
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
    for kept in range(len(text) - 1, 1, -1):
        head = (kept + 1) // 2
        candidate = text[:head] + ELLIPSIS + text[len(text) - (kept - head) :]
        if text_points(candidate, size, bold=bold) <= width:
            return candidate
    return ELLIPSIS


def _pieces(text: str, size: float, *, width: float, bold: bool) -> Iterable[str]:
    """Yields parts between which a line may break, each narrower than a line."""
    for found in re.finditer(r"\S+\s*", text):
        word = found[0]
        if text_points(word.rstrip(), size, bold=bold) <= width:
            yield word
            continue
        for part in _PIECES.findall(word):
            if text_points(part, size, bold=bold) <= width:
                yield part
            else:
                yield from part
