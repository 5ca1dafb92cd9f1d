"""Minimum detectable difference and count needed: published sizes, statsmodels as the oracle, identities, honesty at few seeds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower

from marl_bench.statistics.power import count_needed, minimum_detectable_difference, power_of_t_test


def test_published_sample_sizes():
    # G*Power 3.1 manual and Cohen (1988), paired t test, two-sided, level .05, power .80: d = .2, .5, .8 need 199, 34, 15 pairs.
    assert [count_needed(1.0, effect) for effect in (0.2, 0.5, 0.8)] == [199, 34, 15]


def test_large_counts_by_hand():
    # Normal limit: (1.959964 + .841621) * 2 / sqrt(10,000) = .0560317.
    assert minimum_detectable_difference(2.0, 10_000) == pytest.approx(0.0560317, rel=2e-4)
    # (2.801585 / .001)² = 7,848,879 prompts.
    assert count_needed(1.0, 0.001) == pytest.approx(7_848_879, rel=1e-5)


@pytest.mark.parametrize("count", [3, 5, 10, 20, 200])
@pytest.mark.parametrize(("level", "power"), [(0.95, 0.8), (0.9, 0.95)])
def test_equals_statsmodels(count, level, power):
    found = minimum_detectable_difference(3.0, count, level=level, power=power)
    assert TTestPower().power(found / 3.0, count, 1 - level) == pytest.approx(power, abs=1e-6)
    assert power_of_t_test(3.0, count, found, level=level) == pytest.approx(power, abs=1e-9)


def test_two_differences_by_simulation():
    # statsmodels gives NaN here. |mean| / (|x - y| / 2) against t(.975, 1) = 12.7062; standard error of the share .4 points.
    pairs = np.random.default_rng(0).normal(minimum_detectable_difference(1.0, 2), 1.0, (10_000, 2))
    t_values = np.abs(pairs.mean(axis=1)) / (np.abs(pairs[:, 0] - pairs[:, 1]) / 2)
    assert (t_values > 12.7062).mean() == pytest.approx(0.8, abs=0.015)


@given(st.floats(0.05, 3), st.floats(0.1, 5))
def test_the_count_needed_suffices_and_one_fewer_does_not(difference, deviation):
    count = count_needed(deviation, difference)
    assert power_of_t_test(deviation, count, difference) >= 0.8
    assert count == 2 or power_of_t_test(deviation, count - 1, difference) < 0.8


@given(st.integers(2, 500), st.floats(0.01, 100))
def test_unit_and_sign_do_not_matter(count, scale):
    assert minimum_detectable_difference(scale, count) == pytest.approx(
        scale * minimum_detectable_difference(1.0, count)
    )
    assert count_needed(scale, -0.5 * scale) == count_needed(1.0, 0.5)


def test_few_seeds_are_not_flattered():
    # (1.96 + .84) / sqrt(n) would claim 1.62 deviations at 3 seeds and 1.98 at 2; statsmodels' search gives 3.264 at 3.
    assert minimum_detectable_difference(1.0, 3) == pytest.approx(3.26404, abs=1e-4)
    assert minimum_detectable_difference(1.0, 2) > 11
    assert minimum_detectable_difference(1.0, 1) == math.inf
    assert power_of_t_test(1.0, 1, 100.0) == 0.0


def test_without_spread_anything_is_seen():
    assert minimum_detectable_difference(0.0, 5) == 0.0
    assert count_needed(0.0, 0.1) == 2
    assert power_of_t_test(0.0, 2, 0.1) == 1.0


def test_a_difference_of_nothing_is_seen_as_often_as_the_level_allows():
    assert power_of_t_test(1.0, 7, 0.0) == pytest.approx(0.05)
    assert minimum_detectable_difference(1.0, 7, power=0.05) == 0.0


@pytest.mark.parametrize("difference", [0.0, math.inf, math.nan])
def test_no_count_shows_no_difference(difference):
    with pytest.raises(ValueError, match="no count shows"):
        count_needed(1.0, difference)


@pytest.mark.parametrize(
    ("deviation", "level", "power"), [(-1, 0.95, 0.8), (math.nan, 0.95, 0.8), (1, 1.0, 0.8), (1, 0.95, 0)]
)
def test_impossible_spreads_and_shares_are_refused(deviation, level, power):
    with pytest.raises(ValueError, match=r"^power: "):
        minimum_detectable_difference(deviation, 5, level=level, power=power)
