"""Named, versioned comparisons of what a program printed with what it should have printed. Their name is part of a metric.

`strict-v1` and `tokens-v1` compare exactly, or numbers within a tolerance that the problem declares. `apps-official-v1` follows the published
grader of APPS and is lenient: it ignores the order of lines, repeated words and small differences of numbers. Never train with it.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence

from marl_bench.errors import UnknownNameError

Comparator = Callable[[str, str, float], bool]

_WHITESPACE = re.compile(r"[ \t\n\r\x0b\x0c]+")  # str.split() would also split at Unicode spaces and separators


def comparator(name: str) -> Comparator:
    """Returns the function (printed, expected, tolerance) -> bool of a comparator.

    Raises:
        UnknownNameError: There is none of that name.
    """
    if name not in COMPARATORS:
        raise UnknownNameError("comparator", name, COMPARATORS)
    return COMPARATORS[name]


def equal_lines(printed: str, expected: str, tolerance: float) -> bool:
    """Compares line by line; white space at the end of a line and empty lines at the end do not count."""
    ours, theirs = _lines(printed), _lines(expected)
    return len(ours) == len(theirs) and all(
        mine == other or (tolerance > 0 and _indent(mine) == _indent(other) and equal_tokens(mine, other, tolerance))
        for mine, other in zip(ours, theirs, strict=True)
    )


def equal_tokens(printed: str, expected: str, tolerance: float) -> bool:
    """Compares the words between white space, in order."""
    ours, theirs = _tokens(printed), _tokens(expected)
    return len(ours) == len(theirs) and all(
        mine == other or (tolerance > 0 and _close(mine, other, tolerance))
        for mine, other in zip(ours, theirs, strict=True)
    )


def equal_as_published_for_apps(printed: str, expected: str, _tolerance: float) -> bool:
    """Compares as the published grader of APPS does for programs that read stdin; the tolerance is its own, 1e-5 or three decimals.

    Source: hendrycks/apps, eval/testing_util.py (`run_test`); steps that can only repeat an earlier one are left out.
    """
    ours = printed.splitlines()
    if expected.strip() in ("\n".join(ours).strip(), "\n".join(line.strip() for line in ours).strip()) or ours == [
        expected
    ]:
        return True
    theirs = [line.strip() for line in expected.split("\n") if line]
    if ours == theirs:
        return True
    ours = [line for line in ours if line]
    if ours == theirs or _all_close(ours, theirs):
        return True
    mine = {frozenset(line.split()) for line in ours if line.split()}
    other = {frozenset(line.split()) for line in theirs}
    return mine == other or _rounded(mine) == _rounded(other) is not None


def _all_close(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    try:
        pairs = [(float(mine), float(other)) for mine, other in zip(ours, theirs, strict=True)]
    except ValueError:
        return False
    # As numpy.allclose, whose tolerances these are.
    return all(
        mine == other or (math.isfinite(other) and abs(mine - other) <= 1e-8 + 1e-5 * abs(other))
        for mine, other in pairs
    )


def _rounded(lines: set[frozenset[str]]) -> set[tuple[str, ...]] | None:
    """Returns the sets of rounded numbers as texts, whose hashes nobody can foresee; None if a word is no number equal to itself."""
    try:
        numbers = [{round(float(word), 3) + 0.0 for word in line} for line in lines]
    except (ValueError, OverflowError):
        return None
    if any(math.isnan(number) for line in numbers for number in line):
        return None
    return {tuple(sorted(map(repr, line))) for line in numbers}


def _lines(text: str) -> list[str]:
    lines = [line.rstrip(" \t\r\x0b\x0c") for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _tokens(text: str) -> list[str]:
    return [token for token in _WHITESPACE.split(text) if token]


def _close(mine: str, other: str, tolerance: float) -> bool:
    try:
        return math.isclose(float(mine), float(other), rel_tol=tolerance, abs_tol=tolerance)
    except ValueError:
        return False


COMPARATORS: Mapping[str, Comparator] = {
    "strict-v1": equal_lines,
    "tokens-v1": equal_tokens,
    "apps-official-v1": equal_as_published_for_apps,
}
