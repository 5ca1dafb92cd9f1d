"""How far two raters agree: share of agreement and Cohen's kappa."""

import math
from collections.abc import Hashable, Sequence

import numpy as np

from marl_bench.statistics.intervals import LEVEL, Interval, wilson_interval
from marl_bench.statistics.proportions import clustered_wilson_interval


def agreement(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    *,
    clusters: Sequence[str] | None = None,
    level: float = LEVEL,
) -> Interval:
    """Returns the share of items with equal labels, with its Wilson interval.

    Args:
        first: Labels of one rater, any hashable values.
        second: Labels of the other on the same items, in the same order.
        clusters: The prompt of each item, where several items share one; None takes all items as independent.
        level: Nominal coverage.

    Raises:
        ValueError: No items, or the raters (or cluster ids) differ in number.
    """
    equal = [float(one == other) for one, other in _pairs(first, second)]
    if clusters is None:
        return wilson_interval(sum(equal), len(equal), level=level)
    return clustered_wilson_interval(equal, clusters, level=level)


def cohens_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """Returns Cohen's kappa, or None where both raters give one and the same label throughout: chance then agrees always.

    (p_o - p_e) / (1 - p_e), p_o the share of agreement, p_e the sum over labels of the product of both raters' shares.

    Args:
        first: Labels of one rater, any hashable values.
        second: Labels of the other on the same items, in the same order.

    Raises:
        ValueError: No items, or the raters differ in number.

    Source: Cohen (1960), "A coefficient of agreement for nominal scales".
    """
    table = _shares(first, second)
    chance = float(table.sum(axis=1) @ table.sum(axis=0))
    return None if chance >= 1 else (float(np.trace(table)) - chance) / (1 - chance)


def kappa_interval(first: Sequence[Hashable], second: Sequence[Hashable], *, level: float = LEVEL) -> Interval | None:
    """Returns Cohen's kappa with its large-sample interval, or None where a rater gives one and the same label throughout.

    kappa ± z s, with the standard error of Fleiss, Cohen & Everitt (1969), equation 13, clipped to -1..1. Where the raters agree on
    every item s is 0; the low end is then the kappa of the low end of the agreement's Wilson interval. Items must be independent.

    Raises:
        ValueError: No items, or the raters differ in number.
    """
    kappa = cohens_kappa(first, second)
    if kappa is None or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    from scipy.special import ndtri

    table = _shares(first, second)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    chance = float(rows @ columns)
    if kappa == 1:
        return Interval(1.0, (agreement(first, second, level=level).low - chance) / (1 - chance), 1.0)
    diagonal = np.diag(table) @ np.square(1 - (rows + columns) * (1 - kappa))
    both = columns[:, None] + rows[None, :]
    off = table * np.square(both)
    rest = (1 - kappa) ** 2 * (off.sum() - np.trace(off))
    variance = (diagonal + rest - (kappa - chance * (1 - kappa)) ** 2) / ((1 - chance) ** 2 * len(first))
    half = float(ndtri((1 + level) / 2)) * math.sqrt(max(0.0, variance))
    return Interval(kappa, max(-1.0, kappa - half), min(1.0, kappa + half))


def _pairs(first: Sequence[Hashable], second: Sequence[Hashable]) -> list[tuple[Hashable, Hashable]]:
    if len(first) != len(second) or not first:
        raise ValueError(
            f"agreement: {len(first)} and {len(second)} labels; give both raters' labels of the same items, at least one."
        )
    return list(zip(first, second, strict=True))


def _shares(first: Sequence[Hashable], second: Sequence[Hashable]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Returns the [labels, labels] table of shares of items."""
    pairs = _pairs(first, second)
    place = {label: number for number, label in enumerate(dict.fromkeys([*first, *second]))}
    table = np.zeros((len(place), len(place)))
    for one, other in pairs:
        table[place[one], place[other]] += 1
    return table / len(pairs)
