"""Win rates: worked counts, bounds of what is unscored, invariances, errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from marl_bench.statistics.win_rates import win_rate

scored = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
pairs = st.lists(st.tuples(st.one_of(st.none(), scored), st.integers(0, 9)), min_size=1, max_size=40)


def test_worked_rate():
    # 1, 1, 1/2, 0 and one unscored: 2.5/4; bounds 2.5/5 and 3.5/5.
    found = win_rate([1.0, 1.0, 0.5, 0.0, None], list("abcde"))
    assert (found.wins, found.ties, found.losses, found.unscored, found.scored, found.clusters) == (2, 1, 1, 1, 4, 4)
    assert found.rate is not None and found.rate.estimate == 0.625
    assert (found.low_bound, found.high_bound, found.unscored_share) == pytest.approx((0.5, 0.7, 0.2))


def test_two_orders_that_half_agree_lean_to_a_side():
    # A win and a tie make 3/4: a win of the pair, three quarters of the rate.
    found = win_rate([0.75, 0.25], ["a", "b"])
    assert (found.wins, found.losses, found.ties) == (1, 1, 0)


def test_independent_wins_equal_statsmodels():
    found = win_rate([1.0] * 37 + [0.0] * 13, [str(pair) for pair in range(50)])
    expected = proportion_confint(37, 50, method="wilson")
    assert found.rate is not None
    assert (found.rate.low, found.rate.high) == pytest.approx(expected)


def test_nothing_scored_has_no_rate_and_says_nothing():
    found = win_rate([None, None], ["a", "b"])
    assert found.rate is None
    assert (found.low_bound, found.high_bound, found.clusters) == (0.0, 1.0, 0)


@given(pairs)
def test_turning_the_arms_mirrors_everything(rows):
    scores, clusters = [score for score, _ in rows], [str(cluster) for _, cluster in rows]
    one = win_rate(scores, clusters)
    other = win_rate([None if score is None else 1 - score for score in scores], clusters)
    assert (one.wins, one.ties, one.losses, one.unscored) == (other.losses, other.ties, other.wins, other.unscored)
    assert other.low_bound == pytest.approx(1 - one.high_bound)
    if one.rate and other.rate:
        assert (other.rate.low, other.rate.high) == pytest.approx((1 - one.rate.high, 1 - one.rate.low), abs=1e-9)
        assert one.low_bound - 1e-9 <= one.rate.estimate <= one.high_bound + 1e-9


@pytest.mark.parametrize(
    ("scores", "clusters", "text"),
    [
        ([], [], "at least one pair"),
        ([1.0], ["a", "b"], "1 scores and 2 prompt ids"),
        ([1.5], ["a"], "a score of 1.5"),
        ([float("nan")], ["a"], "a score of nan"),
    ],
)
def test_wrong_pairs_are_refused(scores, clusters, text):
    with pytest.raises(ValueError, match=text):
        win_rate(scores, clusters)
