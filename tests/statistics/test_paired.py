"""Paired differences: worked numbers, scipy as the oracle, invariances."""

import numpy as np
import pytest
import scipy.stats

from marl_bench.statistics.bootstrap import cluster_bootstrap_interval
from marl_bench.statistics.paired import paired_difference, sign_test
from marl_bench.statistics.proportions import paired_rates_interval

FIRST = {"a": 3.0, "b": 1.0, "c": 2.0, "d": 5.0, "only first": 100.0}
SECOND = {"a": 1.0, "b": 1.0, "c": 3.0, "d": 1.0, "only second": -100.0}


def test_worked_difference_on_shared_prompts() -> None:
    # a +2, b 0, c -1, d +4: mean 5/4; two up, one equal, one down; sign test of 2 in 3: 2 * (3 + 1) / 8 = 1.
    found = paired_difference(FIRST, SECOND, rng=np.random.default_rng(0))
    assert found is not None
    assert (found.delta, found.higher, found.equal, found.lower, found.prompts) == (1.25, 2, 1, 1, 4)
    assert found.p_value == 1.0


def test_interval_is_the_bootstrap_of_the_differences() -> None:
    found = paired_difference(FIRST, SECOND, rng=np.random.default_rng(0))
    expected = cluster_bootstrap_interval([2.0, 0.0, -1.0, 4.0], list("abcd"), rng=np.random.default_rng(0))
    assert found is not None
    assert found.interval == expected


def test_swapping_the_arms_turns_the_sign() -> None:
    one = paired_difference(FIRST, SECOND, rng=np.random.default_rng(0))
    other = paired_difference(SECOND, FIRST, rng=np.random.default_rng(0))
    assert one is not None and other is not None and one.interval and other.interval
    assert (other.delta, other.higher, other.lower, other.p_value) == (-one.delta, one.lower, one.higher, one.p_value)
    assert (other.interval.low, other.interval.high) == pytest.approx((-one.interval.high, -one.interval.low))


def test_what_a_prompt_adds_to_both_arms_cancels() -> None:
    harder = {"a": 10.0, "b": -3.0, "c": 0.5, "d": 7.0}
    plain = paired_difference(FIRST, SECOND, rng=np.random.default_rng(0))
    moved = paired_difference(
        {prompt: FIRST[prompt] + shift for prompt, shift in harder.items()},
        {prompt: SECOND[prompt] + shift for prompt, shift in harder.items()},
        rng=np.random.default_rng(0),
    )
    assert moved == plain


def test_order_of_prompts_does_not_matter() -> None:
    turned = dict(reversed(FIRST.items()))
    assert paired_difference(turned, SECOND, rng=np.random.default_rng(0)) == paired_difference(
        FIRST, SECOND, rng=np.random.default_rng(0)
    )


def test_without_shared_prompts_there_is_no_difference() -> None:
    assert paired_difference({"a": 1.0}, {"b": 1.0}, rng=np.random.default_rng(0)) is None


def test_one_shared_prompt_has_no_interval() -> None:
    found = paired_difference({"a": 1.0}, {"a": 0.0}, rng=np.random.default_rng(0))
    assert found is not None
    assert found.interval is None


def test_sign_test_by_hand() -> None:
    # 9 of 10 ups: two-sided 2 * (10 + 1) / 1024 = .021484375; all equal: nothing to test.
    assert sign_test(9, 1) == pytest.approx(0.021484375)
    assert sign_test(0, 0) == 1.0


@pytest.mark.parametrize(("higher", "lower"), [(0, 7), (13, 4), (30, 30)])
def test_sign_test_sums_the_binomial_tail(higher: int, lower: int) -> None:
    tail = scipy.stats.binom.cdf(min(higher, lower), higher + lower, 0.5)
    assert sign_test(higher, lower) == pytest.approx(min(1.0, 2 * tail))


def test_passes_and_failures_have_the_interval_of_paired_rates() -> None:
    first = {"a": 1.0, "b": 1.0, "c": 0.0, "d": 1.0}
    second = {"a": 1.0, "b": 0.0, "c": 0.0, "d": 1.0}
    found = paired_difference(first, second, rng=np.random.default_rng(0))
    assert found is not None
    assert found.interval == paired_rates_interval([0.0, 1.0, 0.0, 0.0])


def test_arms_that_pass_the_same_prompts_are_not_known_to_be_equal() -> None:
    passes = {str(prompt): float(prompt % 3 == 0) for prompt in range(30)}
    found = paired_difference(passes, passes, rng=np.random.default_rng(0))
    assert found is not None and found.interval is not None
    assert found.interval.low < 0 == found.delta < found.interval.high


def test_equal_scores_that_are_no_rates_differ_by_nothing() -> None:
    scores = {str(prompt): prompt / 7 for prompt in range(30)}
    found = paired_difference(scores, scores, rng=np.random.default_rng(0))
    assert found is not None and found.interval is not None
    assert (found.interval.low, found.delta, found.interval.high) == (0.0, 0.0, 0.0)
