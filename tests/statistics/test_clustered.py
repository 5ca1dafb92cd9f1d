"""Cluster-robust standard errors: worked number, statsmodels as the oracle, identities."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from marl_bench.statistics.clustered import cluster_mean_interval, cluster_standard_error, cluster_sums
from marl_bench.statistics.intervals import mean_interval

rows = st.lists(st.tuples(st.floats(-100, 100), st.integers(0, 5)), min_size=2, max_size=30)


def test_by_hand():
    # a: 1, 3; b: 2; c: 6. Mean 3; residuals by cluster -2, -1, +3; squares 14; sqrt(3/2 * 14) / 4 = 1.145644.
    assert cluster_standard_error([1.0, 3.0, 2.0, 6.0], list("aabc")) == pytest.approx(1.1456439)


@given(rows)
def test_equals_statsmodels(found):
    values, clusters = np.array([value for value, _ in found]), [cluster for _, cluster in found]
    if len(set(clusters)) < 2:
        return
    fit = sm.OLS(values, np.ones(values.size)).fit(cov_type="cluster", cov_kwds={"groups": clusters})
    mine = cluster_standard_error(values.tolist(), [str(cluster) for cluster in clusters])
    assert mine == pytest.approx(float(fit.bse[0]), abs=1e-9 * max(1, np.abs(values).max()))


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30))
def test_clusters_of_one_give_the_usual_standard_error_and_student_t(values):
    clusters = np.arange(len(values))
    sums = cluster_sums(values, clusters)
    assert sums.standard_error() == pytest.approx(np.std(values, ddof=1) / math.sqrt(len(values)), abs=1e-9)
    found, expected = cluster_mean_interval(sums), mean_interval(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-8)


def test_copies_of_samples_add_no_information():
    values, clusters = [1.0, 4.0, 2.0], list("abc")
    assert cluster_standard_error(values * 7, clusters * 7) == pytest.approx(cluster_standard_error(values, clusters))


def test_one_cluster_says_nothing_about_the_next():
    assert cluster_standard_error([1.0, 2.0], ["a", "a"]) == math.inf
    assert cluster_mean_interval(cluster_sums([1.0, 2.0], ["a", "a"])) is None


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="1 values but 2 cluster ids"):
        cluster_standard_error([1.0], ["a", "b"])
    with pytest.raises(ValueError, match="no values"):
        cluster_standard_error([], [])
