"""Closed-form intervals: worked numbers, scipy as the oracle, coverage by simulation."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from marl_bench.statistics.intervals import Interval, mean_interval, wilson_interval


def test_wilson_gives_the_published_example() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263 gives .2553 to .3662; 0 of 20 gives 0 to .1611.
    found = wilson_interval(81, 263)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    none = wilson_interval(0, 20)
    assert (none.low, round(none.high, 4)) == (0.0, 0.1611)


def test_wilson_by_hand() -> None:
    # p = 1/2, n = 4, z = 1.959964, z² = 3.841459: centre 1/2; half = z sqrt(.25/4 + z²/64) / (1 + z²/4)
    # = 1.959964 sqrt(.0625 + .0600228) / 1.9603648 = 1.959964 * .3500325 / 1.9603648 = .349961.
    found = wilson_interval(2, 4)
    assert found.estimate == 0.5
    assert found.low == pytest.approx(0.5 - 0.349961, abs=1e-6)
    assert found.high == pytest.approx(0.5 + 0.349961, abs=1e-6)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipy(counts: tuple[int, int]) -> None:
    successes, trials = counts
    expected = scipy.stats.binomtest(successes, trials).proportion_ci(method="wilson")
    found = wilson_interval(successes, trials)
    assert found.low == pytest.approx(expected.low, abs=1e-9)
    assert found.high == pytest.approx(expected.high, abs=1e-9)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


@given(st.floats(0, 50), st.integers(50, 60))
def test_wilson_of_losses_mirrors_that_of_wins(successes: float, trials: int) -> None:
    wins, losses = wilson_interval(successes, trials), wilson_interval(trials - successes, trials)
    assert wins.low == pytest.approx(1 - losses.high, abs=1e-9)
    assert wins.high == pytest.approx(1 - losses.low, abs=1e-9)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_proportion(successes: float, trials: float) -> None:
    with pytest.raises(ValueError, match="no proportion"):
        wilson_interval(successes, trials)


def test_mean_interval_by_hand() -> None:
    # 1, 2, 3: mean 2, s = 1, t(.975, 2) = 4.302653 (any t table), half = 4.302653 / sqrt(3) = 2.484138.
    found = mean_interval([1.0, 2.0, 3.0])
    assert found is not None
    assert (found.estimate, found.low, found.high) == pytest.approx((2.0, -0.484138, 4.484138), abs=1e-6)
    assert found.half_width == pytest.approx(2.484138, abs=1e-6)


def test_mean_interval_equals_scipy() -> None:
    values = [0.3, -1.2, 4.0, 0.0, 2.5]
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.9)
    found = mean_interval(values, level=0.9)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("values", [[], [3.0]])
def test_mean_interval_does_not_exist_below_two_values(values: list[float]) -> None:
    assert mean_interval(values) is None


def test_ends_belong_to_the_interval() -> None:
    found = Interval(0.5, 0.0, 1.0)
    assert not found.excludes(0.0)
    assert not found.excludes(1.0)
    assert found.excludes(-1e-9)


def test_mean_interval_covers_95_percent_at_three_seeds() -> None:
    rng = np.random.default_rng(21)
    intervals = [mean_interval(row.tolist()) for row in rng.normal(1.0, 2.0, size=(2000, 3))]
    covered = sum(found is not None and not found.excludes(1.0) for found in intervals)
    assert abs(covered / 2000 - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 2000)
