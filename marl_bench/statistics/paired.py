"""Paired comparison of two arms on the prompts that both have answered."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from marl_bench.statistics.bootstrap import RESAMPLES, cluster_bootstrap_interval
from marl_bench.statistics.intervals import LEVEL, Interval
from marl_bench.statistics.proportions import paired_rates_interval

_ROUNDING = 1e-12
"""Share of a value that means over seeds and samples may be off by; 0.1 + 0.2 and 0.3 differ by 2e-16 of theirs."""


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """First minus second over shared prompts.

    Attributes:
        delta: Mean of the differences.
        interval: Interval over prompts; None below two prompts.
        higher: Prompts on which the first is higher.
        equal: Prompts on which both are equal.
        lower: Prompts on which the first is lower.
        p_value: Two-sided exact sign test over the prompts that differ; 1 if none does.
    """

    delta: float
    interval: Interval | None
    higher: int
    equal: int
    lower: int
    p_value: float

    @property
    def prompts(self) -> int:
        """Number of shared prompts."""
        return self.higher + self.equal + self.lower


def paired_difference(
    first: Mapping[str, float],
    second: Mapping[str, float],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> PairedDifference | None:
    """Returns first minus second on the prompt ids that both have, or None if they share none.

    Where all values are 0 or 1 (passed, finished) the interval is that of two paired rates.

    Args:
        first: Prompt id to value; with several seeds the prompt's mean over them, so that prompts stay the independent
            unit.
        second: Likewise.
        rng: Generator of the resamples.
        resamples: Number of resamples.
        level: Nominal coverage.
    """
    shared = sorted(first.keys() & second.keys())
    ones, others = (np.array([one[prompt] for prompt in shared], dtype=np.float64) for one in (first, second))
    differences = difference_without_rounding(ones, others, size=np.maximum(np.abs(ones), np.abs(others)))
    of_rates = all(one[prompt] in (0, 1) for one in (first, second) for prompt in shared)
    return difference_over_prompts(differences, of_rates=of_rates, rng=rng, resamples=resamples, level=level)


def difference_without_rounding(
    first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], *, size: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Returns first minus second, 0 where all that is left is rounding: a tie must not be won by the order of a sum.

    Args:
        first: Values, or means of some.
        second: Likewise.
        size: Largest absolute value that either is made of.
    """
    found = first - second
    equal: npt.NDArray[np.float64] = np.where(np.abs(found) <= _ROUNDING * size, 0.0, found)
    return equal


def difference_over_prompts(
    differences: npt.NDArray[np.float64],
    *,
    of_rates: bool = False,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> PairedDifference | None:
    """Returns what `paired_difference` returns from one difference a prompt, or None if there is no prompt.

    Args:
        differences: [prompts] first minus second; the order matters to the resamples only.
        of_rates: True if every value of both arms is 0 or 1 (before means over seeds): the interval is then `paired_rates_interval`'s.
        rng: Generator of the resamples.
        resamples: Number of resamples.
        level: Nominal coverage.
    """
    if not differences.size:
        return None
    higher = int((differences > 0).sum())
    lower = int((differences < 0).sum())
    if of_rates and differences.size > 1:
        interval: Interval | None = paired_rates_interval(differences, level=level)
    else:
        prompts = np.arange(differences.size)
        interval = cluster_bootstrap_interval(differences, prompts, rng=rng, resamples=resamples, level=level)
    return PairedDifference(
        delta=float(differences.mean()),
        interval=interval,
        higher=higher,
        equal=differences.size - higher - lower,
        lower=lower,
        p_value=sign_test(higher, lower),
    )


def sign_test(higher: int, lower: int) -> float:
    """Returns the two-sided exact p-value that ups and downs are equally likely; ties are left out by the caller.

    2 P(X <= min(higher, lower)) with X ~ Binomial(higher + lower, 1/2), at most 1; 1 where nothing differs.

    Raises:
        ValueError: A count is negative.
    """
    # scipy.stats has the same test but takes twice as long to load; a comparison makes few of them.
    from scipy.special import bdtr

    if min(higher, lower) < 0:
        raise ValueError(f"sign_test: {higher} ups and {lower} downs; counts are at least 0.")
    return min(1.0, 2 * float(bdtr(min(higher, lower), higher + lower, 0.5))) if higher + lower else 1.0
