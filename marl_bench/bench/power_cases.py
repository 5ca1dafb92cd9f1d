"""Tests of comparisons on data with a known difference, against the power that `statistics/power.py` plans."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from marl_bench.bench.coverage import RESAMPLES, PowerCase
from marl_bench.statistics.bootstrap import cluster_bootstrap_interval
from marl_bench.statistics.contingency import mcnemar_test
from marl_bench.statistics.intervals import mean_interval
from marl_bench.statistics.multiplicity import holm_adjusted
from marl_bench.statistics.paired import sign_test
from marl_bench.statistics.power import minimum_detectable_difference, power_of_t_test

ALPHA = 0.05
Rng = np.random.Generator


def power_cases() -> list[PowerCase]:
    """Returns all cases."""
    return [*_t_tests(), *_bootstraps(), *_sign_tests(), *_mcnemar_tests(), *_holm()]


def _t_tests() -> Iterator[PowerCase]:
    for count in (3, 5, 10, 50):
        detectable = minimum_detectable_difference(1.0, count)
        for difference, text in ((0.0, "no difference"), (detectable, "the minimum detectable difference")):
            planned = power_of_t_test(1.0, count, difference)
            yield PowerCase(
                "Student t over seeds", text, f"{count} seeds", _excludes_zero(count, difference), planned, "power.py"
            )


def _excludes_zero(count: int, difference: float) -> Callable[[Rng], bool]:
    def make(rng: Rng) -> bool:
        found = mean_interval(rng.normal(difference, 1.0, count).tolist())
        return found is not None and found.excludes(0.0)

    return make


def _bootstraps() -> Iterator[PowerCase]:
    for prompts in (50, 200):
        detectable = minimum_detectable_difference(1.0, prompts)
        for difference, text in ((0.0, "no difference"), (detectable, "the minimum detectable difference")):

            def make(rng: Rng, prompts: int = prompts, difference: float = difference) -> bool:
                values = rng.normal(difference, 1.0, prompts)
                found = cluster_bootstrap_interval(values, np.arange(prompts), rng=rng, resamples=RESAMPLES)
                return found is not None and found.excludes(0.0)

            planned = power_of_t_test(1.0, prompts, difference)
            yield PowerCase(
                "interval over prompts excludes 0", text, f"{prompts} prompts", make, planned, "power.py", 2000
            )


def _sign_tests() -> Iterator[PowerCase]:
    for prompts in (50, 200, 1000):
        detectable = minimum_detectable_difference(1.0, prompts)
        for difference, text in (
            (0.0, "no difference"),
            (detectable, "the minimum detectable difference, normal differences"),
        ):

            def make(rng: Rng, prompts: int = prompts, difference: float = difference) -> bool:
                higher = int((rng.normal(difference, 1.0, prompts) > 0).sum())
                return sign_test(higher, prompts - higher) <= ALPHA

            # The plan is that of the t test; on normal differences the sign test is worth 2/π of its prompts, and it is discrete.
            planned = power_of_t_test(1.0, prompts, difference)
            basis = "power.py, for the t test"
            least = -2.5 if difference == 0 else -31.0
            yield PowerCase("sign test", text, f"{prompts:,} prompts", make, planned, basis, least=least, most=0.0)


def _mcnemar_tests() -> Iterator[PowerCase]:
    for prompts in (50, 200, 1000):
        for discordant in (0.2, 0.5):
            # Differences are +1, 0 and -1: with a mean of d their deviation is sqrt(share of discordant items - d²).
            detectable = _detectable(prompts, discordant)
            for difference in (0.0, detectable):
                planned = power_of_t_test(math.sqrt(discordant - difference**2), prompts, difference)

                def make(rng: Rng, prompts: int = prompts, share: float = discordant, gap: float = difference) -> bool:
                    first, second, _ = rng.multinomial(prompts, [(share + gap) / 2, (share - gap) / 2, 1 - share])
                    return mcnemar_test(int(first), int(second)) <= ALPHA

                text = "no difference" if difference == 0 else "the minimum detectable difference"
                yield PowerCase(
                    "McNemar, exact",
                    f"pass or fail, {100 * discordant:.0f} % discordant, {text}",
                    f"{prompts:,} prompts",
                    make,
                    planned,
                    "power.py",
                    least=-5.0 if difference == 0 else -16.0,
                    most=0.5 if difference == 0 else 2.0,
                )


def _detectable(prompts: int, discordant: float) -> float:
    """Returns the d that is the minimum detectable difference at its own deviation sqrt(discordant - d²)."""
    difference = 0.0
    for _ in range(50):
        difference = minimum_detectable_difference(math.sqrt(discordant - difference**2), prompts)
        difference = min(difference, 0.95 * discordant)
    return difference


def _holm() -> Iterator[PowerCase]:
    for arms in (3, 8):
        for adjust, text, planned, most in (
            (holm_adjusted, "any false alarm, Holm", ALPHA, 0.5),
            (list, "any false alarm, unadjusted", 1 - (1 - ALPHA) ** arms, 1.0),
        ):

            def make(rng: Rng, arms: int = arms, adjust: Callable[[list[float]], list[float]] = adjust) -> bool:
                higher = rng.binomial(1000, 0.5, arms)
                return min(adjust([sign_test(int(count), 1000 - int(count)) for count in higher])) <= ALPHA

            least = -2.0 if planned == ALPHA else -8.0
            basis = "at most the level" if planned == ALPHA else "1 - .95^arms"
            yield PowerCase(
                f"{arms} sign tests, {text}", "no differences", "1,000 prompts", make, planned, basis, 4000, least, most
            )
