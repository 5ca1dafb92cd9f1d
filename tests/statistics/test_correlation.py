"""Pearson's r and its bootstrap over clusters."""

import numpy as np
import pytest

from marl_bench.statistics.correlation import cluster_bootstrap_correlation


def _rng():
    return np.random.default_rng(0)


def test_worked_numbers():
    # x - mean: -1, 0, 1; y - mean: -1, 1, 0; sum of products 1, of squares 2 and 2: r = 1/2.
    found = cluster_bootstrap_correlation([1, 2, 3], [10, 12, 11], ["a", "b", "c"], rng=_rng())
    assert found.estimate == pytest.approx(0.5)


def test_far_from_zero_nothing_is_lost():
    xs = [1e8 + x for x in (1, 2, 3)]
    assert cluster_bootstrap_correlation(xs, [10, 12, 11], ["a", "b", "c"], rng=_rng()).estimate == pytest.approx(0.5)


def test_a_line_has_correlation_one_in_every_resample():
    xs = list(range(20))
    found = cluster_bootstrap_correlation(xs, [3 * x - 1 for x in xs], [str(x % 5) for x in xs], rng=_rng())
    assert (found.estimate, found.low, found.high) == pytest.approx((1, 1, 1))


def test_the_interval_is_wider_where_the_members_of_a_cluster_agree():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 30))
    xs, ys = np.repeat(x, 10), np.repeat(y, 10)
    names = [str(number) for number in range(300)]
    alone = cluster_bootstrap_correlation(xs, ys, names, rng=_rng())
    together = cluster_bootstrap_correlation(xs, ys, [str(number // 10) for number in range(300)], rng=_rng())
    assert together.estimate == pytest.approx(alone.estimate)
    assert together.half_width > 2 * alone.half_width


def test_the_interval_covers_the_truth_at_its_nominal_rate():
    rng, hits, trials = np.random.default_rng(2), 0, 200
    for _ in range(trials):
        x = rng.normal(size=80)
        y = 0.6 * x + 0.8 * rng.normal(size=80)
        found = cluster_bootstrap_correlation(x, y, [str(n) for n in range(80)], rng=rng, resamples=400)
        hits += found.low <= 0.6 <= found.high
    assert 0.88 <= hits / trials <= 0.99  # 0.95 give or take four standard errors


def test_there_is_none_without_spread_or_with_one_cluster():
    assert cluster_bootstrap_correlation([1, 1, 1], [1, 2, 3], ["a", "b", "c"], rng=_rng()) is None
    assert cluster_bootstrap_correlation([1, 2, 3], [0.1, 0.1, 0.1], ["a", "b", "c"], rng=_rng()) is None
    assert cluster_bootstrap_correlation([1, 2, 3], [3, 2, 1], ["a", "a", "a"], rng=_rng()) is None


def test_unequal_numbers_are_refused():
    with pytest.raises(ValueError, match="2 and 3 values, 2 cluster ids"):
        cluster_bootstrap_correlation([1, 2], [1, 2, 3], ["a", "b"], rng=_rng())
