"""Arms over tasks, from cells whose ranks and chances can be counted by hand."""

import pytest
from typer.testing import CliRunner

from marl_bench.cli.main import app
from marl_bench.errors import RecordError, UnknownNameError
from marl_bench.reporting.leaderboard import leaderboard
from marl_bench.reporting.leaderboard_table import leaderboard_markdown, leaderboard_page, leaderboard_table

SCORE = "reward_model_score"
MACRO = "macro_ppo-fixed_n5"


def task(name):
    return {"id": name, "version": 1, "primary_metric": SCORE, "has_oracle": False}


@pytest.fixture
def results(tmp_path, write_cells, make_cell):
    """Two tasks, two seeds. By seed, first: token 1, 2; macro 3, 2. Second: token 0, 0; macro 1, 1; sft stands in the second only with -1."""

    def run(name, arms):
        cells = [
            make_cell(arm, seed, {SCORE: [value, value]}, task=task(name))
            for arm, values in arms.items()
            for seed, value in enumerate(values)
        ]
        return write_cells(tmp_path / name, cells)

    run("first", {"token_ppo": [1.0, 2.0], MACRO: [3.0, 2.0]})
    run("second", {"token_ppo": [0.0, 0.0], MACRO: [1.0, 1.0], "sft": [-1.0, -1.0]})
    return tmp_path


def test_ranks_are_taken_seed_by_seed_and_averaged_over_tasks(results):
    entries = {entry.label: entry for entry in leaderboard([results]).entries}
    # First task: macro 1 and 1.5 (a tie), token 2 and 1.5. Second: macro 1, token 2, sft 3.
    assert entries["macro_ppo:fixed(n=5)"].standings["first"].rank == 1.25
    assert entries["macro_ppo:fixed(n=5)"].mean_rank.estimate == (1.25 + 1) / 2
    assert entries["token_ppo"].mean_rank.estimate == (1.75 + 2) / 2
    assert entries["sft"].mean_rank.estimate == 3
    assert [*entries] == ["macro_ppo:fixed(n=5)", "token_ppo", "sft"]


def test_the_chance_to_be_better_counts_pairs_of_seeds_and_averages_tasks(results):
    entries = {entry.label: entry for entry in leaderboard([results]).entries}
    # First: 3 > 1, 3 > 2, 2 > 1, 2 = 2: 3.5 of 4. Second: 4 of 4.
    assert entries["macro_ppo:fixed(n=5)"].improvement.estimate == (3.5 / 4 + 1) / 2
    assert entries["sft"].improvement.estimate == 0
    assert entries["token_ppo"].improvement is None


def test_less_is_better_where_the_records_say_so(tmp_path, write_cells, make_cell):
    cells = [
        make_cell(arm, 0, {SCORE: [0.0, 0.0], "errors": [value, value]}, higher_is_better={"errors": False})
        for arm, value in (("token_ppo", 2.0), (MACRO, 1.0))
    ]
    write_cells(tmp_path / "run", cells)
    found = leaderboard([tmp_path], metric="errors")
    assert [entry.label for entry in found.entries] == ["macro_ppo:fixed(n=5)", "token_ppo"]
    assert found.entries[0].improvement.estimate == 1


def test_a_task_without_the_arm_leaves_a_gap_and_is_no_part_of_its_rank(results):
    table = leaderboard_table(leaderboard([results]))
    row = next(row for row in table.rows if row[0] == "sft")
    assert row[table.columns.index("first: reward-model score")] == "–"
    assert row[table.columns.index("Mean rank")] == "3.00 ± 0.00"


def test_runs_that_stand_on_other_models_are_refused_unless_forced(results, write_cells, make_cell):
    write_cells(
        results / "other",
        [make_cell("sft", 0, {SCORE: [5.0, 5.0]}, task=task("first"), digests={"data": "d" * 64, "sft": "another"})],
    )
    with pytest.raises(RecordError, match="task first: other SFT models stand side by side"):
        leaderboard([results])
    forced = leaderboard([results], force=True)
    assert any("other SFT models" in warning for warning in forced.warnings)
    assert "Warning: task first" in leaderboard_markdown(forced)


def test_one_cell_in_two_runs_with_other_scores_is_refused(results, write_cells, make_cell):
    write_cells(results / "again", [make_cell("token_ppo", 0, {SCORE: [9.0, 9.0]}, task=task("first"))])
    with pytest.raises(
        RecordError, match=rf"arm token_ppo, seed 0 of task first stands in .*again too, with another {SCORE}"
    ):
        leaderboard([results])


def test_an_unknown_arm_or_metric_names_the_nearest(results):
    with pytest.raises(UnknownNameError, match="Did you mean 'token_ppo'"):
        leaderboard([results], against="token_pp")
    with pytest.raises(UnknownNameError, match="unknown metric 'orcle'"):
        leaderboard([results], metric="orcle")


def test_a_metric_without_a_better_end_has_no_ranks(tmp_path, write_cells, make_cell):
    write_cells(tmp_path / "run", [make_cell("token_ppo", 0, {SCORE: [0.0], "words": [3.0]})])
    with pytest.raises(RecordError, match="neither end"):
        leaderboard([tmp_path], metric="words")


def test_the_verb_prints_and_writes_both_files(results, tmp_path):
    page, text = tmp_path / "board.html", tmp_path / "board.md"
    found = CliRunner().invoke(app, ["leaderboard", str(results), "--out", str(page), "--out", str(text)])
    assert found.exit_code == 0, found.output
    assert "arm: macro_ppo:fixed(n=5)" in found.output
    assert page.read_text(encoding="utf-8") == leaderboard_page(leaderboard([results]))
    assert "<script" not in page.read_text(encoding="utf-8")
    assert text.read_text(encoding="utf-8").startswith("# Leaderboard\n\n| Arm |")
