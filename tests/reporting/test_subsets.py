"""Results by subset."""

import dataclasses

from marl_bench.reporting.compare import compare
from marl_bench.reporting.subsets import subsets_table


def with_subsets(cell, names):
    samples = [dataclasses.replace(sample, subset=name) for sample, name in zip(cell.samples, names, strict=True)]
    return dataclasses.replace(cell, samples=samples)


def test_every_metric_is_shown_by_subset_and_arm(three_arms):
    cells = [with_subsets(cell, ["easy", "easy", "hard", "hard"]) for cell in three_arms]
    table = subsets_table(compare(cells))
    score = {row[1]: row[2:] for row in table.rows if row[0] == table.rows[0][0]}
    # sft, token, control, macro; macro easy: (2 + 3 + 3 + 4) / 4, hard: (1 + 2 + 2 + 3) / 4
    assert score == {"easy": ["0.000", "1.000", "2.000", "3.000"], "hard": ["0.000", "1.000", "2.000", "2.000"]}
    assert [row[1] for row in table.rows if row[0] == "Oracle"] == ["easy", "hard"]


def test_samples_without_a_value_are_left_out_of_the_means(make_cell):
    cell = with_subsets(make_cell("sft", 0, {"reward_model_score": [1.0, None, 3.0, None]}), ["a", "a", "a", "b"])
    table = subsets_table(compare([cell]))
    assert [row[1:] for row in table.rows] == [["a", "2.000"]]


def test_one_subset_makes_no_table(three_arms):
    assert subsets_table(compare(three_arms)) is None
