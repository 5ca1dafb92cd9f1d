"""Intervals with a closed form: Wilson for proportions, Student t for means."""

import dataclasses
import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from marl_bench.statistics.clustered import ClusterSums

LEVEL = 0.95
"""Nominal coverage of every interval of this package unless a caller says otherwise."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """An estimate with the two ends of its interval, all in the unit of the estimate."""

    estimate: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the interval's width."""
        return (self.high - self.low) / 2

    def excludes(self, value: float) -> bool:
        """Returns True if `value` lies outside the interval; its ends belong to the interval."""
        return value < self.low or value > self.high


def mean_interval(values: Sequence[float], *, level: float = LEVEL) -> Interval | None:
    """Returns the mean with its Student t interval, or None for fewer than two values.

    mean ± t(level, n - 1) * s / sqrt(n), s with n - 1 in the denominator.
    """
    # Loading scipy takes longer than making a whole report's tables; importing this module must stay cheap.
    from scipy.special import stdtrit

    count = len(values)
    if count < 2:
        return None
    mean = math.fsum(values) / count
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    half = float(stdtrit(count - 1, (1 + level) / 2)) * deviation / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)


def wilson_interval(successes: float, trials: float, *, level: float = LEVEL) -> Interval:
    """Returns the Wilson score interval of a proportion.

    (p + z²/2n ± z sqrt(p(1 - p)/n + z²/4n²)) / (1 + z²/n). Successes may be fractional (a tie is half a win) and trials
    may be an effective number.

    Raises:
        ValueError: No trials, or successes outside 0..trials.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(f"wilson_interval: {successes} successes of {trials} trials is no proportion.")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / trials
    scale = 1 + z**2 / trials
    centre = (share + z**2 / (2 * trials)) / scale
    half = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / scale
    # At 0 and 1 the formula gives the end itself up to rounding; the ends must not leave the unit interval.
    return Interval(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def clustered_wilson_interval(cluster_means: Sequence[float], *, trials: int, level: float = LEVEL) -> Interval:
    """Returns the Wilson interval of a mean of values in 0..1 that come in clusters of equal size.

    The effective number of trials is p(1 - p) / (variance of the cluster means / clusters): the number of clusters when
    the members of a cluster always agree, the number of trials (its upper bound) when they are independent.

    Args:
        cluster_means: One mean a cluster (a prompt).
        trials: Number of values in all clusters together.
        level: Nominal coverage.

    Raises:
        ValueError: No clusters, or a mean outside 0..1.

    Source: the effective sample size of Korn & Graubard (1998) in the Wilson interval, without their t correction.
    """
    means = np.asarray(cluster_means, dtype=np.float64)
    if means.size == 0 or means.min() < 0 or means.max() > 1:
        raise ValueError("clustered_wilson_interval: needs cluster means between 0 and 1, at least one.")
    share = float(means.mean())
    spread = float(means.var()) / means.size
    # With all cluster means equal the spread says nothing about agreement inside clusters: take the cautious end.
    effective = share * (1 - share) / spread if spread > 0 else float(means.size)
    effective = min(max(effective, float(means.size)), float(trials))
    return wilson_interval(share * effective, effective, level=level)


def wilson_interval_of_clusters(values: ClusterSums, *, level: float = LEVEL) -> Interval:
    """Returns the Wilson interval of a mean of values in 0..1 that come in clusters of any sizes.

    The effective number of trials is p(1 - p) / (cluster-robust standard error)², as in `clustered_wilson_interval`.

    Args:
        values: Values added up by cluster, each between 0 and 1.
        level: Nominal coverage.

    Source: Korn & Graubard (1998), as `clustered_wilson_interval`.
    """
    share = values.mean
    error = values.standard_error()
    trials = float(values.sizes.sum())
    effective = share * (1 - share) / error**2 if error > 0 else float(values.count)
    effective = min(max(effective, 1.0), trials)
    return wilson_interval(share * effective, effective, level=level)
