"""Holm's adjustment: worked example, statsmodels as the oracle, invariances."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from marl_bench.statistics.multiplicity import holm_adjusted

p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_the_example_of_four_hypotheses():
    # The example of the encyclopedia article "Holm-Bonferroni method": .01, .04, .03, .005 at level .05 reject the first and the last.
    # 4 * .005 = .02; 3 * .01 = .03; 2 * .03 = .06; 1 * .04 = .04, raised to .06.
    assert holm_adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_no_and_one_hypothesis():
    assert holm_adjusted([]) == []
    assert holm_adjusted([0.2]) == [0.2]


@settings(max_examples=20)  # one call of statsmodels takes a tenth of a second
@given(p_lists)
def test_equals_statsmodels(p_values):
    assert holm_adjusted(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist(), abs=1e-12)


@given(p_lists, st.randoms(use_true_random=False))
def test_order_does_not_matter_and_nothing_shrinks(p_values, random):
    order = list(range(len(p_values)))
    random.shuffle(order)
    adjusted = holm_adjusted(p_values)
    assert holm_adjusted([p_values[place] for place in order]) == [adjusted[place] for place in order]
    assert all(p <= q <= min(1.0, len(p_values) * p) + 1e-15 for p, q in zip(p_values, adjusted, strict=True))


@pytest.mark.parametrize("wrong", [-0.01, 1.01, float("nan")])
def test_what_is_no_p_value_is_refused(wrong):
    with pytest.raises(ValueError, match="no p-value"):
        holm_adjusted([0.5, wrong])
