"""Sides held against each other: which arms and prompts are paired, and the numbers of each pair, worked by hand."""

import dataclasses
import json
import math

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from marl_bench.errors import RecordError, UnknownNameError
from marl_bench.reporting.compare import compare
from marl_bench.reporting.contrast_tables import as_data, as_markdown_text, csv_rows, sentences, tables
from marl_bench.reporting.side_by_side import compare_sides
from marl_bench.reporting.sides import open_side
from marl_bench.run_dir import RunDir, read_cells

SCORE = "reward_model_score"
OLD = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
NEW = [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 6.0, 11.0]  # + 1 1 1 1 1 1 -1 3


@pytest.fixture
def side(tmp_path, write_cells):
    """Returns a function that lays cells out as a run of a name and opens it, or a part of it."""

    def opened(name, cells, part=""):
        root = tmp_path / name
        if not root.exists():
            write_cells(root, cells)
        return open_side(f"{root}{part}", reference_dir=tmp_path / "references")

    return opened


def reopened(found, part):
    return open_side(f"{found.root}{part}", reference_dir=found.root)


def overall(found, metric=SCORE):
    return [one for one in found.overall if one.difference.metric == metric]


def test_a_pair_by_hand(make_cell, side):
    old = side("old", [make_cell("token_ppo", 0, {SCORE: OLD})])
    new = side("new", [make_cell("token_ppo", 0, {SCORE: NEW})])
    [one] = compare_sides([old, new]).contrasts
    # mean (6 * 1 - 1 + 3) / 8 = 1; squares of deviations 4 + 4, so s = sqrt(8 / 7); 8 prompts: Student t
    half = 2.364624 * math.sqrt(8 / 7 / 8)
    assert one.difference.delta == 1.0
    assert one.difference.over_prompts.interval.low == pytest.approx(1 - half, abs=1e-6)
    assert one.difference.over_prompts.interval.high == pytest.approx(1 + half, abs=1e-6)
    assert one.difference.over_seeds is None
    assert one.means == (5.5, 4.5)
    assert (one.difference.over_prompts.higher, one.difference.over_prompts.lower) == (7, 1)
    # sign test of 7 to 1: 2 (1 + 8) / 2^8
    assert (one.test, one.p_value) == ("sign test", pytest.approx(18 / 256))
    assert one.p_holm == one.p_value
    assert one.over_prompts.deviation == pytest.approx(math.sqrt(8 / 7))


def test_what_the_size_can_show_agrees_with_statsmodels(make_cell, side):
    old = side("old", [make_cell("token_ppo", 0, {SCORE: OLD})])
    new = side("new", [make_cell("token_ppo", 0, {SCORE: NEW})])
    [one] = compare_sides([old, new], effects={SCORE: 0.5}).contrasts
    deviation = math.sqrt(8 / 7)
    power = TTestPower()
    detectable = power.solve_power(nobs=8, alpha=0.05, power=0.8) * deviation
    needed = power.solve_power(effect_size=0.5 / deviation, alpha=0.05, power=0.8)
    assert one.over_prompts.detectable == pytest.approx(detectable, rel=1e-4)
    assert one.over_prompts.needed == math.ceil(needed)
    assert one.effect == 0.5
    [observed] = compare_sides([old, new]).contrasts
    assert observed.effect == 1.0
    assert observed.over_prompts.needed == math.ceil(
        power.solve_power(effect_size=1 / deviation, alpha=0.05, power=0.8)
    )


def test_a_metric_of_zeros_and_ones_gets_mcnemar(make_cell, side):
    # 6 prompts pass only in the new run, 1 only in the old: 2 (1 + 7) / 2^7
    old = side("old", [make_cell("sft", 0, {SCORE: [0.0] * 6 + [1.0] * 3 + [0.0]})])
    new = side("new", [make_cell("sft", 0, {SCORE: [1.0] * 6 + [0.0] + [1.0] * 2 + [0.0]})])
    [one] = compare_sides([old, new]).contrasts
    assert (one.test, one.p_value) == ("McNemar", pytest.approx(0.125))


def test_holm_goes_over_the_arms_of_a_metric(make_cell, side):
    base = make_cell("sft", 0, {SCORE: [0.0] * 8})
    arms = [
        make_cell("token_ppo", 0, {SCORE: [1.0] * 8}),  # 8 to 0: 2 / 256
        make_cell("macro_ppo-fixed_n5", 0, {SCORE: [1.0] * 7 + [-1.0]}),  # 7 to 1: 18 / 256
        make_cell("token_ppo_matched_lambda-n5", 0, {SCORE: [1.0, -1.0] * 4}),  # 4 to 4: 1
    ]
    found = compare_sides([side("run", [base, *arms], ":sft")])
    holm = {one.difference.arm.name: (one.p_holm, one.family) for one in found.contrasts}
    assert holm == {
        "token_ppo": (pytest.approx(3 * 2 / 256), 3),
        "macro_ppo-fixed_n5": (pytest.approx(2 * 18 / 256), 3),
        "token_ppo_matched_lambda-n5": (1.0, 3),
    }


def test_seeds_and_their_reach_by_hand(make_cell, side):
    old = side("old", [make_cell("token_ppo", seed, {SCORE: OLD}) for seed in (0, 1)])
    new = side("new", [make_cell("token_ppo", seed, {SCORE: [value + seed for value in NEW]}) for seed in (0, 1)])
    [one] = compare_sides([old, new]).contrasts
    # seeds' means 1 and 2: 1.5 ± 12.7062 * sqrt(0.5) / sqrt(2)
    assert one.difference.over_seeds.low == pytest.approx(1.5 - 12.7062 * 0.5, abs=1e-3)
    assert (one.over_seeds.count, one.over_seeds.deviation) == (2, pytest.approx(math.sqrt(0.5)))


def test_the_pairs_of_one_run_have_the_intervals_of_its_report(three_arms, side):
    run = side("run", three_arms)
    report = compare(read_cells(RunDir(run.root)))
    found = compare_sides([run])
    for one in overall(found):
        other = report.difference(one.difference.arm, one.difference.reference, SCORE)
        if other is not None:
            assert one.difference == other
    assert {one.difference.reference.name for one in found.contrasts} == {"token_ppo"}


def test_without_a_token_arm_sft_is_the_baseline(three_arms, side):
    found = compare_sides([side("run", [cell for cell in three_arms if cell.record.arm["name"] != "token_ppo"])])
    assert {one.difference.reference.name for one in found.contrasts} == {"sft"}


def test_the_first_named_arm_is_the_baseline(three_arms, side):
    run = side("run", three_arms)
    macro, sft = reopened(run, ":macro_ppo:fixed(n=5)"), reopened(run, ":sft")
    [pair] = compare_sides([macro, sft]).pairs
    assert (pair.first.arm.name, pair.second.arm.name) == ("sft", "macro_ppo-fixed_n5")
    alone = compare_sides([macro])
    assert {pair.second.arm.name for pair in alone.pairs} == {"macro_ppo-fixed_n5"}
    assert len(alone.pairs) == 3


def test_swapping_the_sides_turns_every_sign(make_cell, side):
    old = side("old", [make_cell("token_ppo", seed, {SCORE: OLD}) for seed in (0, 1)])
    new = side("new", [make_cell("token_ppo", seed, {SCORE: NEW}) for seed in (0, 1)])
    [there], [back] = compare_sides([old, new]).contrasts, compare_sides([new, old]).contrasts
    assert there.difference.delta == -back.difference.delta
    assert there.p_value == back.p_value
    assert there.over_prompts == back.over_prompts
    one, other = there.difference.over_prompts.interval, back.difference.over_prompts.interval
    assert (one.low, one.high) == (pytest.approx(-other.high), pytest.approx(-other.low))


def test_the_order_of_samples_changes_nothing(make_cell, side):
    cell = make_cell("token_ppo", 0, {SCORE: NEW})
    turned = dataclasses.replace(cell, samples=list(cell.samples)[::-1])
    old = side("old", [make_cell("token_ppo", 0, {SCORE: OLD})])
    [one] = compare_sides([old, side("new", [cell])]).contrasts
    [other] = compare_sides([old, side("turned", [turned])]).contrasts
    assert one.difference.over_prompts == other.difference.over_prompts


def test_arms_of_two_runs_are_paired_by_name_and_the_others_named(three_arms, side):
    old = side("old", [cell for cell in three_arms if cell.record.arm["role"] != "macro"])
    new = side("new", [cell for cell in three_arms if cell.record.arm["role"] != "control"])
    found = compare_sides([old, new])
    assert [pair.first.arm.name for pair in found.pairs] == ["sft", "token_ppo"]
    assert found.missing_arms == ["old:token_ppo_matched_lambda:n=5"]
    [sentence] = found.unmatched
    assert "new:macro_ppo:fixed(n=5)" in sentence
    assert "old:token_ppo_matched_lambda:n=5" in sentence


def test_unpaired_and_unscored_prompts_are_counted_and_named(make_cell, side):
    old = side("old", [make_cell("token_ppo", 0, {SCORE: [1.0, 2.0, None, 4.0]})])
    new = side("new", [make_cell("token_ppo", 0, {SCORE: [1.0, 2.0, 3.0]})])
    [one] = compare_sides([old, new]).contrasts
    assert one.difference.over_prompts.prompts == 2
    assert (one.unpaired.only_first, one.unpaired.only_second, one.unpaired.unscored) == ([], ["p3"], ["p2"])
    assert one.unscored_shares == (0.0, 0.25)
    table = next(each for each in tables(compare_sides([old, new])) if each.title == "Unpaired prompts")
    assert [row[2:] for row in table.rows] == [["1", "p3"], ["1", "p2"]]


def test_nothing_shared_is_one_clear_error(make_cell, side):
    cell = make_cell("token_ppo", 0, {SCORE: OLD})
    renamed = [dataclasses.replace(sample, prompt_id=f"other {sample.prompt_id}") for sample in cell.samples]
    old, new = side("old", [cell]), side("new", [dataclasses.replace(cell, samples=renamed)])
    with pytest.raises(RecordError, match=r"nothing is shared: new:token_ppo has seeds 0 and prompts such as other p0"):
        compare_sides([old, new])


def test_other_arms_of_other_names_are_an_error_that_says_how(make_cell, side):
    old = side("old", [make_cell("sft", 0, {SCORE: OLD}), make_cell("token_ppo", 0, {SCORE: OLD})])
    new = side(
        "new", [make_cell(name, 0, {SCORE: OLD}) for name in ("macro_ppo-fixed_n5", "token_ppo_matched_lambda-n5")]
    )
    with pytest.raises(RecordError, match=r"share no arm.*RUN:ARM"):
        compare_sides([old, new])


def test_prompts_of_one_id_and_other_texts_are_no_pair(make_cell, side):
    cell = make_cell("token_ppo", 0, {SCORE: OLD})
    other = dataclasses.replace(
        cell, samples=[dataclasses.replace(one, prompt="something else") for one in cell.samples]
    )
    old, new = side("old", [cell]), side("new", [other])
    with pytest.raises(RecordError, match=r"8 of 8 prompts have the same id but other texts"):
        compare_sides([old, new])
    assert "other texts" in compare_sides([old, new], force=True).warnings[0]


def test_runs_of_unequal_budgets_need_force_and_other_models_do_not(make_cell, side):
    cell = make_cell("token_ppo", 0, {SCORE: OLD})
    more = make_cell("token_ppo", 0, {SCORE: NEW}, budget={**cell.record.budget, "responses_sampled": 64})
    other_sft = make_cell("token_ppo", 0, {SCORE: NEW}, digests={**cell.record.digests, "sft": "6" * 64})
    old = side("old", [cell])
    with pytest.raises(RecordError, match=r"responses_sampled: 32"):
        compare_sides([old, side("more", [more])])
    assert "Unequal budget (forced)" in compare_sides([old, side("more", [more])], force=True).warnings[0]
    found = compare_sides([old, side("other", [other_sft])])
    assert ("sft digest", ["5" * 12, "6" * 12]) in found.settings


def test_different_tasks_are_never_compared(make_cell, side):
    cell = make_cell("token_ppo", 0, {SCORE: OLD})
    other = make_cell("token_ppo", 0, {SCORE: OLD}, task={**cell.record.task, "id": "hh"})
    with pytest.raises(RecordError, match=r"different tasks"):
        compare_sides([side("old", [cell]), side("new", [other])], force=True)


def test_one_seed_against_another_seed_is_paired_and_says_so(make_cell, side):
    run = side("run", [make_cell("token_ppo", 0, {SCORE: OLD}), make_cell("token_ppo", 1, {SCORE: NEW})])
    found = compare_sides([reopened(run, ":token_ppo-seed0"), reopened(run, ":token_ppo-seed1")])
    [one] = found.contrasts
    assert one.difference.delta == 1.0
    assert (one.difference.arm.label, one.difference.reference.label) == ("token_ppo (seed 1)", "token_ppo (seed 0)")


def test_different_seeds_use_the_shared_ones_and_warn(make_cell, side):
    old = side("old", [make_cell("token_ppo", seed, {SCORE: OLD}) for seed in (0, 1, 2)])
    new = side("new", [make_cell("token_ppo", seed, {SCORE: NEW}) for seed in (1, 2, 3)])
    found = compare_sides([old, new])
    assert list(found.contrasts[0].difference.seeds) == [1, 2]
    assert "only new:token_ppo: 3; only old:token_ppo: 0" in found.warnings[0]


def test_subsets_are_compared_by_themselves_with_their_own_family(make_cell, side):
    def halves(cell):
        samples = [
            dataclasses.replace(one, subset="easy" if place < 4 else "hard") for place, one in enumerate(cell.samples)
        ]
        return dataclasses.replace(cell, samples=samples)

    old = side("old", [halves(make_cell("token_ppo", 0, {SCORE: OLD}))])
    new = side("new", [halves(make_cell("token_ppo", 0, {SCORE: NEW}))])
    found = compare_sides([old, new])
    # easy + 1 1 1 1, hard + 1 1 -1 3
    parts = {one.subset: (one.difference.delta, one.family) for one in found.contrasts}
    assert parts == {"": (1.0, 1), "easy": (1.0, 2), "hard": (1.0, 2)}
    easy = next(one for one in found.contrasts if one.subset == "easy")
    assert (easy.over_prompts.deviation, easy.over_prompts.needed) == (0.0, None)


@pytest.mark.parametrize("part", [":nothing", ":token_ppo-seed7", ":tokenppo"])
def test_an_unknown_arm_or_seed_is_named_with_the_known_ones(three_arms, side, part):
    side("run", three_arms)
    with pytest.raises(UnknownNameError, match=r"Did you mean|Known: .*token_ppo"):
        side("run", [], part)


def test_an_unknown_metric_is_named(three_arms, side):
    with pytest.raises(UnknownNameError, match=f"'{SCORE}'"):
        compare_sides([side("run", three_arms)], metrics=["reward_model_scor"])


def test_a_folder_of_nothing_is_an_error_that_says_what_would_be_right(tmp_path):
    with pytest.raises(RecordError, match=r"no experiment and no reference there; give the folder of a run"):
        open_side(str(tmp_path), reference_dir=tmp_path)


def test_a_cells_folder_is_its_arm_and_seed(three_arms, side):
    run = side("run", three_arms)
    one = open_side(str(run.root / "cells" / "macro_ppo-fixed_n5-seed1"), reference_dir=run.root)
    assert [(cell.record.arm["name"], cell.record.seed) for cell in one.cells] == [("macro_ppo-fixed_n5", 1)]


def test_unfinished_cells_are_named_and_left_out(make_cell, side):
    running = make_cell("token_ppo", 1, {SCORE: NEW}, status="running")
    old = side("old", [make_cell("token_ppo", seed, {SCORE: OLD}) for seed in (0, 1)])
    new = side("new", [make_cell("token_ppo", 0, {SCORE: NEW}), running])
    found = compare_sides([old, new])
    assert list(found.contrasts[0].difference.seeds) == [0]
    assert found.open_cells == ["new: token_ppo seed 1 is running (no result)"]


def test_a_run_with_no_complete_cell_is_an_error(make_cell, side):
    with pytest.raises(RecordError, match=r"no complete cell there \(failed\)"):
        side("new", [make_cell("token_ppo", 0, {SCORE: NEW}, status="failed", error="killed")])


def test_all_outputs_hold_the_same_numbers(three_arms, side):
    found = compare_sides([side("run", three_arms)])
    data = as_data(found, [])
    text = json.dumps(data, allow_nan=False)
    rows = csv_rows(found)
    assert [row["difference"] for row in rows] == [one["difference"] for one in data["contrasts"]]
    assert as_data(compare_sides([side("run", three_arms)]), []) == json.loads(text)
    markdown = as_markdown_text(found, [])
    assert all(f"## {table.title}" in markdown for table in tables(found))
    assert all(sentence.split(";")[0].split(",")[0] in markdown for sentence in sentences(found))
    assert not np.isnan([row["difference"] for row in rows]).any()


def test_rounding_wins_no_tie(make_cell, side):
    # (0.1 + 0.2) + 0.3 and 0.1 + (0.2 + 0.3) differ by 1e-16: the same mean over three seeds, in another order, is a tie
    one = [make_cell("token_ppo", seed, {SCORE: [value] * 6}) for seed, value in enumerate((0.1, 0.2, 0.3))]
    other = [make_cell("token_ppo", seed, {SCORE: [value] * 6}) for seed, value in enumerate((0.3, 0.2, 0.1))]
    assert (0.1 + 0.2) + 0.3 != (0.3 + 0.2) + 0.1
    [found] = compare_sides([side("one", one), side("other", other)]).contrasts
    over = found.difference.over_prompts
    assert (over.higher, over.equal, over.lower, found.p_value, over.delta) == (0, 6, 0, 1.0, 0.0)


def test_small_differences_are_no_ties(make_cell, side):
    one = side("one", [make_cell("token_ppo", 0, {SCORE: [1.0] * 6})])
    other = side("other", [make_cell("token_ppo", 0, {SCORE: [1.0 + 1e-9] * 6})])
    assert compare_sides([one, other]).contrasts[0].difference.over_prompts.higher == 6


def test_without_any_spread_nothing_says_what_could_be_detected(make_cell, side):
    old = side("old", [make_cell("token_ppo", 0, {SCORE: OLD})])
    [found] = compare_sides([old, side("new", [make_cell("token_ppo", 0, {SCORE: OLD})])]).contrasts
    assert (found.over_prompts.deviation, found.over_prompts.detectable, found.over_prompts.needed) == (0.0, None, None)


def test_equal_runs_are_called_equal(make_cell, side):
    old = side("old", [make_cell("token_ppo", 0, {SCORE: OLD})])
    [text] = sentences(compare_sides([old, side("new", [make_cell("token_ppo", 0, {SCORE: OLD})])]))
    assert "equal on every prompt; 0.000" in text


def test_an_effect_on_a_metric_that_is_not_compared_is_an_error(make_cell, side):
    sides = [side(name, [make_cell("token_ppo", 0, {SCORE: OLD, "oracle": NEW})]) for name in ("old", "new")]
    with pytest.raises(UnknownNameError, match=r"metric of --effect among those compared 'orcle'.*'oracle'"):
        compare_sides(sides, effects={"orcle": 0.1})
    # the size without a metric means the primary metric, which --metric has left out here
    with pytest.raises(UnknownNameError, match=r"'reward_model_score'. Known: oracle"):
        compare_sides(sides, effects={"": 0.1}, metrics=["oracle"])


def test_a_metric_without_scores_is_said_to_be_the_reason(make_cell, side):
    old = side("old", [make_cell("token_ppo", 0, {SCORE: OLD, "oracle": OLD})])
    new = side("new", [make_cell("token_ppo", 0, {SCORE: OLD, "oracle": [None] * 8})])
    with pytest.raises(
        RecordError, match=r"have answered the same prompts, but on none of them do both have a score of oracle"
    ):
        compare_sides([old, new], metrics=["oracle"])


def test_a_run_whose_samples_are_missing_says_so(make_cell, side):
    with pytest.raises(RecordError, match=r"no complete cell there \(complete, but its samples are missing\)"):
        side("new", [dataclasses.replace(make_cell("token_ppo", 0, {SCORE: OLD}), samples=[])])
