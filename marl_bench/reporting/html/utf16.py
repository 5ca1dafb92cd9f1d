"""Offsets in characters, as Python counts them, to offsets in UTF-16 code units, as a browser counts them."""

from collections.abc import Sequence

_LAST_OF_ONE_UNIT = 0xFFFF


def utf16_offsets(text: str, offsets: Sequence[int]) -> list[int]:
    """Returns ascending offsets in code units; an offset beyond the text is its end.

    Args:
        text: The text.
        offsets: Ascending offsets in characters.
    """
    if text.isascii():
        return [min(offset, len(text)) for offset in offsets]
    found, position, units = [], 0, 0
    for offset in offsets:
        end = min(offset, len(text))
        units += sum(2 if ord(character) > _LAST_OF_ONE_UNIT else 1 for character in text[position:end])
        position = max(position, end)
        found.append(units)
    return found
