"""Pearson correlation with a seeded bootstrap over clusters."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from marl_bench.statistics.bootstrap import RESAMPLES, percentile_interval, resampled_counts
from marl_bench.statistics.intervals import LEVEL, Interval


def cluster_bootstrap_correlation(
    xs: Sequence[float],
    ys: Sequence[float],
    clusters: Sequence[str],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval | None:
    """Returns Pearson's r of the pairs with its percentile interval over whole clusters.

    None for fewer than two clusters, or where one of the two does not vary. Resamples in which one does not vary are left out.

    Raises:
        ValueError: Pairs and clusters differ in number.
    """
    if not len(xs) == len(ys) == len(clusters):
        raise ValueError(f"cluster_bootstrap_correlation: {len(xs)} and {len(ys)} values, {len(clusters)} cluster ids.")
    names, position = np.unique(np.asarray(clusters), return_inverse=True)
    if names.size < 2:
        return None
    # Moments about the means of all pairs: far from 0, raw moments would cancel.
    x, y = (np.asarray(values, dtype=np.float64) - np.mean(values) for values in (xs, ys))
    moments = np.stack(
        [
            np.bincount(position, weights=part, minlength=names.size)
            for part in (np.ones_like(x), x, y, x * x, y * y, x * y)
        ]
    )
    estimate = _correlations(moments.sum(axis=1, keepdims=True))
    if not np.isfinite(estimate[0]):
        return None
    found = _correlations(moments @ resampled_counts(names.size, resamples=resamples, rng=rng).T)
    return percentile_interval(float(estimate[0]), found[np.isfinite(found)], clusters=names.size, level=level)


def _correlations(moments: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns r of each column of n, sums of x, y, xx, yy and xy; NaN where one does not vary."""
    count, x, y, xx, yy, xy = moments
    spread_x, spread_y = xx - x * x / count, yy - y * y / count
    # What rounding leaves of no spread at all is no spread.
    varies = (spread_x > 1e-12 * np.maximum(xx, 1e-300)) & (spread_y > 1e-12 * np.maximum(yy, 1e-300))
    scale = np.sqrt(np.where(varies, spread_x * spread_y, np.nan))
    found: npt.NDArray[np.float64] = np.clip((xy - x * y / count) / scale, -1, 1)
    return found
