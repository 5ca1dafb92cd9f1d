"""Wilson's interval of clustered values: worked numbers, identities, coverage by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marl_bench.statistics.intervals import wilson_interval
from marl_bench.statistics.proportions import clustered_wilson_interval, paired_rates_interval


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_clusters_of_one_win_or_loss_give_the_plain_wilson_interval(counts):
    wins, n = counts
    found = clustered_wilson_interval([1.0] * wins + [0.0] * (n - wins), np.arange(n))
    expected = wilson_interval(wins, n)
    assert (found.estimate, found.low, found.high) == pytest.approx(
        (expected.estimate, expected.low, expected.high), abs=1e-9
    )


def test_pairs_that_always_agree_add_no_information():
    values, clusters = np.array([1.0, 1.0, 1.0, 0.0]), np.arange(4)
    once = clustered_wilson_interval(values, clusters)
    often = clustered_wilson_interval(np.repeat(values, 100), np.repeat(clusters, 100))
    assert (often.low, often.high) == pytest.approx((once.low, once.high))


def test_ties_make_it_narrower_by_hand():
    # 1, 1/2, 1/2, 1/2, 0 of five prompts and one pseudo prompt of 1/2: p' = 1/2; residuals over 1 - 1/6 = 5/6: ±.6, squares .72; the
    # pseudo prompt's (1/4 + 1/4)/2 / (25/36) = .36; variance 5/6 * 1.08 / 36 = .025, so .25 / .025 = 10 trials instead of 5.
    found = clustered_wilson_interval([1.0, 0.5, 0.5, 0.5, 0.0], list("abcde"))
    expected = wilson_interval(5, 10)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_ties_alone_are_no_certainty():
    # n ties: p' = 1/2, variance n/(n + 1) * 1/4 / (n/(n + 1))² / (n + 1)² = 1 / (4 n (n + 1)), so n (n + 1) trials: 30 for 5.
    found = clustered_wilson_interval([0.5] * 5, list("abcde"))
    expected = wilson_interval(15, 30)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_large_clusters_among_small_ones_make_it_wider():
    values = [1.0, 0.0] * 12
    equal = clustered_wilson_interval(values, np.repeat(np.arange(12), 2))
    unequal = clustered_wilson_interval(values, np.array([0] * 13 + list(range(1, 12))))
    assert unequal.half_width > equal.half_width


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.integers(0, 6)), min_size=1, max_size=40))
def test_losses_mirror_wins_and_order_does_not_matter(rows):
    values, clusters = [value for value, _ in rows], [str(cluster) for _, cluster in rows]
    wins = clustered_wilson_interval(values, clusters)
    losses = clustered_wilson_interval([1 - value for value in values][::-1], clusters[::-1])
    assert (losses.low, losses.high) == pytest.approx((1 - wins.high, 1 - wins.low), abs=1e-9)
    assert 0 <= wins.low <= wins.estimate <= wins.high <= 1


@pytest.mark.parametrize("values", [[1.5], [-0.1], [float("nan")]])
def test_values_that_are_no_shares_are_refused(values):
    with pytest.raises(ValueError, match="between 0 and 1"):
        clustered_wilson_interval(values, ["a"])


def test_no_values_and_unequal_numbers_are_refused():
    with pytest.raises(ValueError, match="no values"):
        clustered_wilson_interval([], [])
    with pytest.raises(ValueError, match="1 values but 2 cluster ids"):
        clustered_wilson_interval([1.0], ["a", "b"])


def test_paired_rates_by_hand():
    # 20 items, 3 passed by the first alone and 1 by the second alone: (3 - 1)/22 = .0909091, (4 + 1)/22 - .0909091² = .2190083, over 22 and
    # under the root .0997743; 1.959964 * .0997743 = .1955540. The estimate itself is 2/20.
    found = paired_rates_interval([1.0] * 3 + [-1.0] + [0.0] * 16)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.1, -0.1046449, 0.2864631), abs=1e-6)


def test_paired_rates_that_never_differ_are_not_known_to_be_equal():
    # sqrt(1/52 / 52) * 1.959964 = 1.959964 / 52.
    found = paired_rates_interval([0.0] * 50)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.0, -0.0376916, 0.0376916), abs=1e-6)


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=60))
def test_paired_rates_mirror_and_hold_their_estimate(differences):
    one, other = paired_rates_interval(differences), paired_rates_interval([-each for each in differences][::-1])
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=1e-12)
    assert -1 <= one.low <= one.estimate <= one.high <= 1


def test_paired_rates_of_many_items_are_the_usual_interval():
    # 10,000 items, .3 and .2: .1 ± 1.96 sqrt((.5 - .01) / 10,000) = .1 ± .01372.
    found = paired_rates_interval([1.0] * 3000 + [-1.0] * 2000 + [0.0] * 5000)
    assert (found.low, found.high) == pytest.approx((0.1 - 0.01372, 0.1 + 0.01372), abs=5e-5)


@pytest.mark.parametrize("differences", [[], [1.2], [float("nan")]])
def test_what_is_no_difference_of_rates_is_refused(differences):
    with pytest.raises(ValueError, match="between -1 and 1"):
        paired_rates_interval(differences)
