"""Means of values that come in clusters: several samples of one prompt, two orders of one pair."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from marl_bench.statistics.intervals import LEVEL, Interval


@dataclasses.dataclass(frozen=True)
class ClusterSums:
    """Values added up by cluster, all that a mean over whole clusters needs.

    Attributes:
        sums: [clusters] sum of each cluster's values.
        sizes: [clusters] number of each cluster's values.
        position: [values] which cluster each value belongs to; clusters stand in the order of their sorted names.
    """

    sums: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.float64]
    position: npt.NDArray[np.int64]

    @property
    def count(self) -> int:
        """Number of clusters."""
        return int(self.sums.size)

    @property
    def mean(self) -> float:
        """Mean of all values, each counting the same."""
        return float(self.sums.sum() / self.sizes.sum())

    def standard_error(self) -> float:
        """Returns the cluster-robust standard error of the mean; infinity for one cluster: it says nothing about the next."""
        if self.count < 2:
            return math.inf
        residuals = self.sums - self.mean * self.sizes
        scale = self.count / (self.count - 1) / self.sizes.sum() ** 2
        return float(np.sqrt(scale * np.square(residuals).sum()))


def cluster_sums(
    values: Sequence[float] | npt.NDArray[np.float64], clusters: Sequence[str] | npt.NDArray[np.int64]
) -> ClusterSums:
    """Returns the values added up by cluster.

    Raises:
        ValueError: No values, or values and clusters differ in number.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (len(clusters),):
        raise ValueError(
            f"{numbers.size} values but {len(clusters)} cluster ids; each value needs the id of its cluster."
        )
    if not numbers.size:
        raise ValueError("no values; a mean needs at least one.")
    _, position = np.unique(np.asarray(clusters), return_inverse=True)
    return ClusterSums(
        np.bincount(position, weights=numbers).astype(np.float64), np.bincount(position).astype(np.float64), position
    )


def cluster_standard_error(values: Sequence[float], clusters: Sequence[str]) -> float:
    """Returns the standard error of the mean when values of one cluster may depend on each other; infinity for one cluster.

    sqrt(G / (G - 1) * sum over clusters of (sum of its residuals)²) / N, with G clusters and N values; with clusters of one value each
    that is the usual s / sqrt(N).

    Args:
        values: In any unit; the result has the same.
        clusters: The cluster (prompt id) of each value.

    Raises:
        ValueError: No values, or values and clusters differ in number.

    Source: Liang & Zeger (1986) for a mean, with the G / (G - 1) correction that statsmodels and Stata use.
    """
    return cluster_sums(values, clusters).standard_error()


def cluster_mean_interval(values: ClusterSums, *, level: float = LEVEL) -> Interval | None:
    """Returns the mean with its Student t interval over clusters, or None for one cluster.

    mean ± t(level, clusters - 1) * cluster-robust standard error.
    """
    from scipy.special import stdtrit

    if values.count < 2:
        return None
    half = float(stdtrit(values.count - 1, (1 + level) / 2)) * values.standard_error()
    return Interval(values.mean, values.mean - half, values.mean + half)
