"""Intervals of win rates and pass rates whose values come in clusters (prompts), and of the difference of two arms' pass rates."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from marl_bench.statistics.clustered import ClusterSums, cluster_sums
from marl_bench.statistics.intervals import LEVEL, Interval, wilson_interval


def clustered_wilson_interval(
    values: Sequence[float] | npt.NDArray[np.float64],
    clusters: Sequence[str] | npt.NDArray[np.int64],
    *,
    level: float = LEVEL,
) -> Interval:
    """Returns the mean of values in 0..1 with its Wilson interval, for values of one cluster that may depend on each other.

    The Wilson interval at an effective number of trials: p(1 - p) / (variance of the mean), the variance being the jackknife's over
    clusters. For it one pseudo cluster of mean size, half won and half lost, joins the data, so that a variance estimate of 0 (all
    values equal) does not become certainty. With clusters of one 0 or 1 each this is the Wilson interval itself; ties, which vary less
    than wins and losses, make it narrower; values that agree inside clusters make it wider.

    Args:
        values: Between 0 and 1 each: wins with ties as 1/2, passes, means of both, or one pass@k a problem.
        clusters: The cluster (prompt id) of each value; clusters may differ in size.
        level: Nominal coverage.

    Raises:
        ValueError: No values, one outside 0..1 (NaN among them), or values and clusters differ in number.

    Source: the effective sample size of Korn & Graubard (1998) in the interval of Wilson (1927). In place of their t correction, which
    covers too much over few clusters of one size, the t quantile of the effective number of clusters (sum of sizes)² / (sum of squared
    sizes) is used as far as it exceeds that of the number of clusters.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not np.all((numbers >= 0) & (numbers <= 1)):
        raise ValueError("clustered_wilson_interval: needs values between 0 and 1.")
    found = cluster_sums(numbers, clusters)
    trials = _effective_trials(found) * _penalty_of_unequal_sizes(found, level=level)
    share = min(1.0, found.mean)
    return wilson_interval(min(trials, share * trials), trials, level=level)


def paired_rates_interval(differences: Sequence[float] | npt.NDArray[np.float64], *, level: float = LEVEL) -> Interval:
    """Returns the mean difference of two arms' pass rates on the same items, with its interval.

    With d the n differences: m ± z sqrt((sum of d² + 1) / (n + 2) - m²) / sqrt(n + 2), m = (sum of d) / (n + 2), clipped to -1..1; the
    estimate itself is the mean of d. Two arms that differ on no item are not known to be equal: a resampling interval would have no
    width there, and over 50 items of which 4 % differ it covers 78 of 95 %.

    Args:
        differences: One an item: 1 where only the first passes, -1 where only the second does, 0 else; with several samples an item the
            mean of its differences.
        level: Nominal coverage.

    Raises:
        ValueError: No differences, or one outside -1..1 (NaN among them).

    Source: Agresti & Min (2005), "Simple improved confidence intervals for comparing matched proportions": half an item is added to each
    of the four cells of the table of both arms. Means over samples in place of counts are ours.
    """
    found = np.asarray(differences, dtype=np.float64)
    if not found.size or not np.all(np.abs(found) <= 1):
        raise ValueError("paired_rates_interval: needs differences of rates, between -1 and 1, at least one.")
    z = NormalDist().inv_cdf((1 + level) / 2)
    items = found.size + 2
    estimate, centre = float(found.mean()), float(found.sum()) / items
    half = z * math.sqrt(((float(np.square(found).sum()) + 1) / items - centre**2) / items)
    return Interval(estimate, min(estimate, max(-1.0, centre - half)), max(estimate, min(1.0, centre + half)))


def _effective_trials(values: ClusterSums) -> float:
    """Returns how many independent trials would have the mean's variance, one pseudo cluster included."""
    pseudo = values.sizes.mean()
    total = values.sizes.sum() + pseudo
    share = (values.sums.sum() + pseudo / 2) / total
    clusters = values.count + 1
    squares = np.square((values.sums - share * values.sizes) / (1 - values.sizes / total)).sum()
    pseudo_square = (share**2 + (1 - share) ** 2) / 2 * (pseudo / (1 - pseudo / total)) ** 2
    variance = (clusters - 1) / clusters * (squares + pseudo_square) / total**2
    return float(share * (1 - share) / variance)


def _penalty_of_unequal_sizes(values: ClusterSums, *, level: float) -> float:
    """Returns the share of the effective trials that is left where few large clusters decide; 1 for clusters of one size."""
    from scipy.special import stdtrit

    effective = float(values.sizes.sum() ** 2 / np.square(values.sizes).sum())
    if values.count < 2 or values.count - effective < 1e-9:
        return 1.0
    quantiles = stdtrit(np.maximum([values.count - 1, effective - 1], 1.0), (1 + level) / 2)
    return float((quantiles[0] / quantiles[1]) ** 2)
