"""Interquartile mean and probability of improvement: worked numbers, scipy as the oracle, invariances."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from marl_bench.statistics.intervals import mean_interval
from marl_bench.statistics.robust import interquartile_mean, probability_of_improvement

values = st.lists(st.floats(-100, 100), min_size=2, max_size=25)


def test_interquartile_mean_by_hand():
    # 1..8 with 100 for 8: 1, 2 and 7, 100 go; mean of 3, 4, 5, 6 = 4.5. With 3, 3, 3, 4, 5, 6, 6, 6 in their place q = 3 * 2.25 + .25 +
    # .25 + 3 * 2.25 = 14, sqrt(14 / (4 * 3)) = 1.0801234, t(.975, 3) = 3.1824463, half 3.4374348.
    found = interquartile_mean([1, 2, 3, 4, 5, 6, 7, 100.0])
    assert found is not None
    assert (found.estimate, found.half_width) == pytest.approx((4.5, 3.4374348), abs=1e-6)


@given(values)
def test_interquartile_mean_equals_scipy(found):
    assert interquartile_mean(found).estimate == pytest.approx(float(scipy.stats.trim_mean(found, 0.25)), abs=1e-9)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=3))
def test_of_two_or_three_seeds_it_is_student_t(found):
    one, other = interquartile_mean(found), mean_interval(found)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-9)


def test_one_odd_seed_moves_nothing():
    assert interquartile_mean([1, 2, 3, 4, 5, 6, 7, 1e9]) == interquartile_mean([1, 2, 3, 4, 5, 6, 7, 8])


def test_one_seed_has_no_interval():
    assert interquartile_mean([1.0]) is None


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_probability_of_improvement_is_mann_whitney(first, second):
    found = probability_of_improvement(first, second)
    statistic = scipy.stats.mannwhitneyu(first, second, method="asymptotic").statistic
    assert found.estimate == pytest.approx(statistic / (len(first) * len(second)))
    other = probability_of_improvement(second, first)
    assert (other.low, other.high) == pytest.approx((1 - found.high, 1 - found.low), abs=1e-9)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_ends_solve_the_equation_of_newcombe():
    # 10 seeds each, 80 of 100 pairs won: roots of (t - .8)² = z² V(t), found by scipy.
    first, second = [2.5] * 8 + [0.0] * 2, [1.0] * 10

    def excess(chance):
        spread = (1 - chance) / (2 - chance) + chance / (1 + chance)
        return (chance - 0.8) ** 2 - 1.959964**2 * chance * (1 - chance) * (1 + 9 * spread) / 100

    found = probability_of_improvement(first, second)
    assert found.low == pytest.approx(scipy.optimize.brentq(excess, 0.1, 0.8), abs=1e-6)
    assert found.high == pytest.approx(scipy.optimize.brentq(excess, 0.8, 1.0), abs=1e-6)


def test_three_seeds_above_three_are_no_proof():
    # 1 in 20 orders of six seeds does that by chance (twice that for both directions), so one half stays possible.
    found = probability_of_improvement([4, 5, 6], [1, 2, 3])
    assert found.estimate == found.high == 1.0
    assert found.low < 0.5 < probability_of_improvement(range(10, 20), range(10)).low


def test_what_units_the_scores_have_does_not_matter():
    rng = np.random.default_rng(0)
    first, second = rng.normal(1, 1, 6), rng.normal(0, 1, 7)
    assert probability_of_improvement(np.exp(first), np.exp(second)) == probability_of_improvement(first, second)


def test_without_seeds_there_is_no_chance():
    with pytest.raises(ValueError, match="at least one value"):
        probability_of_improvement([], [1.0])
    assert math.isclose(probability_of_improvement([1.0], [1.0]).estimate, 0.5)
