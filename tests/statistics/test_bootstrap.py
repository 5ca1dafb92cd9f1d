"""Bootstraps: identities, invariances, agreement with theory, coverage at the sizes that reports have."""

import math

import numpy as np
import pytest
import scipy.stats

from marl_bench.statistics import bootstrap
from marl_bench.statistics.bootstrap import (
    cluster_bootstrap_interval,
    percentile_interval,
    two_level_bootstrap_interval,
)
from marl_bench.statistics.intervals import mean_interval
from marl_bench.statistics.seeds import BOOTSTRAP_FROM_SEEDS, seed_interval


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = _rng(1).normal(size=30)
    clusters = np.arange(30)
    first = cluster_bootstrap_interval(values, clusters, rng=_rng())
    assert first == cluster_bootstrap_interval(values, clusters, rng=_rng())
    assert first != cluster_bootstrap_interval(values, clusters, rng=_rng(1))


def test_constant_values_have_no_spread() -> None:
    found = cluster_bootstrap_interval([2.0] * 24, list("abcdefghijkl") * 2, rng=_rng())
    assert found is not None
    assert (found.estimate, found.low, found.high) == (2.0, 2.0, 2.0)


def test_few_clusters_use_student_t() -> None:
    # Cluster sums 0 and 1, sizes 1: mean 1/2, error sqrt(2/1 * (1/4 + 1/4)) / 2 = 1/2, t(.975, 1) = 12.706205.
    found = cluster_bootstrap_interval([0.0, 1.0], ["a", "b"], rng=_rng())
    assert found is not None
    assert (found.estimate, found.low, found.high) == pytest.approx((0.5, 0.5 - 6.3531025, 0.5 + 6.3531025), abs=1e-6)


def test_ends_stand_at_expanded_shares() -> None:
    # 11 clusters: t(.975, 10) = 2.228139 (any t table), times sqrt(11/10) = 2.336889; Φ(-2.336889) = .0097224. The resamples 0, 1, ...,
    # 100,000 have their quantile q at 100,000 q.
    found = percentile_interval(5e4, np.arange(100_001.0), clusters=11)
    assert (found.low, found.high) == pytest.approx((972.24, 100_000 - 972.24), abs=0.05)


def test_symmetric_values_give_nearly_the_student_t_interval() -> None:
    values = scipy.stats.norm.ppf((np.arange(12) + 0.5) / 12)
    found = cluster_bootstrap_interval(values, np.arange(12), rng=_rng(), resamples=40_000)
    expected = mean_interval(values.tolist())
    assert found is not None and expected is not None
    # Bootstrap distributions have shorter tails than the normal distribution by kurtosis of order 1/n.
    assert found.half_width == pytest.approx(expected.half_width, rel=0.04)


def test_repeating_every_value_of_a_cluster_changes_nothing() -> None:
    values = _rng(2).normal(size=20)
    clusters = np.arange(20)
    once = cluster_bootstrap_interval(values, clusters, rng=_rng())
    thrice = cluster_bootstrap_interval(np.repeat(values, 3), np.repeat(clusters, 3), rng=_rng())
    assert once is not None and thrice is not None
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))


def test_order_of_rows_does_not_matter() -> None:
    values, clusters = _rng(3).normal(size=36), np.repeat(np.arange(12), 3)
    order = _rng(4).permutation(36)
    first = cluster_bootstrap_interval(values, clusters, rng=_rng())
    second = cluster_bootstrap_interval(values[order], clusters[order], rng=_rng())
    assert first is not None and second is not None
    assert (second.low, second.high) == pytest.approx((first.low, first.high))


def test_interval_moves_and_stretches_with_the_values() -> None:
    values, clusters = _rng(5).normal(size=25), np.arange(25)
    plain = cluster_bootstrap_interval(values, clusters, rng=_rng())
    moved = cluster_bootstrap_interval(3 * values + 7, clusters, rng=_rng())
    assert plain is not None and moved is not None
    assert (moved.low, moved.high) == pytest.approx((3 * plain.low + 7, 3 * plain.high + 7))


def test_large_tables_in_blocks_agree_with_the_normal_interval() -> None:
    # 3,000 clusters need several blocks; half-width = 1.96 * 2 / sqrt(3000) = .0716.
    values = _rng(6).normal(0.0, 2.0, size=3000)
    found = cluster_bootstrap_interval(values, np.arange(3000), rng=_rng(), resamples=1500)
    assert found is not None
    assert found.half_width == pytest.approx(1.96 * values.std() / 3000**0.5, rel=0.08)


def test_one_cluster_has_no_interval_and_unequal_lengths_are_refused() -> None:
    assert cluster_bootstrap_interval([1.0, 2.0], ["a", "a"], rng=_rng()) is None
    with pytest.raises(ValueError, match="2 values but 1 cluster"):
        cluster_bootstrap_interval([1.0, 2.0], ["a"], rng=_rng())


def test_cluster_bootstrap_covers_93_to_97_percent_at_60_prompts() -> None:
    # 60 prompts x 3 seeds with a shared prompt effect: ignoring the clusters would cover 81 %.
    rng = _rng(7)
    clusters = np.repeat(np.arange(60), 3)
    covered = 0
    for _ in range(1500):
        values = np.repeat(rng.normal(size=60), 3) + rng.normal(0.0, 0.7, size=180)
        found = cluster_bootstrap_interval(values, clusters, rng=rng, resamples=500)
        covered += found is not None and not found.excludes(0.0)
    # Standard error here .006.
    assert 0.93 <= covered / 1500 <= 0.97


def test_two_levels_of_equal_rows_are_the_bootstrap_over_prompts() -> None:
    row = _rng(8).normal(size=40)
    table = np.tile(row, (20, 1))
    both = two_level_bootstrap_interval(table, rng=_rng())
    prompts = cluster_bootstrap_interval(row, np.arange(40), rng=_rng())
    assert both is not None and prompts is not None
    # Other draws, so equal up to the noise of 4,000 resamples: a twentieth of a half-width.
    assert both.half_width == pytest.approx(prompts.half_width, rel=0.06)


def test_two_levels_leave_unscored_samples_out() -> None:
    table = np.full((20, 6), 5.0)
    table[3, 2] = np.nan
    found = two_level_bootstrap_interval(table, rng=_rng())
    assert found is not None
    assert (found.estimate, found.low, found.high) == pytest.approx((5.0, 5.0, 5.0))


@pytest.mark.parametrize("shape", [(1, 5), (5, 1)])
def test_two_levels_need_two_of_each(shape: tuple[int, int]) -> None:
    assert two_level_bootstrap_interval(np.zeros(shape), rng=_rng()) is None


def test_two_level_bootstrap_covers_at_20_seeds() -> None:
    # Seeds x prompts with effects of both: s = .3, p = .5, residual 1, 20 x 40.
    rng = _rng(9)
    covered = 0
    for _ in range(1000):
        table = rng.normal(0, 0.3, (20, 1)) + rng.normal(0, 0.5, (1, 40)) + rng.normal(0, 1, (20, 40))
        found = two_level_bootstrap_interval(table, rng=rng, resamples=400)
        covered += found is not None and not found.excludes(0.0)
    # Without drawing the resamples together this covers 98 %; standard error here .007.
    assert 0.93 <= covered / 1000 <= 0.97


def test_one_seed_has_no_interval() -> None:
    assert seed_interval(np.ones((1, 50)), rng=_rng()) is None


def test_few_seeds_use_student_t_on_their_means() -> None:
    # Means 1 and 3: mean 2, s = sqrt(2), t(.975, 1) = 12.706205, half = 12.706205 * sqrt(2) / sqrt(2) = 12.706205.
    found = seed_interval(np.array([[0.0, 2.0], [2.0, 4.0]]), rng=_rng())
    assert found is not None
    assert (found.low, found.estimate, found.high) == pytest.approx((2 - 12.706205, 2.0, 2 + 12.706205), abs=1e-5)


def test_unscored_samples_leave_a_seed_its_other_prompts() -> None:
    with_gap = seed_interval(np.array([[1.0, np.nan], [3.0, 3.0]]), rng=_rng())
    assert with_gap == seed_interval(np.array([[1.0, 1.0], [3.0, 3.0]]), rng=_rng())


def test_twenty_seeds_use_the_two_level_bootstrap() -> None:
    table = _rng(10).normal(size=(BOOTSTRAP_FROM_SEEDS, 15))
    assert seed_interval(table, rng=_rng()) == two_level_bootstrap_interval(table, rng=_rng())
    fewer = table[:-1]
    assert seed_interval(fewer, rng=_rng()) != two_level_bootstrap_interval(fewer, rng=_rng())


def test_equal_means_of_samples_that_differ_are_a_coincidence() -> None:
    # Both seeds pass two of four prompts, but not the same: variances 1/2, 1/2, 0, 0 over seeds, so (1/2 + 1/2) / 16 = 1/16 of a mean;
    # half = 12.706205 * (1/4) / sqrt(2) = 2.246161.
    found = seed_interval(np.array([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]]), rng=_rng())
    assert found is not None
    assert (found.estimate, found.half_width) == pytest.approx((0.5, 2.246161), abs=1e-6)


def test_seeds_with_the_same_samples_do_not_differ() -> None:
    found = seed_interval(np.array([[1.0, 0.0, np.nan], [1.0, 0.0, np.nan]]), rng=_rng())
    assert found is not None and found.half_width == 0.0


def test_means_that_differ_are_believed() -> None:
    table = np.array([[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0]])
    assert seed_interval(table, rng=_rng()) == mean_interval([0.75, 0.5])


def test_many_clusters_give_the_closed_form_and_it_agrees_with_the_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).exponential(size=bootstrap.BOOTSTRAP_BELOW_CLUSTERS)  # skewed
    clusters = np.arange(values.size)
    closed = cluster_bootstrap_interval(values, clusters, rng=np.random.default_rng(1))
    half = scipy.stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / math.sqrt(values.size)
    assert (closed.low, closed.high) == (pytest.approx(values.mean() - half), pytest.approx(values.mean() + half))
    monkeypatch.setattr(bootstrap, "BOOTSTRAP_BELOW_CLUSTERS", 10_000)
    resampled = cluster_bootstrap_interval(values, clusters, rng=np.random.default_rng(1))
    assert resampled != closed
    assert abs(resampled.low - closed.low) < 0.1 * half
    assert abs(resampled.high - closed.high) < 0.1 * half


def test_the_closed_form_covers_skewed_values() -> None:
    rng = np.random.default_rng(11)
    size = bootstrap.BOOTSTRAP_BELOW_CLUSTERS
    clusters = np.arange(size)
    found = [cluster_bootstrap_interval(rng.exponential(size=size), clusters, rng=rng) for _ in range(1000)]
    # 0.95 ± 3 sqrt(0.95 * 0.05 / 1000) is 0.929 to 0.971
    assert 0.93 <= np.mean([one is not None and not one.excludes(1) for one in found]) <= 0.97
