"""Length-controlled win rates: statsmodels as the oracle, identities, invariances, what has no fit."""

import numpy as np
import pytest
import statsmodels.api as sm

from marl_bench.statistics.length_control import length_controlled_win_rate


def _pairs(count=300, *, slope=1.0, ties=0.2, seed=0):
    rng = np.random.default_rng(seed)
    gaps = rng.normal(12, 25, count).round()
    scores = (rng.random(count) < 1 / (1 + np.exp(-(0.3 + slope * np.tanh(gaps / 25))))).astype(float)
    scores[rng.random(count) < ties] = 0.5
    return scores.tolist(), gaps.tolist(), [str(pair // 2) for pair in range(count)]


def _rate(scores, gaps, clusters, resamples=400, seed=1):
    return length_controlled_win_rate(scores, gaps, clusters, rng=np.random.default_rng(seed), resamples=resamples)


def test_equals_the_logistic_fit_of_statsmodels():
    scores, gaps, clusters = _pairs()
    lengths = np.tanh(np.array(gaps) / np.std(gaps))
    design = sm.add_constant(lengths)
    fit = sm.GLM(np.array(scores), design, family=sm.families.Binomial()).fit(
        tol=1e-12, cov_type="cluster", cov_kwds={"groups": np.array([int(cluster) for cluster in clusters])}
    )
    found = _rate(scores, gaps, clusters, resamples=2000)
    rate = 1 / (1 + np.exp(-fit.params[0]))
    assert found.estimate == pytest.approx(rate, abs=1e-9)
    # Delta method: d rate = rate (1 - rate) d intercept; the bootstrap agrees up to its noise.
    assert found.half_width == pytest.approx(1.96 * rate * (1 - rate) * fit.bse[0], rel=0.08)


def test_four_cells_by_hand():
    # Gaps ±1 in equal numbers: 9 of 10 longer ones win and 4 of 10 shorter ones. Logits log 9 and log(2/3); at the middle
    # (2.197225 - .405465) / 2 = .895880, and sigmoid(.895880) = .710102; the raw rate is 13/20.
    scores = [1.0] * 9 + [0.0] + [1.0] * 4 + [0.0] * 6
    found = _rate(scores, [1.0] * 10 + [-1.0] * 10, [str(pair) for pair in range(20)])
    assert found.estimate == pytest.approx(0.710102, abs=1e-6)


def test_turning_the_arms_mirrors_the_rate():
    scores, gaps, clusters = _pairs()
    one = _rate(scores, gaps, clusters)
    other = _rate([1 - score for score in scores], [-gap for gap in gaps], clusters)
    assert (other.estimate, other.low, other.high) == pytest.approx((1 - one.estimate, 1 - one.high, 1 - one.low))


def test_unit_of_length_and_unscored_pairs_do_not_matter():
    scores, gaps, clusters = _pairs()
    one = _rate(scores, gaps, clusters)
    other = _rate([*scores, None], [5 * gap for gap in gaps] + [1e6], [*clusters, "new"])
    assert (other.estimate, other.low, other.high) == pytest.approx((one.estimate, one.low, one.high))


def test_the_same_seed_gives_the_same_interval():
    pairs = _pairs(60)
    assert _rate(*pairs) == _rate(*pairs)
    assert _rate(*pairs) != _rate(*pairs, seed=2)


def test_resamples_in_blocks_are_the_same_resamples(monkeypatch):
    pairs = _pairs(60)
    whole = _rate(*pairs)
    monkeypatch.setattr("marl_bench.statistics.length_control._VALUES_AT_ONCE", 700)
    assert _rate(*pairs).low == pytest.approx(whole.low, abs=1e-9)


def test_nearly_separated_data_have_a_wide_interval_and_no_warning():
    # One short response wins: resamples without it have no maximum.
    scores, gaps = [0.0] * 6 + [1.0] * 7, [-3.0, -2, -2, -1, -1, -1, 1, 1, 1, 2, 2, 3, -2]
    found = _rate(scores, gaps, [str(pair) for pair in range(13)])
    assert 0 <= found.low < found.estimate < found.high <= 1
    assert found.half_width > 0.2


@pytest.mark.parametrize(
    ("scores", "gaps", "clusters"),
    [
        ([1.0, 0.0, 1.0], [5.0, 5.0, 5.0], list("abc")),  # equal gaps
        ([1.0, 1.0, 1.0], [1.0, -1.0, 2.0], list("abc")),  # all won
        ([0.0, 0.0, 1.0, 1.0], [-2.0, -1.0, 1.0, 2.0], list("abcd")),  # longer always wins
        ([1.0, 0.0, 1.0], [1.0, 2.0, 3.0], list("aaa")),  # one prompt
        ([None, None], [1.0, 2.0], list("ab")),  # nothing scored
        ([], [], []),
    ],
)
def test_what_cannot_tell_length_from_quality_has_no_rate(scores, gaps, clusters):
    assert _rate(scores, gaps, clusters) is None


def test_wrong_pairs_are_refused():
    with pytest.raises(ValueError, match="1 scores, 2 gaps and 1 prompt ids"):
        _rate([1.0], [1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="between 0"):
        _rate([2.0, 0.0], [1.0, 2.0], ["a", "b"])
