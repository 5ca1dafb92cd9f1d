"""Rankings of three or more arms, and robust summaries over seeds: worked numbers, and when there are none."""

import math

import pytest

from marl_bench.reporting.compare import compare
from marl_bench.reporting.ranking import oracle_ranking_table
from marl_bench.reporting.seed_tables import seeds_table

SCORE = "reward_model_score"
ARMS = ("sft", "token_ppo", "macro_ppo-fixed_n5")


def ranked(make_cell, **oracle):
    """Returns the comparison of the three arms with these values of the oracle, one seed."""
    values = zip(ARMS, oracle.values(), strict=True)
    return compare([make_cell(arm, 0, {SCORE: [0.0] * len(column), "oracle": column}) for arm, column in values])


def test_strengths_are_those_that_give_back_the_win_rates(make_cell):
    # Of 20 prompts sft beats token on 5, token beats macro on 5 (odds of 1 to 3 each), sft beats macro on 2 (1 to 9 = 1/3 * 1/3):
    # the log strengths lie log 3 apart.
    sft = [3.0] * 2 + [2.0] * 3 + [1.0] * 15
    token = [2.0] * 2 + [1.0] * 3 + [3.0] * 3 + [2.0] * 12
    macro = [1.0] * 2 + [3.0] * 3 + [2.0] * 3 + [3.0] * 12
    found = ranked(make_cell, sft=sft, token=token, macro=macro).ranking
    assert found is not None
    assert list(found.strengths) == ["macro_ppo:fixed(n=5)", "token_ppo", "sft"]
    expected = [math.log(3), 0.0, -math.log(3)]
    assert [one.estimate for one in found.strengths.values()] == pytest.approx(expected, abs=1e-4)
    assert (found.contests, found.clusters) == (60, 20)
    assert all(one.low < one.estimate < one.high for one in found.strengths.values())


def test_the_table_stands_best_first_with_the_chance_against_strength_0(make_cell):
    sft = [3.0] * 2 + [2.0] * 3 + [1.0] * 15
    token = [2.0] * 2 + [1.0] * 3 + [3.0] * 3 + [2.0] * 12
    macro = [1.0] * 2 + [3.0] * 3 + [2.0] * 3 + [3.0] * 12
    table = oracle_ranking_table(ranked(make_cell, sft=sft, token=token, macro=macro))
    assert table is not None
    # log 3 = 1.099; odds of 3 are 75 %
    assert [(row[0], row[1], row[3]) for row in table.rows] == [
        ("macro_ppo:fixed(n=5)", "+1.099", "75.0 %"),
        ("token_ppo", "0.000", "50.0 %"),
        ("sft", "-1.099", "25.0 %"),
    ]


def test_an_arm_that_wins_every_pair_has_no_finite_strength(make_cell):
    assert ranked(make_cell, sft=[0.0] * 4, token=[1.0, 0.0] * 2, macro=[2.0] * 4).ranking is None


def test_two_arms_are_not_ranked(make_cell):
    cells = [make_cell(arm, 0, {SCORE: [0.0, 1.0], "oracle": [0.0, 1.0]}) for arm in ARMS[:2]]
    assert oracle_ranking_table(compare(cells)) is None


def seeded(make_cell, sft, token):
    cells = [make_cell("sft", seed, {SCORE: [value] * 2}) for seed, value in enumerate(sft)]
    return compare([*cells, *(make_cell("token_ppo", seed, {SCORE: [value] * 2}) for seed, value in enumerate(token))])


def test_one_odd_seed_does_not_move_the_interquartile_mean(make_cell):
    # token without its lowest and highest of four: (2 + 3) / 2; the mean is (1 + 2 + 3 + 100) / 4.
    # token's 1 is above one seed of sft, 2 above two, 3 above three, 100 above all four: 10 of 16 pairs.
    table = seeds_table(seeded(make_cell, [0.5, 1.5, 2.5, 3.5], [1.0, 2.0, 3.0, 100.0]))
    assert table is not None
    assert list(table.columns[6:8]) == ["P(better than sft)", "95 %"]
    sft, token = table.rows
    assert (sft[1], sft[4], sft[6]) == ("sft", "2.000", "–")
    assert (token[1], token[2], token[4], token[6]) == ("token_ppo", "4", "2.500", "62.5 %")
    assert token[3].startswith("26.50 ±")


def test_below_three_seeds_there_is_no_table(make_cell):
    assert seeds_table(seeded(make_cell, [0.0, 1.0], [1.0, 2.0])) is None


def test_an_arm_with_few_seeds_has_no_chance_beside_one_with_many(make_cell):
    table = seeds_table(seeded(make_cell, [0.0, 1.0], [1.0, 2.0, 3.0]))
    assert table is not None
    assert [row[4] for row in table.rows] == ["–", "2.000"]
    assert [row[6] for row in table.rows] == ["–", "–"]
