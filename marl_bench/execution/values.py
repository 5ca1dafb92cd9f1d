"""Compares a value that a program reported, as plain data, with the value it should have. Nothing is built that is larger than the latter."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from marl_bench.execution.sandbox.plain_data import decode, encode

_TAG_OF = {list: "l", tuple: "t", dict: "d"}


def equal_to(data: Any, expected: Any, *, tolerance: float = 0.0) -> bool:
    """Returns whether encoded data stand for a value that equals `expected` under Python's `==`, numbers within a tolerance."""
    if isinstance(expected, (list, tuple)):
        return _has_tag(data, _TAG_OF[list if isinstance(expected, list) else tuple]) and _equal_items(
            data[1:], expected, lambda mine, other: equal_to(mine, other, tolerance=tolerance)
        )
    if isinstance(expected, dict):
        return _equal_entries(data, expected, tolerance=tolerance)
    if isinstance(expected, (set, frozenset)):
        return (
            (_has_tag(data, "s") or _has_tag(data, "z")) and not _larger(data, expected) and _decoded(data) == expected
        )
    return _equal_leaves(_decoded_leaf(data), expected, tolerance)


def equal_as_json(data: Any, expected: Any, *, tolerance: float = 0.0) -> bool:
    """Returns whether encoded data equal JSON data, where tuples count as lists and keys as their text."""
    if isinstance(expected, list):
        return (_has_tag(data, "l") or _has_tag(data, "t")) and _equal_items(
            data[1:], expected, lambda mine, other: equal_as_json(mine, other, tolerance=tolerance)
        )
    if isinstance(expected, dict):
        if not _is_mapping(data, len(expected)):
            return False
        entries = {str(_decoded_leaf(key)): value for key, value in data[1:]}
        return entries.keys() == expected.keys() and all(
            equal_as_json(entries[key], value, tolerance=tolerance) for key, value in expected.items()
        )
    return _equal_leaves(_decoded_leaf(data), expected, tolerance)


class _Nothing:
    """Equals nothing, itself included."""

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = object.__hash__


def _has_tag(data: Any, tag: str) -> bool:
    return isinstance(data, list) and bool(data) and data[0] == tag


def _is_mapping(data: Any, size: int) -> bool:
    pairs = len(data) - 1 if _has_tag(data, "d") else -1
    return pairs == size and all(isinstance(entry, list) and len(entry) == 2 for entry in data[1:])


def _equal_items(items: Sequence[Any], expected: Sequence[Any], equal: Any) -> bool:
    return len(items) == len(expected) and all(equal(mine, other) for mine, other in zip(items, expected, strict=True))


def _equal_entries(data: Any, expected: Mapping[Any, Any], *, tolerance: float) -> bool:
    if not _is_mapping(data, len(expected)) or _larger([key for key, _ in data[1:]], [*expected]):
        return False
    entries = {_decoded(key): value for key, value in data[1:]}
    return entries.keys() == expected.keys() and all(
        equal_to(entries[key], value, tolerance=tolerance) for key, value in expected.items()
    )


def _larger(data: Any, expected: Any) -> bool:
    """Returns whether data are far larger than those of the expected value, so that sets with crafted hashes cost nothing."""
    most = 4 * _nodes(encode(expected)) + 16
    return _nodes(data, stop=most + 1) > most


def _nodes(data: Any, *, stop: float = math.inf) -> int:
    count, waiting = 0, [data]
    while waiting and count < stop:
        count += 1
        item = waiting.pop()
        if isinstance(item, list):
            waiting += item
    return count


def _decoded(data: Any) -> Any:
    try:
        return decode(data)
    except (ValueError, TypeError):
        return _Nothing()


def _decoded_leaf(data: Any) -> Any:
    """Decodes what is no container; a container equals no leaf."""
    return _Nothing() if any(_has_tag(data, tag) for tag in "ltdsz") else _decoded(data)


def _equal_leaves(value: Any, expected: Any, tolerance: float) -> bool:
    if value == expected:
        return True
    numbers = isinstance(value, (int, float, Decimal, Fraction)) and isinstance(expected, (int, float))
    try:
        return tolerance > 0 and numbers and math.isclose(value, expected, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:
        return False
