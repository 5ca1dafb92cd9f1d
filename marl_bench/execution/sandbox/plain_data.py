"""Values of a program as plain data and back: what cannot be plain becomes opaque, and no method of a program's own class is called.

JSON's own types stand for themselves; everything else is a list that begins with a tag, so a list begins with `"l"`.
"""

import math
import sys
from collections.abc import Callable, Set
from typing import Any

_MOST_DIGITS_AS_DECIMAL = 10**18


class Opaque:
    """A value that is no plain data; equal to nothing."""

    def __init__(self, name: str) -> None:
        """Keeps the name of its type."""
        self.name = name

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{self.name}>"


def encode(value: Any) -> Any:
    """Returns what `decode` reads. Subclasses of plain types become the plain type, by the plain type's own methods.

    Raises:
        RecursionError: The value is nested too deeply, or contains itself.
    """
    kind = type(value)
    if kind in (type(None), bool, str):
        return value
    for base, encoder in _ENCODERS:
        if isinstance(value, base):
            return encoder(value)
    return _encode_other(value, kind)


def _encode_int(value: int) -> Any:
    number = int.__add__(value, 0)
    return number if -_MOST_DIGITS_AS_DECIMAL < number < _MOST_DIGITS_AS_DECIMAL else ["i", hex(number)]


def _encode_float(value: float) -> Any:
    number = float.__add__(value, 0.0) if value else float.__abs__(value)  # -0.0 equals 0.0
    return number if math.isfinite(number) else ["f", repr(number)]


def _parts(value: complex) -> tuple[float, float]:
    return value.real, value.imag


def _encode_dict(value: dict[Any, Any]) -> Any:
    return ["d", *([encode(key), encode(item)] for key, item in dict.items(value))]


def _encoder(tag: str, items: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: [tag, *(encode(item) for item in items(value))]


_ENCODERS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (bool, bool),
    (int, _encode_int),
    (float, _encode_float),
    (str, lambda value: str.__getitem__(value, slice(None))),
    (list, _encoder("l", list.__iter__)),
    (tuple, _encoder("t", tuple.__iter__)),
    (dict, _encode_dict),
    (set, _encoder("s", set.__iter__)),
    (frozenset, _encoder("z", frozenset.__iter__)),
    (bytes, lambda value: ["b", bytes.hex(value)]),
    (bytearray, lambda value: ["b", bytearray.hex(value)]),
    (complex, lambda value: ["c", *(_encode_float(part) for part in _parts(complex.__add__(value, 0)))]),
    (range, lambda value: ["r", *map(encode, (value.start, value.stop, value.step))]),
)


def _encode_other(value: Any, kind: type) -> Any:
    decimal, fractions, numpy = (sys.modules.get(name) for name in ("decimal", "fractions", "numpy"))
    if decimal and kind is decimal.Decimal and not value.is_snan():
        return ["D", str(value)]
    if (
        fractions
        and kind is fractions.Fraction
        and max(value.numerator.bit_length(), value.denominator.bit_length()) < 4096
    ):
        return ["q", _encode_int(value.numerator), _encode_int(value.denominator)]
    if numpy and isinstance(value, numpy.generic):
        return encode(value.item()) if type(value.item()) is not kind else ["o", kind.__name__]
    if kind in (type({}.keys()), type({}.items())) and isinstance(value, Set):
        return ["s", *(encode(item) for item in value)]
    return ["o", str(getattr(kind, "__name__", "object"))[:80]]


def decode(data: Any) -> Any:
    """Returns the value that `encode` was given, up to subclasses.

    Raises:
        ValueError: It is no such data.
    """
    if not isinstance(data, list):
        return data
    if not data or data[0] not in _DECODERS:
        raise ValueError("no plain data")
    try:
        return _DECODERS[data[0]](data[1:])
    except (TypeError, IndexError, ArithmeticError) as error:
        raise ValueError(f"no plain data: {error}") from error


def _decode_number(data: Any) -> Any:
    """Decodes a number and nothing that could hold more."""
    if isinstance(data, list) and data[:1] not in (["i"], ["f"]):
        raise ValueError("no number")
    return decode(data)


def _decode_decimal(items: list[Any]) -> Any:
    import decimal

    number = decimal.Decimal(items[0])
    if number.is_snan():
        raise ValueError("a signalling NaN cannot be compared")
    return number


def _decode_fraction(items: list[Any]) -> Any:
    import fractions

    numerator, denominator = _decode_number(items[0]), _decode_number(items[1])
    if type(numerator) is not int or type(denominator) is not int or max(map(abs, (numerator, denominator))) >> 4096:
        raise ValueError("no fraction of usual size")
    return fractions.Fraction(numerator, denominator)


_DECODERS: dict[str, Callable[[list[Any]], Any]] = {
    "l": lambda items: [decode(item) for item in items],
    "t": lambda items: tuple(decode(item) for item in items),
    "d": lambda items: {decode(key): decode(item) for key, item in items},
    "s": lambda items: {decode(item) for item in items},
    "z": lambda items: frozenset(decode(item) for item in items),
    "b": lambda items: bytes.fromhex(items[0]),
    "c": lambda items: complex(_decode_number(items[0]), _decode_number(items[1])),
    "r": lambda items: range(*map(_decode_number, items)),
    "i": lambda items: int(items[0], 16),
    "f": lambda items: float(items[0]),
    "D": _decode_decimal,
    "q": _decode_fraction,
    "o": lambda items: Opaque(str(items[0])),
}
