"""Margins: a regression that must fail, one that must pass, one that stays open, and what must never pass in silence."""

import dataclasses
import itertools

import pytest

from marl_bench.errors import ConfigError, RecordError, UnscoredError
from marl_bench.reporting.regression import Margin, judge_margins, parse_margin, verdict_sentence
from marl_bench.reporting.side_by_side import compare_sides
from marl_bench.reporting.sides import open_side

SCORE, KL = "reward_model_score", "kl"
BASE = [float(place) for place in range(12)]
WORSE = [value - 1 + (0.1 if place % 2 else -0.1) for place, value in enumerate(BASE)]  # - 1 ± 0.1
SAME = [value + (0.1 if place % 2 else -0.1) for place, value in enumerate(BASE)]  # 0 ± 0.1
SPREAD = [value + (1.0 if place % 2 else -1.0) for place, value in enumerate(BASE)]  # 0 ± 1


@pytest.fixture
def pair(tmp_path, write_cells, make_cell):
    """Returns a function from the baseline's and the new seeds' values to their comparison."""
    count = itertools.count()

    def compared(old, new, *, metric=SCORE, of_both=None, **changes):
        sides = []
        for values, more in ((old, of_both or {}), (new, (of_both or {}) | changes)):
            cells = [make_cell("token_ppo", seed, {metric: column}, **more) for seed, column in enumerate(values)]
            root = tmp_path / f"run{next(count)}"
            write_cells(root, cells)
            sides.append(open_side(str(root), reference_dir=tmp_path))
        return compare_sides(sides)

    return compared


def verdicts(found, margin, metric=SCORE, max_unscored=0.02):
    return judge_margins(found, [Margin(metric, margin)], max_unscored=max_unscored, option="--fail-on-regression")


def test_worse_by_more_than_the_margin_is_a_regression(pair):
    # - 1 ± 0.1: the interval over prompts is about [-1.07, -0.93], wholly below -0.5
    [one] = verdicts(pair([BASE], [WORSE]), 0.5)
    assert (one.verdict, one.over) == ("regressed", "12 prompts")
    assert one.interval.high < -0.9
    assert "one seed, so another training run may say otherwise" in verdict_sentence(one)


def test_worse_by_less_than_the_margin_passes(pair):
    [one] = verdicts(pair([BASE], [WORSE]), 1.5)
    assert one.verdict == "within margin"


def test_no_change_passes(pair):
    assert verdicts(pair([BASE], [SAME]), 0.5)[0].verdict == "within margin"


def test_a_wide_interval_is_inconclusive(pair):
    # 0 ± 1 over 12 prompts: about ± 0.66, on both sides of - 0.5
    [one] = verdicts(pair([BASE], [SPREAD]), 0.5)
    assert one.verdict == "inconclusive"
    assert "not shown to be within the margin" in verdict_sentence(one)


def test_an_interval_that_crosses_the_margin_is_inconclusive_though_worse(pair):
    [one] = verdicts(pair([BASE], [WORSE]), 1.0)
    assert one.verdict == "inconclusive"


def test_the_same_scores_pass_at_margin_zero(pair):
    assert verdicts(pair([BASE], [BASE]), 0.0)[0].verdict == "within margin"


def test_where_lower_is_better_higher_is_the_regression(pair):
    found = pair([WORSE], [BASE], of_both={"higher_is_better": {SCORE: False}})
    [one] = verdicts(found, 0.5)
    assert (one.verdict, one.interval.estimate) == ("regressed", pytest.approx(-1.0))
    assert verdicts(found, 1.5)[0].verdict == "within margin"


def test_with_several_seeds_the_wider_interval_decides(pair):
    # seed 0 is 1 worse, seed 1 is 3 worse: over prompts narrow around - 2, over 2 seeds - 2 ± 12.7
    [one] = verdicts(pair([BASE, BASE], [WORSE, [value - 2 for value in WORSE]]), 0.5)
    assert (one.verdict, one.over) == ("inconclusive", "2 seeds")
    # both seeds 1 worse: over seeds [-1, -1], so the prompts are wider and decide
    [one] = verdicts(pair([BASE, BASE], [WORSE, WORSE]), 0.5)
    assert (one.verdict, one.over) == ("regressed", "12 prompts")


def test_five_prompts_show_nothing(pair):
    # all 5 worse by exactly 1: the exact sign test has p = 2 / 2^5 = 0.0625
    [one] = verdicts(pair([BASE[:5]], [[value - 1 for value in BASE[:5]]]), 0.5)
    assert (one.verdict, one.reason) == ("inconclusive", "5 prompts cannot show anything at 95 %")


def test_a_missing_metric_is_an_error(pair):
    with pytest.raises(RecordError, match=f"no shared prompt has this metric on both sides; known are {SCORE}"):
        verdicts(pair([BASE], [BASE]), 0.5, metric="oracle")


def test_a_metric_without_a_better_end_is_an_error(pair):
    with pytest.raises(ConfigError, match=r"neither end of this metric is better"):
        verdicts(pair([BASE], [BASE], metric=KL), 0.5, metric=KL)


def test_sides_that_disagree_on_the_better_end_are_an_error(pair):
    with pytest.raises(ConfigError, match=r"neither end of this metric is better"):
        verdicts(pair([BASE], [BASE], higher_is_better={SCORE: False}), 0.5)


def test_too_many_unscored_samples_are_an_error_and_a_few_are_not(pair):
    found = pair([BASE], [[None, *BASE[1:]]])  # 1 of 12: 8.3 %
    with pytest.raises(UnscoredError, match=r"8.3 % of the samples of one side have no score"):
        verdicts(found, 0.5)
    assert verdicts(found, 0.5, max_unscored=0.1)[0].verdict == "within margin"


def test_prompts_that_the_new_run_lost_are_an_error(pair):
    with pytest.raises(UnscoredError, match=r"4 prompts of the baseline's 12 were not answered \(first: p"):
        verdicts(pair([BASE], [BASE[:8]]), 0.5)


def test_prompts_that_the_new_run_has_more_are_none(pair):
    assert verdicts(pair([BASE[:8]], [BASE]), 0.5)[0].verdict == "within margin"


def test_an_unfinished_cell_cannot_pass(tmp_path, write_cells, make_cell):
    old = write_cells(tmp_path / "old", [make_cell("token_ppo", seed, {SCORE: BASE}) for seed in (0, 1)])
    killed = make_cell("token_ppo", 1, {SCORE: BASE}, status="running")
    new = write_cells(tmp_path / "new", [make_cell("token_ppo", 0, {SCORE: BASE}), killed])
    found = compare_sides([open_side(str(one.root), reference_dir=tmp_path) for one in (old, new)])
    with pytest.raises(RecordError, match=r"token_ppo seed 1 is running.*what did not finish cannot pass"):
        verdicts(found, 0.5)


def test_an_arm_that_the_new_run_lacks_cannot_pass(tmp_path, write_cells, make_cell):
    old = write_cells(tmp_path / "old", [make_cell(arm, 0, {SCORE: BASE}) for arm in ("sft", "token_ppo")])
    new = write_cells(
        tmp_path / "new", [make_cell("sft", 0, {SCORE: BASE}), make_cell("macro_ppo-fixed_n5", 0, {SCORE: BASE})]
    )
    found = compare_sides([open_side(str(one.root), reference_dir=tmp_path) for one in (old, new)])
    with pytest.raises(RecordError, match=r"no other side has old:token_ppo"):
        verdicts(found, 0.5)


@pytest.mark.parametrize("text", ["oracle", "oracle:", ":0.1", "oracle:x", "oracle:-1", "oracle:nan", "oracle:inf", ""])
def test_a_margin_that_is_none_is_an_error(text):
    with pytest.raises(ConfigError, match=r"should be METRIC:MARGIN"):
        parse_margin(text, option="--margin")


def test_a_metric_may_hold_a_colon():
    assert parse_margin("evaluate:x:0.25", option="--margin") == Margin("evaluate:x", 0.25)


def test_without_margins_unfinished_and_missing_arms_are_no_error(tmp_path, write_cells, make_cell):
    old = [make_cell("sft", 0, {SCORE: BASE}), make_cell("token_ppo", 0, {SCORE: BASE})]
    new = [make_cell("sft", 0, {SCORE: BASE}), make_cell("sft", 1, {SCORE: BASE}, status="failed", error="boom")]
    write_cells(tmp_path / "old", old)
    write_cells(tmp_path / "new", new)
    found = compare_sides([open_side(str(tmp_path / name), reference_dir=tmp_path) for name in ("old", "new")])
    assert found.missing_arms and found.open_cells
    assert judge_margins(found, [], max_unscored=0.02, option="--fail-on-regression") == []


def test_prompts_of_other_texts_cannot_pass_unless_forced(tmp_path, write_cells, make_cell):
    cell = make_cell("token_ppo", 0, {SCORE: BASE})
    changed = [
        dataclasses.replace(one, prompt="another text") if place < 3 else one for place, one in enumerate(cell.samples)
    ]
    write_cells(tmp_path / "old", [cell])
    write_cells(tmp_path / "new", [dataclasses.replace(cell, samples=changed)])
    found = compare_sides([open_side(str(tmp_path / name), reference_dir=tmp_path) for name in ("old", "new")])
    with pytest.raises(
        UnscoredError, match=r"3 prompts of 12 have the same id as the baseline's but another text \(first: p0\)"
    ):
        verdicts(found, 0.5)
    assert verdicts(found, 0.5, max_unscored=0.25)[0].verdict == "within margin"
    margins = [Margin(SCORE, 0.5)]
    assert judge_margins(found, margins, max_unscored=0.02, option="x", force=True)[0].verdict == "within margin"
