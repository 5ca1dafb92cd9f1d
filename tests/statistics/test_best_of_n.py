"""Best-of-n from N samples, against counting all subsets and against the estimator of pass@k."""

import itertools
import math

import numpy as np
import pytest

from marl_bench.statistics.best_of_n import best_of_n_kl, choice_probabilities, mean_of_chosen
from marl_bench.statistics.pass_at_k import pass_at_k_of_problem


def best_of_n(scores, values, n):
    return mean_of_chosen(choice_probabilities(scores, n), values)


def test_best_of_two_of_three_by_hand():
    # Subsets {a, b}, {a, c}, {b, c} of scores 1, 2, 3: the best are b, c, c with values 10, 40, 40; mean 30.
    assert best_of_n([1, 2, 3], [0, 10, 40], 2) == pytest.approx(30)


def test_best_of_one_is_the_mean_and_best_of_all_is_the_best():
    assert best_of_n([3, 1, 2], [5, 7, 9], 1) == pytest.approx(7)
    assert best_of_n([3, 1, 2], [5, 7, 9], 3) == pytest.approx(5)


def test_samples_of_equal_score_share_the_place():
    # b is below both others. {a, b}: 2; {a, c} tie: (2 + 6) / 2 = 4; {b, c}: 6; mean 4.
    assert best_of_n([1, 0, 1], [2, 100, 6], 2) == pytest.approx(4)


def test_an_unscored_sample_is_never_chosen_and_a_choice_without_value_is_left_out():
    # Subsets {a, b}: a; {a, c}: c; {b, c}: c. b has no score. Values: 1, 7, 7, mean 5.
    assert best_of_n([1, None, 2], [1, 100, 7], 2) == pytest.approx(5)
    # c is the best of two subsets of three but has no value: what is left is a.
    assert best_of_n([1, None, 2], [1, 100, None], 2) == pytest.approx(1)
    assert best_of_n([None, None], [1, 2], 1) is None


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_it_is_the_mean_over_all_subsets(n):
    rng = np.random.default_rng(n)
    scores = rng.integers(4, size=7).tolist()  # with ties
    values = rng.normal(size=7).tolist()
    found = []
    for subset in itertools.combinations(range(7), n):
        top = max(scores[row] for row in subset)
        found.append(np.mean([values[row] for row in subset if scores[row] == top]))
    assert best_of_n(scores, values, n) == pytest.approx(np.mean(found))


def test_chosen_by_passing_it_is_pass_at_k():
    passed = [1.0] * 3 + [0.0] * 7
    for k in (1, 2, 5, 8, 10):
        assert best_of_n(passed, passed, k) == pytest.approx(pass_at_k_of_problem(10, 3, k))


def test_it_is_unbiased_for_the_maximum_of_fresh_draws():
    # E max of 4 uniform numbers is 4/5. 2000 prompts of 16 samples: standard error below .004.
    rng = np.random.default_rng(0)
    draws = rng.random((2000, 16)).tolist()
    assert np.mean([best_of_n(row, row, 4) for row in draws]) == pytest.approx(0.8, abs=0.012)


def test_the_bound_of_the_kl_by_hand():
    assert best_of_n_kl(1) == 0
    assert best_of_n_kl(2) == pytest.approx(0.693147 - 0.5, abs=1e-6)
    assert best_of_n_kl(32) == pytest.approx(3.465736 - 0.96875, abs=1e-6)


def test_the_bound_holds_and_is_reached_with_many_responses():
    # A policy over m equally likely responses of different score: P(best is rank r) = (r^n - (r-1)^n) / m^n.
    n = 4
    for size, room in ((3, 1.0), (400, 0.01)):
        chosen = [((rank / size) ** n) - ((rank - 1) / size) ** n for rank in range(1, size + 1)]
        kl = sum(p * math.log(p * size) for p in chosen)
        assert kl < best_of_n_kl(n) < kl + room


def test_more_than_there_are_is_refused():
    with pytest.raises(ValueError, match="best of 3 from 2"):
        best_of_n([1, 2], [1, 2], 3)
    with pytest.raises(ValueError, match="best of 0 from 1"):
        best_of_n([1], [1], 0)
    with pytest.raises(ValueError, match="give 1 or more"):
        best_of_n_kl(0)
