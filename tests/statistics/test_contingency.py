"""McNemar's exact test: published example, statsmodels as the oracle, invariances."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar

from marl_bench.statistics.contingency import mcnemar_test

counts = st.integers(0, 300)


def test_the_published_example_of_children_before_and_after_a_transplant():
    # Fagerland, Lydersen & Laake (2013), BMC Medical Research Methodology 13:91, table 1: of 21 children 1 and 7 changed; exact
    # conditional p = .070. By hand: 2 (C(8,0) + C(8,1)) / 2^8 = 18/256.
    assert mcnemar_test(1, 7) == pytest.approx(18 / 256)


def test_the_classic_table_of_approval_ratings():
    # Agresti (2002), Categorical Data Analysis, table 10.1: 1,600 voters, 150 turned from approval, 86 to it; z = 4.17 there. In exact
    # fractions: twice the lower tail of 236 fair coins.
    tail = Fraction(sum(math.comb(236, heads) for heads in range(87)), 2**236)
    assert mcnemar_test(150, 86) == pytest.approx(float(2 * tail))
    assert 2e-5 < mcnemar_test(150, 86) < 5e-5  # two-sided normal p of |z| = 4.17 is 3.1e-5


@given(counts, counts)
def test_equals_statsmodels(only_first, only_second):
    expected = mcnemar([[7, only_first], [only_second, 9]], exact=True).pvalue
    assert mcnemar_test(only_first, only_second) == pytest.approx(min(1.0, expected), abs=1e-12)


@given(counts, counts)
def test_swapping_the_arms_changes_nothing(only_first, only_second):
    assert mcnemar_test(only_first, only_second) == mcnemar_test(only_second, only_first)


def test_without_discordant_items_nothing_speaks_against_equality():
    assert mcnemar_test(0, 0) == 1.0


def test_negative_counts_are_refused():
    with pytest.raises(ValueError, match="at least 0"):
        mcnemar_test(-1, 3)
