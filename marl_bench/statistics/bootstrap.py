"""Seeded bootstraps of a mean: over clusters, and over seeds and prompts together."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from marl_bench.statistics.intervals import LEVEL, Interval

RESAMPLES = 4000
"""Default number of resamples; the ends then move by less than a twentieth of a standard error between generators."""

_DRAWS_AT_ONCE = 2_000_000  # bounds the memory of one vectorised block to some 16 MB


def cluster_bootstrap_interval(
    values: Sequence[float] | npt.NDArray[np.float64],
    clusters: Sequence[str] | npt.NDArray[np.int64],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval | None:
    """Returns the mean with its percentile interval over whole clusters, or None for fewer than two clusters.

    Clusters (prompts) are drawn with replacement and keep all of their values, so values of one cluster may depend on
    each other.

    Raises:
        ValueError: Values and clusters differ in number.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (len(clusters),):
        raise ValueError(f"cluster_bootstrap_interval: {numbers.size} values but {len(clusters)} cluster ids.")
    names, position = np.unique(np.asarray(clusters), return_inverse=True)
    if names.size < 2:
        return None
    sums = np.bincount(position, weights=numbers)
    sizes = np.bincount(position).astype(np.float64)
    means = np.concatenate(
        [
            sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
            for drawn in _draws(names.size, resamples=resamples, rng=rng)
        ]
    )
    return _percentile_interval(float(numbers.mean()), means, level=level)


def two_level_bootstrap_interval(
    values: npt.NDArray[np.float64],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval | None:
    """Returns the mean of a seeds x prompts table with its interval over both, or None below two seeds or prompts.

    Seeds and prompts are drawn independently with replacement, and a cell counts by the product of its two counts. The
    variance is that of the seeds plus that of the prompts, and slightly more than that of what is left: cautious.

    Args:
        values: [seeds, prompts], NaN where a sample is unscored.
        rng: Generator of the resamples.
        resamples: Number of resamples.
        level: Nominal coverage.

    Source: the pigeonhole bootstrap of Owen (2007).
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
    return _percentile_interval(float(filled.sum() / known.sum()), np.concatenate(means), level=level)


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


def _percentile_interval(estimate: float, means: npt.NDArray[np.float64], *, level: float) -> Interval:
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))
