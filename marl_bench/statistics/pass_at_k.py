"""pass@k: the chance that at least one of k samples of a problem passes."""

import math
from collections.abc import Sequence

import numpy as np

from marl_bench.statistics.intervals import LEVEL, Interval
from marl_bench.statistics.proportions import clustered_wilson_interval


def pass_at_k_of_problem(samples: int, passed: int, k: int) -> float:
    """Returns the unbiased estimate 1 - C(n - c, k) / C(n, k) for one problem with c of n samples passed.

    Raises:
        ValueError: k is below 1 or above n, or c is outside 0..n.

    Source: Chen et al. (2021), "Evaluating Large Language Models Trained on Code", equation 1; as exact integers.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k}: needs 1 <= k <= {samples}, the number of samples.")
    if not 0 <= passed <= samples:
        raise ValueError(f"pass@{k}: {passed} of {samples} samples cannot have passed.")
    return 1 - math.comb(samples - passed, k) / math.comb(samples, k)


def pass_at_k_interval(counts: Sequence[tuple[int, int]], k: int, *, level: float = LEVEL) -> Interval:
    """Returns the mean of pass@k over problems with its interval, problems being the independent unit.

    Args:
        counts: A problem's number of samples and how many of them passed; at least one problem.
        k: Samples drawn of each.
        level: Nominal coverage.

    Raises:
        ValueError: As `pass_at_k_of_problem`, or no problem.
    """
    means = [pass_at_k_of_problem(samples, passed, k) for samples, passed in counts]
    return clustered_wilson_interval(means, np.arange(len(means)), level=level)
