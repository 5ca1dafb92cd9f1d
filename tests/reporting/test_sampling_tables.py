"""Tables and sentences of sampling curves, from records alone."""

import dataclasses

import pytest

from marl_bench.errors import RecordError
from marl_bench.reporting.report import write_report
from marl_bench.reporting.sampling_tables import (
    curve_tables,
    curves_as_text,
    curves_for_terminal,
    curves_markdown,
    read_all_curves,
    read_sampling,
    write_curves,
)
from marl_bench.sampling_curves import BEST_OF_N, SamplingCurves, SamplingDifference, SamplingPoint, read_curves

SCORE = "reward_model_score"


def point(label, x, metric, mean, *, kl=None, unscored=0):
    return SamplingPoint(label, label, float(x), metric, mean, mean - 0.5, mean + 0.5, kl, [mean], 64, unscored)


def found(label, x, reference, reference_x, metric, low, high, level=0.95):
    return SamplingDifference(
        label, float(x), reference, float(reference_x), metric, (low + high) / 2, low, high, level
    )


def best(*differences):
    """Best-of-N of SFT, 1, 4 and 8, and one response of PPO."""
    points = [
        *(point("sft", x, SCORE, mean, kl=kl) for x, mean, kl in ((1, 0.0, 0.0), (4, 1.0, 0.636), (8, 2.0, 1.204))),
        *(point("sft", x, "oracle", mean, kl=0.0) for x, mean in ((1, 1.0), (4, 3.0), (8, 2.0))),
        point("ppo", 1, SCORE, 0.9, kl=5.0, unscored=2),
        point("ppo", 1, "oracle", 2.5, kl=5.0),
        point("ppo", 1, "finished", 0.75, kl=5.0),
    ]
    return SamplingCurves("best_of_n", SCORE, 16, 8, [0, 1], points, ["A note."], SCORE, differences)


def test_a_fall_of_the_oracle_under_a_rising_score_is_over_optimisation():
    curves = best(
        found("sft", 8, "sft", 1, SCORE, 1.0, 3.0),
        found("sft", 8, "sft", 1, "oracle", 0.5, 1.5),
        found("sft", 8, "sft", 4, "oracle", -1.5, -0.5, 0.975),
        found("sft", 8, "sft", 4, SCORE, 0.5, 1.5, 0.975),
    )
    sentences = read_sampling(curves)
    assert sentences[0] == (
        "sft: the best of 8 instead of one response: reward-model score +2.000 [1.000, 3.000], oracle +1.000 [0.500, 1.500]."
    )
    assert sentences[1] == (
        "sft: over-optimised beyond N = 4: up to N = 8 the oracle falls, -1.000 [-1.500, -0.500] at 97.5 %, "
        "while the reward-model score still rises, +1.000 [0.500, 1.500] at 97.5 %."
    )


def test_a_fall_within_its_interval_is_not_shown():
    curves = best(
        found("sft", 8, "sft", 4, "oracle", -1.5, 0.5, 0.975), found("sft", 8, "sft", 4, SCORE, 0.5, 1.5, 0.975)
    )
    [sentence] = read_sampling(curves)
    assert "a fall up to N = 8 cannot be shown" in sentence
    assert "over-optimised" not in sentence


def test_choosing_that_lowers_the_oracle_from_the_start():
    [_, sentence] = read_sampling(best(found("sft", 8, "sft", 1, "oracle", -1.5, -0.5)))
    assert sentence == "sft: over-optimised from the start: choosing by reward-model score lowers the oracle."


def test_training_against_choosing_names_both_distances_and_the_n_that_reaches_the_score():
    curves = best(found("ppo", 1, "sft", 8, SCORE, -1.5, -0.7), found("ppo", 1, "sft", 8, "oracle", -0.1, 1.1))
    [sentence] = read_sampling(curves)
    # 0.9 is first reached by the best of 4, whose mean is 1.0; 5.0 nats are more than the best of 8 can be away
    assert sentence == (
        "ppo (5.000 nats) against the best of 8 from sft (at most 1.204 nats): reward-model score -1.100 [-1.500, -0.700], best-of-N does "
        "better; oracle +0.500 [-0.100, 1.100], no difference can be shown. No N up to 8 spends as much KL as the arm. "
        "Its mean reward-model score is reached by the best of 4 (oracle there 3.000, the arm's 2.500)."
    )


def test_the_table_has_a_row_for_each_point_with_bounds_marked():
    table = curve_tables(best())[0]
    rows = {tuple(row[:2]): dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert list(rows) == [("sft", "1"), ("sft", "4"), ("sft", "8"), ("ppo", "1")]
    assert rows["sft", "1"]["KL"] == "0.000"
    assert rows["sft", "8"]["KL"] == "≤ 1.204"
    assert rows["ppo", "1"]["Truncated"] == "25.0 %"
    assert rows["sft", "8"]["Truncated"] == "–"
    assert rows["ppo", "1"]["Unscored"] == "reward-model score 2 of 64"
    assert rows["sft", "1"]["Unscored"] == "0 of 64"
    assert table.note.endswith("A note.")


def temperatures(*differences):
    points = [point("ppo", x, SCORE, x, kl=1.0) for x in (0.2, 0.8)]
    return SamplingCurves("temperature", "", 16, 2, [0], points, [], SCORE, differences)


def test_another_temperature_and_the_order_of_arms_are_read():
    sentences = read_sampling(
        temperatures(
            found("ppo", 0.8, "ppo", 0.2, SCORE, -3.0, -1.0, 0.99),
            found("macro", 0.2, "ppo", 0.2, SCORE, 1.0, 2.0),
            found("macro", 0.8, "ppo", 0.8, SCORE, -0.5, 1.0),
        )
    )
    assert sentences == [
        "ppo, reward-model score: better at T = 0.2 than at T = 0.8 of training; +2.000 [1.000, 3.000] at 99.0 %.",
        "macro against ppo, reward-model score: higher at T = 0.2 over prompts, not decided at the others (+0.250 to +1.500).",
    ]
    [sentence] = read_sampling(temperatures(found("ppo", 0.8, "ppo", 0.2, SCORE, -3.0, 1.0, 0.99)))
    assert sentence.startswith("ppo, reward-model score: highest at T = 0.2, but no difference to T = 0.8")


def test_the_report_shows_the_curves_of_a_run_with_the_same_bytes_twice(three_arms, write_cells, tmp_path):
    run = write_cells(tmp_path / "run", three_arms)
    without = write_report([run], out=tmp_path / "a", formats=("md",)).report.read_text()
    write_curves(run.root, best(found("sft", 8, "sft", 4, "oracle", -1.5, -0.5, 0.975)))
    write_curves(run.root, temperatures())
    first, second = (write_report([run], out=tmp_path / name, formats=("md",)).report.read_text() for name in "bc")
    assert first == second
    assert "## Best of N\n" in first
    assert "## Temperature sweep\n" in first
    assert "## Best of N" not in without


def test_curves_are_read_back_as_they_were_written(tmp_path):
    curves = dataclasses.replace(best(found("sft", 8, "sft", 1, SCORE, 1.0, 3.0)), notes=("A note.",))
    files = write_curves(tmp_path, curves)
    assert (
        read_curves(files.record).to_json()
        == dataclasses.replace(
            curves, points=tuple(curves.points), differences=tuple(curves.differences), notes=["A note."]
        ).to_json()
    )
    before = files.markdown.read_bytes()
    assert write_curves(tmp_path, read_all_curves(tmp_path)[0]).markdown.read_bytes() == before
    assert before.decode() == curves_markdown(curves) + "\n"


def test_records_of_before_have_no_differences_and_damaged_ones_are_told(tmp_path):
    (tmp_path / BEST_OF_N).write_text(
        '{"kind": "best_of_n", "chosen_by": "s", "prompts": 1, "samples_per_prompt": 1, "seeds": [0], "points": []}'
    )
    assert read_all_curves(tmp_path)[0].differences == ()
    (tmp_path / BEST_OF_N).write_text('{"kind": "best_of_n"}')
    with pytest.raises(RecordError, match="no sampling curves"):
        read_all_curves(tmp_path)


def test_a_pipe_gets_an_item_a_line_and_a_terminal_names_an_arm_once():
    import io

    from rich.console import Console

    text = curves_as_text(best())
    assert "Best of N, chosen by reward-model score | arm: sft | N: 4 |" in text
    assert "Note | A note." in text
    screen = io.StringIO()
    Console(file=screen, width=100).print(curves_for_terminal(best()))
    assert screen.getvalue().count("sft") == 1
