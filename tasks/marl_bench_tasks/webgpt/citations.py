"""Citation markers in answers: `[1]`, `[1, 2]`, `[1][2]`. Found, taken out, renumbered."""

import re
from collections.abc import Mapping

_MARKER = r"\[\s*\d+(?:\s*[,;]\s*\d+)*\s*\]"
_MARKERS = rf"{_MARKER}(?:[ \t]*[,;]?[ \t]*{_MARKER})*"
_NUMBER = re.compile(r"\d+")
_IN_PARENTHESES = re.compile(rf"[ \t]*\([ \t]*{_MARKERS}[ \t]*\)")
_WITH_SPACE = re.compile(rf"[ \t]*{_MARKERS}[ \t]*")
_NO_SPACE_BEFORE = frozenset(".,;:!?)]}\n")
_NO_SPACE_AFTER = frozenset("([{\n")

MARKER = re.compile(_MARKER)


def cited_numbers(text: str) -> tuple[int, ...]:
    """Returns the numbers of all markers of a text, in order, repeated ones too."""
    return tuple(int(number) for marker in MARKER.findall(text) for number in _NUMBER.findall(marker))


def strip_citations(text: str) -> str:
    """Returns the text without markers, without doubled spaces or spaces before punctuation where they stood."""
    return _WITH_SPACE.sub(_joint, _IN_PARENTHESES.sub("", text)).strip(" \t")


def renumber_citations(text: str, numbers: Mapping[int, int], *, other: int) -> str:
    """Returns the text with every cited number replaced.

    Args:
        text: An answer.
        numbers: Old number to new number.
        other: New number of those that `numbers` lacks.
    """

    def renumbered(match: re.Match[str]) -> str:
        new = dict.fromkeys(numbers.get(int(old), other) for old in _NUMBER.findall(match[0]))
        return f"[{', '.join(map(str, new))}]"

    return MARKER.sub(renumbered, text)


def _joint(match: re.Match[str]) -> str:
    """Returns what is left between the texts on both sides of markers: a space or nothing."""
    before, after = match.string[: match.start()], match.string[match.end() :]
    if not before or not after or before[-1] in _NO_SPACE_AFTER or after[0] in _NO_SPACE_BEFORE:
        return ""
    return " "
