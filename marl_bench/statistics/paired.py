"""Paired comparison of two arms on the prompts that both have answered."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from marl_bench.statistics.bootstrap import RESAMPLES, cluster_bootstrap_interval
from marl_bench.statistics.intervals import LEVEL, Interval


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """First minus second over shared prompts.

    Attributes:
        delta: Mean of the differences.
        interval: Bootstrap interval over prompts; None below two prompts.
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

    Args:
        first: Prompt id to value; with several seeds the prompt's mean over them, so that prompts stay the independent
            unit.
        second: Likewise.
        rng: Generator of the resamples.
        resamples: Number of resamples.
        level: Nominal coverage.
    """
    shared = sorted(first.keys() & second.keys())
    differences = np.array([first[prompt] - second[prompt] for prompt in shared], dtype=np.float64)
    return difference_over_prompts(differences, rng=rng, resamples=resamples, level=level)


def difference_over_prompts(
    differences: npt.NDArray[np.float64],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> PairedDifference | None:
    """Returns what `paired_difference` returns from one difference a prompt, or None if there is no prompt.

    Args:
        differences: [prompts] first minus second; the order matters to the resamples only.
        rng: Generator of the resamples.
        resamples: Number of resamples.
        level: Nominal coverage.
    """
    if not differences.size:
        return None
    higher = int((differences > 0).sum())
    lower = int((differences < 0).sum())
    return PairedDifference(
        delta=float(differences.mean()),
        interval=cluster_bootstrap_interval(
            differences, np.arange(differences.size), rng=rng, resamples=resamples, level=level
        ),
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
