"""What embedded problems make of the elements that their steps leave: what it says, the code that does it, and what it means."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from marl_bench_tasks.apps.steps import Element
from marl_bench_tasks.apps.vocabulary import SEPARATORS


@dataclasses.dataclass(frozen=True)
class ReductionKind:
    """What is made of the elements that are left.

    Attributes:
        takes: Kinds of element that it works on.
        phrases: Wordings after `return` or `print`; `{k}` is its constant, `{s}` the plural of the elements.
        begin: Statement before the loop.
        gather: Statement in the loop.
        value: Expression after the loop.
        apply: Of the elements and the constant.
        constants: Names of `{k}`; one empty one if it has none.
        is_list: True if the value is a list, which is printed with spaces.
        slips: Pairs of a text in its code and a wrong one.
    """

    takes: tuple[Element, ...]
    phrases: tuple[str, ...]
    begin: str
    gather: str
    value: str
    apply: Callable[[list[Any], Any], Any]
    constants: tuple[str, ...] = ("",)
    is_list: bool = False
    slips: tuple[tuple[str, str], ...] = ()


_NUMBER: tuple[Element, ...] = ("number",)
_TEXT: tuple[Element, ...] = ("word", "letter")
_ANY: tuple[Element, ...] = ("number", *_TEXT)

REDUCTIONS: Mapping[str, ReductionKind] = {
    "sum": ReductionKind(
        _NUMBER,
        ("their sum", "the total"),
        "total = 0",
        "total += x",
        "total",
        lambda xs, _: sum(xs),
        slips=(("total = 0", "total = 1"), ("+= x", "= x"), ("+=", "-=")),
    ),
    "count": ReductionKind(
        _ANY,
        ("how many are left",),
        "count = 0",
        "count += 1",
        "count",
        lambda xs, _: len(xs),
        slips=(("count = 0", "count = 1"), ("+= 1", "+= x"), ("+=", "=")),
    ),
    "largest": ReductionKind(
        _NUMBER,
        ("the largest",),
        "result = []",
        "result.append(x)",
        "max(result)",
        lambda xs, _: max(xs),
        slips=(("max", "min"), ("max(result)", "result[-1]")),
    ),
    "smallest": ReductionKind(
        _NUMBER,
        ("the smallest",),
        "result = []",
        "result.append(x)",
        "min(result)",
        lambda xs, _: min(xs),
        slips=(("min", "max"), ("min(result)", "result[0]")),
    ),
    "list": ReductionKind(
        _ANY,
        ("them in order",),
        "result = []",
        "result.append(x)",
        "result",
        lambda xs, _: list(xs),
        is_list=True,
        slips=(("append(x)", "append(1)"), ("append(x)", "add(x)")),
    ),
    "sorted": ReductionKind(
        _NUMBER,
        ("them sorted",),
        "result = []",
        "result.append(x)",
        "sorted(result)",
        lambda xs, _: sorted(xs),
        is_list=True,
        slips=(("sorted(result)", "result"), ("sorted(result)", "result.sort()")),
    ),
    "joined": ReductionKind(
        _TEXT,
        ("them joined by {k}",),
        "result = []",
        "result.append(x)",
        "'{k}'.join(result)",
        lambda xs, k: SEPARATORS[k].join(xs),
        tuple(SEPARATORS),
        slips=((".join(result)", ".join(x)"), ("'.join", " '.join"), ("append(x)", "add(x)")),
    ),
    "longest": ReductionKind(
        ("word",),
        ("the longest",),
        "result = []",
        "result.append(x)",
        "max(result, key=len)",
        lambda xs, _: max(xs, key=len),
        slips=((", key=len", ""), ("max", "min")),
    ),
}
