"""pass@k by difficulty, reference standard deviations without a measured stage, and arms that sample nothing."""

import dataclasses

import pytest

from marl_bench.reporting.compare import compare
from marl_bench.reporting.document import report_markdown
from marl_bench.reporting.pass_at_k import pass_at_k_table
from marl_bench.reporting.tables import arms_table, budget_table


def with_subsets(cell, names):
    samples = [dataclasses.replace(sample, subset=name) for sample, name in zip(cell.samples, names, strict=True)]
    return dataclasses.replace(cell, samples=samples)


def changed(cell, **record):
    return dataclasses.replace(cell, record=dataclasses.replace(cell.record, **record))


def test_rates_are_means_over_problems_and_seeds_by_difficulty(make_cell):
    cells = []
    for seed, values in enumerate(([1.0, 0.0, 0.5, None], [1.0, 1.0, 0.5, 0.0])):
        columns = {"reward_model_score": [1.0] * 4, "pass@1": values, "pass@5": [None, 1.0, 1.0, 1.0]}
        cells.append(with_subsets(make_cell("sft", seed, columns), ["easy", "easy", "hard", "hard"]))
    table = pass_at_k_table(compare(cells))
    rows = {row[0]: row for row in table.rows}
    # easy: (1 + 0 + 1 + 1) / 4; hard: (.5 + .5 + 0) / 3, one problem unscored in one seed; all: 4 / 7
    assert {name: row[2:4] for name, row in rows.items()} == {
        "easy": ["2", "75.0 %"],
        "hard": ["2", "33.3 %"],
        "all": ["4", "57.1 %"],
    }
    assert rows["easy"][5] == "100.0 %"
    assert table.columns == ["Difficulty", "Arm", "Problems", "Pass@1", "95 %", "Pass@5", "95 %"]


def test_one_difficulty_is_shown_as_all_and_a_task_without_pass_at_k_has_no_table(make_cell, three_arms):
    cell = make_cell("sft", 0, {"reward_model_score": [1.0] * 2, "pass@1": [1.0, 0.0]})
    assert [row[0] for row in pass_at_k_table(compare([cell])).rows] == ["all"]
    assert "## Pass@k by difficulty" in report_markdown(compare([cell]), [])
    assert pass_at_k_table(compare(three_arms)) is None


def test_without_a_measured_spread_it_is_that_of_the_sft_responses(make_cell):
    scores = {"sft": [0.0, 2.0, 0.0, 2.0], "token_ppo": [3.0, 4.0, 3.0, 4.0]}
    oracle = {"sft": [0.0, 0.0, 4.0, 4.0], "token_ppo": [5.0, 5.0, 5.0, 5.0]}
    cells = [
        changed(make_cell(arm, 0, {"reward_model_score": scores[arm], "oracle": oracle[arm]}), shared={})
        for arm in scores
    ]
    found = compare(cells)
    # Score: 0, 2, 0, 2 around 1: 1. Oracle: 0, 0, 4, 4 around 2: 2.
    assert found.reference_deviation == pytest.approx(1.0)
    assert {one.metric: one.reference_deviation for one in found.differences} == pytest.approx(
        {"reward_model_score": 1.0, "oracle": 2.0}
    )


def test_an_arm_of_no_special_role_that_samples_nothing_is_marked(make_cell):
    cells = [make_cell("sft", 0, {"reward_model_score": [1.0, 2.0]})]
    other = make_cell("token_ppo", 0, {"reward_model_score": [1.0, 2.0]})
    arm = {**other.record.arm, "name": "dpo", "label": "dpo", "role": "other", "trained": False}
    found = compare([*cells, changed(other, arm=arm, budget={})])
    assert [row[:2] for row in arms_table(found).rows] == [["sft", "start"], ["dpo", "other"]]
    budget = budget_table(found)
    assert budget.rows[1] == ["dpo", "–", "–", "–", "–", "–"]
    assert budget.note == "Samples nothing in training, and is not held to the equal budget: sft, dpo."
