"""Bradley-Terry: the published example, worked numbers, identities, invariances, what has no fit."""

import math

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm

from marl_bench.statistics.bradley_terry import Contest, bradley_terry

TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
WINS = (  # row over column, American League East 1987
    (0, 7, 9, 7, 7, 9, 11),
    (6, 0, 7, 5, 11, 9, 9),
    (4, 6, 0, 7, 7, 8, 12),
    (6, 8, 6, 0, 6, 7, 10),
    (6, 2, 6, 7, 0, 7, 12),
    (4, 4, 5, 6, 6, 0, 6),
    (2, 4, 1, 3, 1, 7, 0),
)
BASEBALL = [
    Contest(TEAMS[row], TEAMS[column], 1.0, f"{row} {column} {game}")
    for row, wins in enumerate(WINS)
    for column, count in enumerate(wins)
    for game in range(count)
]


def _fit(contests, **options):
    return bradley_terry(contests, rng=np.random.default_rng(0), resamples=options.pop("resamples", 300), **options)


def test_the_published_example_of_baseball():
    # Agresti (2002), Categorical Data Analysis, section 10.6.2, and Firth (2005), "Bradley-Terry models in R", table 1: relative to
    # Baltimore 1.581, 1.436, 1.294, 1.248, 1.108 and .684.
    found = _fit(BASEBALL).strengths
    relative = [found[team].estimate - found["Baltimore"].estimate for team in TEAMS]
    assert relative == pytest.approx([1.5814, 1.4364, 1.2945, 1.2476, 1.1077, 0.6839, 0.0], abs=5e-5)
    assert list(found) == list(TEAMS)  # best first


def test_equals_logistic_regression_on_the_difference_of_systems():
    found = _fit(BASEBALL)
    design = np.zeros((len(BASEBALL), len(TEAMS)))
    for row, contest in enumerate(BASEBALL):
        design[row, TEAMS.index(contest.first)], design[row, TEAMS.index(contest.second)] = 1, -1
    # Baltimore's column is left out: it is the zero. Every other contest is told from the loser's side.
    outcome = np.arange(len(BASEBALL)) % 2
    fit = sm.Logit(outcome, design[:, :-1] * np.where(outcome, 1, -1)[:, None]).fit(disp=0)
    relative = [found.strengths[team].estimate - found.strengths["Baltimore"].estimate for team in TEAMS[:-1]]
    assert relative == pytest.approx(fit.params.tolist(), abs=1e-5)
    # Every game its own cluster: the bootstrap's width is near that of the information matrix, for a difference with Baltimore.
    centred = np.vstack([np.eye(6), np.zeros(6)]) - np.full((7, 6), 1 / 7)
    errors = np.sqrt(np.diag(centred @ fit.cov_params() @ centred.T))
    widths = [_fit(BASEBALL, resamples=1500).strengths[team].half_width for team in TEAMS]
    assert widths == pytest.approx((1.96 * errors).tolist(), rel=0.15)


def test_two_systems_by_hand():
    # 3 wins, 1 loss, 2 ties: 4 of 6 points, odds 2, strengths ± log(2) / 2.
    contests = [Contest("a", "b", score, str(place)) for place, score in enumerate([1, 1, 1, 0, 0.5, 0.5])]
    found = _fit(contests)
    assert found.strengths["a"].estimate == pytest.approx(math.log(2) / 2, abs=1e-6)
    assert found.strengths["b"].estimate == pytest.approx(-math.log(2) / 2, abs=1e-6)
    assert found.win_probability("a", "b") == pytest.approx(2 / 3, abs=1e-6)
    assert (found.contests, found.unscored, found.clusters) == (6, 0, 6)


def test_a_tie_is_half_a_win_of_each():
    ties = [
        Contest("a", "b", 0.5, "p"),
        Contest("b", "c", 1.0, "p"),
        Contest("c", "a", 0.5, "q"),
        Contest("c", "b", 1.0, "q"),
    ]
    halves = [
        contest
        for tie in ties
        for contest in (
            [tie] * 2 if tie.score != 0.5 else [Contest(tie.first, tie.second, s, tie.cluster) for s in (0.0, 1.0)]
        )
    ]
    one, other = _fit(ties).strengths, _fit(halves).strengths
    assert {name: found.estimate for name, found in one.items()} == pytest.approx(
        {name: found.estimate for name, found in other.items()}, abs=1e-5
    )


def test_sides_order_and_names_do_not_matter():
    expected = _fit(BASEBALL, resamples=50).strengths
    turned = [Contest(c.second, c.first, 1 - c.score, c.cluster) for c in reversed(BASEBALL)]
    found = _fit(turned, resamples=50).strengths
    for name, interval in expected.items():
        other = found[name]
        assert (other.estimate, other.low, other.high) == pytest.approx(
            (interval.estimate, interval.low, interval.high), abs=1e-7
        )
    assert sum(i.estimate for i in found.values()) == pytest.approx(0.0, abs=1e-9)


def test_contests_of_one_prompt_add_no_information():
    contests = [Contest("a", "b", float(place % 3 > 0), str(place)) for place in range(30)]
    once, often = _fit(contests), _fit(contests * 4)
    assert often.strengths["a"].half_width == pytest.approx(once.strengths["a"].half_width, rel=1e-6)


def test_unscored_contests_are_left_out_and_counted():
    found = _fit([*BASEBALL, Contest("Detroit", "Somebody", None, "x")])
    assert (found.unscored, found.contests) == (1, len(BASEBALL))
    assert "Somebody" not in found.strengths


@pytest.mark.parametrize(
    "contests",
    [
        [],
        [Contest("a", "b", None, "p")],
        [Contest("a", "b", 1.0, "p"), Contest("a", "b", 0.0, "p")],  # one prompt
        [Contest("a", "b", 1.0, "p"), Contest("b", "c", 0.5, "q")],  # a never lost
        [Contest("a", "b", 0.5, "p"), Contest("c", "d", 0.5, "q")],  # two groups that never met
    ],
)
def test_what_no_contest_ties_together_has_no_strengths(contests):
    assert _fit(contests) is None


@pytest.mark.parametrize(
    "contest", [Contest("a", "a", 1.0, "p"), Contest("a", "b", 1.2, "p"), Contest("a", "b", math.nan, "p")]
)
def test_what_is_no_contest_is_refused(contest):
    with pytest.raises(ValueError, match="is no contest of two systems"):
        _fit([contest])


def test_many_prompts_have_the_cluster_robust_interval_of_statsmodels() -> None:
    rng = np.random.default_rng(3)
    prompts, names = 600, ("a", "b", "c")
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    rows = [(first, second, prompt) for prompt in range(prompts) for first, second in pairs for _ in range(2)]
    chance = {("a", "b"): 0.6, ("a", "c"): 0.7, ("b", "c"): 0.55}
    luck = rng.random(prompts)  # shared inside a prompt, so that its contests depend on each other
    scores = [
        float((luck[prompt] if rng.random() < 0.5 else rng.random()) < chance[first, second])
        for first, second, prompt in rows
    ]
    found = bradley_terry(
        [Contest(one, other, score, str(prompt)) for (one, other, prompt), score in zip(rows, scores, strict=True)],
        rng=rng,
    )
    assert found is not None
    # strengths that add up to 0 are (x, y, -x - y)
    basis = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    design = np.array([basis[names.index(one)] - basis[names.index(other)] for one, other, _ in rows])
    fitted = sm.GLM(scores, design, family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": [prompt for *_, prompt in rows], "use_correction": False}
    )
    covariance = basis @ fitted.cov_params() @ basis.T * prompts / (prompts - 1)
    for place, name in enumerate(names):
        strength = found.strengths[name]
        assert strength.estimate == pytest.approx((basis @ fitted.params)[place], abs=1e-6)
        half = scipy.stats.t.ppf(0.975, prompts - 1) * np.sqrt(covariance[place, place])
        assert strength.half_width == pytest.approx(half, rel=1e-4)
