"""Agreement and kappa: published examples, statsmodels as the oracle, invariances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa as kappa_of_statsmodels

from marl_bench.statistics.agreement import agreement, cohens_kappa, kappa_interval
from marl_bench.statistics.intervals import wilson_interval

labels = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=60)


def _raters(table: list[list[int]]) -> tuple[list[int], list[int]]:
    cells = [
        (row, column) for row, counts in enumerate(table) for column, count in enumerate(counts) for _ in range(count)
    ]
    return [row for row, _ in cells], [column for _, column in cells]


def test_the_example_of_cohen():
    # Cohen (1960), table 1, shares of 200 patients: .25 .13 .12 / .12 .02 .16 / .03 .15 .02. Agreement .29; chance .5 * .4 + .3 * .3 +
    # .2 * .3 = .35; kappa -.06 / .65.
    first, second = _raters([[50, 26, 24], [24, 4, 32], [6, 30, 4]])
    assert cohens_kappa(first, second) == pytest.approx(-0.06 / 0.65)
    assert agreement(first, second).estimate == pytest.approx(0.29)


def test_the_example_of_fleiss_cohen_and_everitt():
    # Fleiss, Cohen & Everitt (1969), table 1: 200 items, .53 .05 .02 / .11 .14 .05 / .01 .06 .03. Agreement .70, chance .60 * .65 +
    # .30 * .25 + .10 * .10 = .475, kappa .225 / .525 = .429; standard error .054.
    first, second = _raters([[106, 10, 4], [22, 28, 10], [2, 12, 6]])
    found = kappa_interval(first, second)
    assert found is not None
    assert found.estimate == pytest.approx(0.225 / 0.525)
    assert found.half_width / 1.959964 == pytest.approx(0.054, abs=5e-4)


@given(labels)
def test_equals_statsmodels(pairs):
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    mine = kappa_interval(first, second)
    table = np.array([[sum(pair == (one, other) for pair in pairs) for other in "abc"] for one in "abc"])
    if mine is None:
        assert len(set(first)) == 1 or len(set(second)) == 1
        return
    with np.errstate(all="ignore"):
        expected = kappa_of_statsmodels(table)
    assert cohens_kappa(first, second) == mine.estimate
    if mine.estimate == 1:
        return
    assert mine.estimate == pytest.approx(float(expected.kappa), abs=1e-12)
    half = 1.959964 * float(np.sqrt(max(0.0, expected.var_kappa)))
    assert mine.low == pytest.approx(max(-1.0, expected.kappa - half), abs=1e-6)
    assert mine.high == pytest.approx(min(1.0, expected.kappa + half), abs=1e-6)


@given(labels)
def test_names_of_labels_and_order_of_raters_do_not_matter(pairs):
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    renamed = {"a": 7, "b": None, "c": ("x", 1)}
    expected = cohens_kappa(first, second)
    other = cohens_kappa([renamed[label] for label in second], [renamed[label] for label in first])
    assert other == (None if expected is None else pytest.approx(expected))


def test_perfect_agreement_is_one_and_one_label_alone_is_nothing():
    assert cohens_kappa(list("abab"), list("abab")) == 1.0
    assert cohens_kappa(list("aaaa"), list("aaaa")) is None
    assert kappa_interval(list("aaaa"), list("aaaa")) is None
    # One rater that always says a: kappa is 0 whatever the other says, and no interval could say more.
    assert (cohens_kappa(list("aaaa"), list("abab")), kappa_interval(list("aaaa"), list("abab"))) == (0.0, None)


def test_perfect_agreement_is_no_certainty():
    # Wilson of 4 in 4: low end 4 / (4 + 3.841459) = .510109; chance 1/2; (.510109 - .5) / .5 = .020218.
    found = kappa_interval(list("abab"), list("abab"))
    assert (found.estimate, found.low, found.high) == pytest.approx((1.0, 0.020218, 1.0), abs=1e-6)


def test_agreement_is_a_wilson_interval_of_items_or_of_prompts():
    first, second = list("aabbab"), list("aabbba")
    assert agreement(first, second) == wilson_interval(4, 6)
    # Items twice each: the same prompts, so no more information.
    twice = agreement(first * 2, second * 2, clusters=list("uvwxyz") * 2)
    assert (twice.low, twice.high) == pytest.approx((wilson_interval(4, 6).low, wilson_interval(4, 6).high))


@pytest.mark.parametrize("compute", [agreement, cohens_kappa, kappa_interval])
def test_raters_of_different_items_are_refused(compute):
    with pytest.raises(ValueError, match="2 and 1 labels"):
        compute(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="at least one"):
        compute([], [])
