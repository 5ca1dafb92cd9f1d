"""Seeded bootstraps of a mean: over clusters, and over seeds and prompts together."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from marl_bench.statistics.clustered import cluster_mean_interval, cluster_sums
from marl_bench.statistics.intervals import LEVEL, Interval

RESAMPLES = 4000
"""Default number of resamples; the ends then move by less than a twentieth of a standard error between generators."""

BOOTSTRAP_FROM_CLUSTERS = 10
"""Resamples of fewer clusters do not reach far enough: over 5 they cover 92 of 95 % where Student t covers 94.5."""

BOOTSTRAP_BELOW_CLUSTERS = 500
"""From so many clusters on Student t agrees with the resamples to their own noise, at a thousandth of their time."""

_DRAWS_AT_ONCE = 2_000_000  # bounds the memory of one vectorised block to some 16 MB


def cluster_bootstrap_interval(
    values: Sequence[float] | npt.NDArray[np.float64],
    clusters: Sequence[str] | npt.NDArray[np.int64],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval | None:
    """Returns the mean with its interval over whole clusters, or None for fewer than two clusters.

    Clusters (prompts) are drawn with replacement and keep all of their values, so values of one cluster may depend on
    each other. Below `BOOTSTRAP_FROM_CLUSTERS` and from `BOOTSTRAP_BELOW_CLUSTERS` clusters on: Student t with the
    cluster-robust standard error.

    Raises:
        ValueError: Values and clusters differ in number.
    """
    found = cluster_sums(values, clusters)
    if not BOOTSTRAP_FROM_CLUSTERS <= found.count < BOOTSTRAP_BELOW_CLUSTERS:
        return cluster_mean_interval(found, level=level)
    equal = bool((found.sizes == found.sizes[0]).all())  # as a rule; every resample then holds as many values
    means = np.concatenate(
        [
            found.sums[drawn].sum(axis=1) / (found.sizes.sum() if equal else found.sizes[drawn].sum(axis=1))
            for drawn in _draws(found.count, resamples=resamples, rng=rng)
        ]
    )
    return percentile_interval(found.mean, means, clusters=found.count, level=level)


def two_level_bootstrap_interval(
    values: npt.NDArray[np.float64],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval | None:
    """Returns the mean of a seeds x prompts table with its interval over both, or None below two seeds or prompts.

    Seeds and prompts are drawn independently with replacement, and a cell counts by the product of its two counts. The
    variance of such resamples is that of the seeds plus that of the prompts plus three times that of what is left; the interval is
    drawn together to what it should be, with one time that of what is left.

    Args:
        values: [seeds, prompts], NaN where a sample is unscored.
        rng: Generator of the resamples.
        resamples: Number of resamples.
        level: Nominal coverage.

    Source: the pigeonhole bootstrap of Owen (2007); the variance components are those of a two-way layout without replicates.
    """
    seeds, prompts = values.shape
    if min(seeds, prompts) < 2:
        return None
    scored = np.isfinite(values)
    filled = np.where(scored, values, 0.0)
    known = scored.astype(np.float64)
    means = []
    for drawn in _draws(prompts, resamples=resamples, rng=rng):
        prompt_weights = _counts(drawn, prompts)
        seed_weights = _counts(rng.integers(seeds, size=(len(drawn), seeds)), seeds)
        totals = np.einsum("bs,bs->b", seed_weights, prompt_weights @ filled.T)
        weights = np.einsum("bs,bs->b", seed_weights, prompt_weights @ known.T)
        means.append(totals / weights)
    estimate = float(filled.sum() / known.sum())
    shrinkage, clusters = _two_way_spread(values)
    drawn_together = estimate + shrinkage * (np.concatenate(means) - estimate)
    return percentile_interval(estimate, drawn_together, clusters=clusters, level=level)


def _two_way_spread(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Returns the ratio of the mean's standard error to that of its resamples, and how many clusters the mean is worth.

    The latter is one more than Satterthwaite's degrees of freedom of the variance: near the number of seeds where they differ most, near
    that of prompts where those do.
    """
    seeds, prompts = values.shape
    centred = values - np.nanmean(values)
    seed_means, prompt_means = np.nanmean(centred, axis=1), np.nanmean(centred, axis=0)
    left = np.nansum(np.square(centred - seed_means[:, None] - prompt_means))
    of_rest = left / ((seeds - 1) * (prompts - 1) * seeds * prompts)
    of_seeds, of_prompts = seed_means.var(ddof=1) / seeds, prompt_means.var(ddof=1) / prompts
    variance = max(of_seeds + of_prompts - of_rest, of_seeds, of_prompts)
    if variance == 0:
        return 1.0, float(min(seeds, prompts))
    freedom = variance**2 / (of_seeds**2 / (seeds - 1) + of_prompts**2 / (prompts - 1))
    return float(np.sqrt(variance / (of_seeds + of_prompts + of_rest))), 1 + max(
        float(freedom), min(seeds, prompts) - 1.0
    )


def _draws(size: int, *, resamples: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """Yields blocks of resamples, [resamples in the block, size], of indices drawn with replacement."""
    at_once = max(1, _DRAWS_AT_ONCE // size)
    for start in range(0, resamples, at_once):
        yield rng.integers(size, size=(min(at_once, resamples - start), size))


def _counts(drawn: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.float64]:
    """Returns how often each of `size` indices stands in each row of `drawn`."""
    rows = len(drawn)
    flat = (drawn + size * np.arange(rows)[:, None]).ravel()
    return np.bincount(flat, minlength=rows * size).reshape(rows, size).astype(np.float64)


def resampled_counts(size: int, *, resamples: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Returns [resamples, size]: how often each of `size` clusters stands in each resample of as many."""
    return rng.multinomial(size, np.full(size, 1 / size), size=resamples).astype(np.float64)


def percentile_interval(
    estimate: float, resampled: npt.NDArray[np.float64], *, clusters: float, level: float = LEVEL
) -> Interval:
    """Returns an estimate with the percentile interval of its resamples, widened for the number of clusters.

    Plain percentiles are too narrow by sqrt((n - 1) / n) and by normal instead of t quantiles: over 50 clusters they cover 94 of 95 %,
    over 20 92 %. The ends are taken at the shares Φ(±sqrt(n / (n - 1)) t((1 + level) / 2, n - 1)) instead, which for a mean of
    symmetric values gives the Student t interval.

    Args:
        estimate: The estimate from all clusters.
        resampled: [resamples] the same quantity of each resample.
        clusters: Number n of clusters that were drawn from, at least 2.
        level: Nominal coverage.

    Source: the expanded percentile interval of Hesterberg (2015), "What teachers should know about the bootstrap", section 5.3.
    """
    from scipy.special import ndtr, stdtrit

    quantile = stdtrit(clusters - 1, (1 + level) / 2) * np.sqrt(clusters / (clusters - 1))
    low, high = np.quantile(resampled, [ndtr(-quantile), ndtr(quantile)])
    return Interval(estimate, float(low), float(high))
