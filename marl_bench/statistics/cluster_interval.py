"""The interval of a mean over prompts: bootstrap for few, closed form for many."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from marl_bench.statistics.bootstrap import RESAMPLES, cluster_bootstrap_interval
from marl_bench.statistics.clustered import cluster_sums
from marl_bench.statistics.intervals import LEVEL, Interval

MANY_CLUSTERS = 1000
"""From so many clusters on the mean is normal enough: the closed form then agrees with the bootstrap to its own noise, at a
thousandth of its time."""


def cluster_mean_interval(
    values: Sequence[float] | npt.NDArray[np.float64],
    clusters: Sequence[str] | npt.NDArray[np.int64],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval | None:
    """Returns the mean of values in clusters with its interval over whole clusters, or None for fewer than two clusters.

    Below `MANY_CLUSTERS` clusters the bootstrap of `cluster_bootstrap_interval`; from there on mean ± t(level, G - 1) times the
    cluster-robust standard error of G clusters.

    Args:
        values: Any unit.
        clusters: The cluster (prompt) of each value.
        rng: Generator of the resamples.
        resamples: Number of resamples.
        level: Nominal coverage.

    Raises:
        ValueError: No values, or values and clusters differ in number.
    """
    from scipy.special import stdtrit

    found = cluster_sums(values, clusters)
    if found.count < MANY_CLUSTERS:
        return cluster_bootstrap_interval(values, clusters, rng=rng, resamples=resamples, level=level)
    half = float(stdtrit(found.count - 1, (1 + level) / 2)) * found.standard_error()
    return Interval(found.mean, found.mean - half, found.mean + half)
