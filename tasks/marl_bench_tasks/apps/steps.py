"""The steps that embedded problems are composed of: what they say, the code that does it, and what it means.

A step's meaning (`apply`) is a function of its own, so that a program is judged by tests that its code did not make.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

from marl_bench_tasks.apps.vocabulary import LETTERS

Element = Literal["number", "word", "letter"]
SMALL = tuple(range(2, 10))
LENGTHS = (2, 3, 4)


@dataclasses.dataclass(frozen=True)
class StepKind:
    """One thing that is done to every element.

    Attributes:
        takes: Kinds of element that it works on.
        keeps: True for a filter.
        phrases: Wordings; `{k}` is its constant, `{s}` the plural of the elements.
        code: Of a filter a condition, else a statement; of the element `x`.
        apply: Of element and constant: whether it stays, or what it becomes.
        constants: Values of `{k}`; one empty one if it has none.
        gives: Kind of element afterwards, if another.
        slips: Codes that look alike and are wrong.
    """

    takes: tuple[Element, ...]
    keeps: bool
    phrases: tuple[str, ...]
    code: str
    apply: Callable[[Any, Any], Any]
    constants: tuple[Any, ...] = ("",)
    gives: Element | None = None
    slips: tuple[str, ...] = ()


_NUMBER: tuple[Element, ...] = ("number",)
_WORD: tuple[Element, ...] = ("word",)
_LETTER: tuple[Element, ...] = ("letter",)
_TEXT: tuple[Element, ...] = ("word", "letter")

STEPS: Mapping[str, StepKind] = {
    "even": StepKind(
        _NUMBER,
        True,
        ("keep only the even {s}",),
        "x % 2 == 0",
        lambda x, _: x % 2 == 0,
        slips=("x % 2 == 1", "x % 2 != 0"),
    ),
    "odd": StepKind(
        _NUMBER,
        True,
        ("keep only the odd {s}",),
        "x % 2 == 1",
        lambda x, _: x % 2 == 1,
        slips=("x % 2 == 0", "x % 2 != 1"),
    ),
    "above": StepKind(
        _NUMBER,
        True,
        ("keep only the {s} greater than {k}",),
        "x > {k}",
        lambda x, k: x > k,
        SMALL,
        slips=("x >= {k}", "x < {k}"),
    ),
    "below": StepKind(
        _NUMBER,
        True,
        ("keep only the {s} less than {k}",),
        "x < {k}",
        lambda x, k: x < k,
        tuple(range(8, 20)),
        slips=("x <= {k}", "x > {k}"),
    ),
    "multiple": StepKind(
        _NUMBER,
        True,
        ("keep only the multiples of {k}",),
        "x % {k} == 0",
        lambda x, k: x % k == 0,
        (3, 4, 5),
        slips=("x % {k} != 0", "x / {k} == 0", "x % {k}"),
    ),
    "not_multiple": StepKind(
        _NUMBER,
        True,
        ("drop the multiples of {k}",),
        "x % {k} != 0",
        lambda x, k: x % k != 0,
        (3, 4, 5),
        slips=("x % {k} == 0", "x % {k} > 1"),
    ),
    "plus": StepKind(
        _NUMBER,
        False,
        ("add {k} to each",),
        "x = x + {k}",
        lambda x, k: x + k,
        SMALL,
        slips=("x = x - {k}", "x = x * {k}", "x == x + {k}"),
    ),
    "minus": StepKind(
        _NUMBER,
        False,
        ("subtract {k} from each",),
        "x = x - {k}",
        lambda x, k: x - k,
        SMALL,
        slips=("x = x + {k}", "x = {k} - x"),
    ),
    "times": StepKind(
        _NUMBER,
        False,
        ("multiply each by {k}",),
        "x = x * {k}",
        lambda x, k: x * k,
        SMALL,
        slips=("x = x + {k}", "x = x ** {k}"),
    ),
    "square": StepKind(
        _NUMBER, False, ("square each",), "x = x * x", lambda x, _: x * x, slips=("x = x * 2", "x = x + x")
    ),
    "remainder": StepKind(
        _NUMBER,
        False,
        ("take the remainder of each divided by {k}",),
        "x = x % {k}",
        lambda x, k: x % k,
        tuple(range(4, 10)),
        slips=("x = x // {k}", "x = x / {k}"),
    ),
    "quotient": StepKind(
        _NUMBER,
        False,
        ("divide each by {k} and round down",),
        "x = x // {k}",
        lambda x, k: x // k,
        (2, 3, 4),
        slips=("x = x / {k}", "x = x % {k}"),
    ),
    "cap": StepKind(
        _NUMBER,
        False,
        ("replace those above {k} by {k}",),
        "if x > {k}:\n    x = {k}",
        lambda x, k: min(x, k),
        tuple(range(8, 20)),
        slips=("if x < {k}:\n    x = {k}", "if x > {k}:\n    x = 0"),
    ),
    "zero": StepKind(
        _NUMBER,
        False,
        ("replace those below {k} by 0",),
        "if x < {k}:\n    x = 0",
        lambda x, k: 0 if x < k else x,
        SMALL,
        slips=("if x > {k}:\n    x = 0", "if x < {k}:\n    x = {k}"),
    ),
    "longer": StepKind(
        _WORD,
        True,
        ("keep only the {s} longer than {k}",),
        "len(x) > {k}",
        lambda x, k: len(x) > k,
        LENGTHS,
        slips=("len(x) >= {k}", "len(x) < {k}", "x > {k}"),
    ),
    "shorter": StepKind(
        _WORD,
        True,
        ("keep only the {s} shorter than {k}",),
        "len(x) < {k}",
        lambda x, k: len(x) < k,
        (4, 5, 6),
        slips=("len(x) <= {k}", "len(x) > {k}", "x < {k}"),
    ),
    "holding": StepKind(
        _WORD,
        True,
        ("keep only the {s} that contain {k}",),
        "'{k}' in x",
        lambda x, k: k in x,
        LETTERS,
        slips=("'{k}' not in x", "x in '{k}'"),
    ),
    "lacking": StepKind(
        _WORD,
        True,
        ("drop the {s} that contain {k}",),
        "'{k}' not in x",
        lambda x, k: k not in x,
        LETTERS,
        slips=("'{k}' in x", "x not in '{k}'"),
    ),
    "vowels": StepKind(
        _LETTER,
        True,
        ("keep only the vowels",),
        "x in 'aeiou'",
        lambda x, _: x in "aeiou",
        slips=("x not in 'aeiou'", "x in 'aeio'"),
    ),
    "consonants": StepKind(
        _LETTER,
        True,
        ("drop the vowels",),
        "x not in 'aeiou'",
        lambda x, _: x not in "aeiou",
        slips=("x in 'aeiou'", "x not in 'aei'"),
    ),
    "other": StepKind(
        _LETTER, True, ("drop every {k}",), "x != '{k}'", lambda x, k: x != k, LETTERS, slips=("x == '{k}'", "x != {k}")
    ),
    "after": StepKind(
        _LETTER,
        True,
        ("keep only the {s} after {k} in the alphabet",),
        "x > '{k}'",
        lambda x, k: x > k,
        ("d", "g", "m"),
        slips=("x < '{k}'", "x >= '{k}'"),
    ),
    "upper": StepKind(
        _TEXT,
        False,
        ("write each in capitals",),
        "x = x.upper()",
        lambda x, _: x.upper(),
        slips=("x = x.lower()", "x.upper()", "x = x.upper"),
    ),
    "reverse": StepKind(
        _WORD, False, ("reverse each",), "x = x[::-1]", lambda x, _: x[::-1], slips=("x = x[::1]", "x.reverse()")
    ),
    "first": StepKind(
        _WORD,
        False,
        ("cut each to its first {k} letters",),
        "x = x[:{k}]",
        lambda x, k: x[:k],
        (2, 3, 4),
        slips=("x = x[{k}:]", "x = x[{k}]"),
    ),
    "last": StepKind(
        _WORD,
        False,
        ("cut the first {k} letters off each",),
        "x = x[{k}:]",
        lambda x, k: x[k:],
        (2, 3),
        slips=("x = x[:{k}]", "x = x[{k}]"),
    ),
    "repeat": StepKind(
        _TEXT,
        False,
        ("write each {k} times",),
        "x = x * {k}",
        lambda x, k: x * k,
        (2, 3, 4),
        slips=("x = x + {k}", "x = x ** {k}"),
    ),
    "append": StepKind(
        _TEXT,
        False,
        ("add {k} to the end of each",),
        "x = x + '{k}'",
        lambda x, k: x + k,
        LETTERS,
        slips=("x = '{k}' + x", "x = x + {k}"),
    ),
    "prepend": StepKind(
        _TEXT,
        False,
        ("put {k} in front of each",),
        "x = '{k}' + x",
        lambda x, k: k + x,
        LETTERS,
        slips=("x = x + '{k}'", "x = {k} + x"),
    ),
    "length": StepKind(
        _WORD,
        False,
        ("take the length of each",),
        "x = len(x)",
        lambda x, _: len(x),
        gives="number",
        slips=("x = len(x) - 1", "x = x.len()"),
    ),
}
