"""Intervals over prompts."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from marl_bench.statistics.bootstrap import RESAMPLES, cluster_bootstrap_interval
from marl_bench.statistics.intervals import LEVEL, Interval
from marl_bench.statistics.proportions import clustered_wilson_interval


def prompt_interval(
    values: Sequence[float] | npt.NDArray[np.float64],
    prompts: Sequence[str] | npt.NDArray[np.int64],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval | None:
    """Returns the mean with its interval over prompts, or None with one prompt: it says nothing about the next.

    Values that are all 0 or 1 (passed, finished) are a rate with its clustered Wilson interval: no resample of ten passes in ten has a
    failure in it. Others are resampled by prompt.

    Args:
        values: One a sample, in any unit.
        prompts: The prompt of each sample.
        rng: Generator of the resamples.
        resamples: Number of resamples.
        level: Nominal coverage.

    Raises:
        ValueError: No values, or values and prompts differ in number.
    """
    numbers = np.asarray(values, dtype=np.float64)
    is_rate = bool(np.all((numbers == 0) | (numbers == 1)))
    if is_rate and np.unique(np.asarray(prompts)).size >= 2:
        return clustered_wilson_interval(numbers, prompts, level=level)
    return cluster_bootstrap_interval(numbers, prompts, rng=rng, resamples=resamples, level=level)
