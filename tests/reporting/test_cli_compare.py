"""compare, reference and history at the command line: what they print, write and exit with."""

import json
import os
import subprocess
import sys

import pytest

from marl_bench.cli import main

SCORE = "reward_model_score"
BASE = [float(place) for place in range(8)]
WORSE = [value - 1 + (0.01 if place % 2 else -0.01) for place, value in enumerate(BASE)]
SPREAD = [value + (1.0 if place % 2 else -1.0) for place, value in enumerate(BASE)]


@pytest.fixture
def runs(tmp_path, write_cells, make_cell):
    for name, values in (("old", BASE), ("worse", WORSE), ("spread", SPREAD)):
        write_cells(tmp_path / name, [make_cell("token_ppo", 0, {SCORE: values, "kl": values})])
    return tmp_path


@pytest.fixture
def cli(runs, monkeypatch, capsys):
    """Runs the command line beside the runs; returns its exit status, output and errors."""
    monkeypatch.chdir(runs)

    def run(*arguments):
        status = 0
        try:
            main(arguments)
        except SystemExit as error:
            status = error.code or 0
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def test_tables_readings_and_notes_stand_a_line_each_in_pipes(cli):
    status, out, _ = cli("compare", "old", "worse")
    assert status == 0
    assert "Reading | worse:token_ppo against old:token_ppo, reward-model score: worse on these prompts" in out
    assert {line.split(" | ")[0] for line in out.splitlines()} == {
        "Paired differences",
        "Tests over prompts",
        "What this size can show",
        "Reading",
        "Note",
    }


def test_a_regression_exits_with_1_after_the_tables(cli):
    status, out, err = cli("compare", "old", "worse", "--fail-on-regression", f"{SCORE}:0.5")
    assert status == 1
    assert "Margin | worse:token_ppo against old:token_ppo" in out
    assert "1 of 1 margins not kept: worse:token_ppo, reward_model_score: regressed" in err
    assert cli("compare", "old", "worse", "--fail-on-regression", f"{SCORE}:1.5")[0] == 0


def test_inconclusive_exits_with_0_and_says_so_and_with_1_if_strict(cli):
    gate = ("compare", "old", "spread", "--fail-on-regression", f"{SCORE}:0.5")
    status, out, _ = cli(*gate)
    assert (status, "inconclusive: not shown to be within the margin" in out) == (0, True)
    assert cli(*gate, "--strict")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("compare", "old", "nothing"), "'nothing': no experiment and no reference there"),
        (("compare", "old"), "nothing to compare it with"),
        (("compare", "old", "worse", "--fail-on-regression", "kl:0.1"), "neither end of this metric is better"),
        (("compare", "old", "worse", "--fail-on-regression", "oracle:0.1"), "no shared prompt has this metric"),
        (("compare", "old", "worse", "--fail-on-regression", "oracle"), "should be METRIC:MARGIN"),
        (("compare", "old", "worse", "--strict"), "nothing can be kept without a margin"),
        (("compare", "old", "worse", "--effect", "0"), "should be a difference other than 0"),
        (("compare", "old", "worse", "--metric", "orcale"), "unknown metric of both sides 'orcale'"),
        (("reference", "check", "old"), "has no reference of its name or configuration"),
        (("reference", "save", "old", "--name", "../x"), "should be the name of a folder"),
        (("history", "nothing"), "nothing: no such folder"),
        (("history", "old", "--plot", "h.pdf"), "should end in .png or .svg"),
    ],
)
def test_wrong_input_is_one_error_with_status_2(cli, arguments, text):
    status, _, err = cli(*arguments)
    assert status == 2
    assert text in err
    assert len(err.splitlines()) == 1


def test_json_is_all_that_is_printed(cli):
    _, out, _ = cli("compare", "old", "worse", "--json", "--fail-on-regression", f"{SCORE}:2")
    data = json.loads(out)
    assert data["contrasts"][0]["difference"] == pytest.approx(-1.0)
    assert data["margins"][0]["verdict"] == "within margin"


def test_files_are_the_same_bytes_every_time(cli, runs):
    for folder in ("one", "two"):
        cli("compare", "old", "worse", "--out", folder, "--fail-on-regression", f"{SCORE}:2")
    for name in ("compare.md", "compare.csv", "compare.json"):
        assert (runs / "one" / name).read_bytes() == (runs / "two" / name).read_bytes()
    assert "within margin" in (runs / "one" / "compare.md").read_text(encoding="utf-8")


def test_a_reference_is_saved_listed_checked_and_compared(cli):
    status, out, _ = cli("reference", "save", "old", "--name", "kept")
    assert (status, "results/reference/kept/reference.json.gz" in out) == (0, True)
    assert "reference: kept | keeps: scores by prompt" in cli("reference", "list")[1]
    status, out, _ = cli("reference", "check", "old", "--name", "kept", "--strict")
    assert (status, "Result | bit-equal: 2" in out) == (0, True)
    status, _, err = cli("reference", "check", "worse", "--name", "kept", "--margin", f"{SCORE}:0.5")
    assert (status, "token_ppo, reward_model_score: regressed" in err) == (1, True)
    assert cli("compare", "kept", "worse", "--fail-on-regression", f"{SCORE}:0.5")[0] == 1
    status, _, err = cli("reference", "save", "worse", "--name", "kept")
    assert (status, "--force" in err) == (2, True)


def test_a_history_is_printed_and_written(cli, runs):
    status, out, _ = cli("history", ".", "--csv", "h.csv")
    assert status == 0
    assert out.count("History | task: tldr") == 3
    assert len((runs / "h.csv").read_text(encoding="utf-8").splitlines()) == 4


def test_a_cut_sample_file_is_an_error_that_names_the_line(cli, runs):
    path = runs / "worse" / "cells" / "token_ppo-seed0" / "samples.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    status, _, err = cli("compare", "old", "worse")
    assert status == 2
    assert "samples.jsonl, line 8: not JSON" in err


def test_comparing_loads_no_torch(runs):
    result = subprocess.run(
        [sys.executable, "-m", "marl_bench", "compare", "old", "worse"],
        cwd=runs,
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in result.stderr.splitlines() if "|" in line}
    assert "numpy" in imported
    assert not imported & {"torch", "transformers", "datasets", "trl", "evaluate", "pandas", "matplotlib"}
