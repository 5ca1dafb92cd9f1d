"""`marl-bench diagnose` on a finished run."""

import csv
import dataclasses

import pytest

from marl_bench.cli.main import main
from marl_bench.diagnosis.diagnose import DiagnosisSize, diagnose, estimators
from marl_bench.diagnosis.report import quality_table, write_diagnosis
from marl_bench.errors import ConfigError, UnknownNameError
from marl_bench.finished_run import open_run
from marl_bench.run_dir import RunDir

RULES = ["token", "fixed(n=5)", "fixed(n=5)@value_pooling=first,gae_lambda=0", "sentence", "whole"]
SIZE = DiagnosisSize(prompts=3, continuations=2, macro_actions=3)


@pytest.fixture(scope="module")
def run(finished_run, registry):
    return open_run(finished_run, registry)


@pytest.fixture(scope="module")
def found(run):
    cell = run.cell(None)
    return diagnose(run, cell, estimators(run, cell, RULES), SIZE)


def test_without_a_macro_arm_one_with_a_critic_is_taken(run):
    cells = [cell for cell in run.cells if cell.record.arm["role"] != "macro"]
    token = next(cell for cell in cells if cell.record.arm["role"] == "token")
    untrained = dataclasses.replace(
        token, record=dataclasses.replace(token.record, arm={**token.record.arm, "name": "best_of_n"})
    )
    assert dataclasses.replace(run, cells=[untrained, token]).cell(None) is token


def test_every_rule_is_compared_on_its_own_macro_actions(found):
    rules = [quality.rule for quality in found.qualities]
    assert rules == RULES
    assert all(
        len(found.actions[rule]) == quality.macro_actions for rule, quality in zip(rules, found.qualities, strict=True)
    )
    assert {action.end - action.begin for action in found.actions["token"]} == {1}
    assert len(found.actions["whole"]) == 3
    assert found.cell == "macro_ppo-fixed_n5-seed0"
    assert "at the end of training" in found.critic


def test_options_change_the_estimate_and_not_the_truth(found):
    plain, changed = found.actions["fixed(n=5)"], found.actions[RULES[2]]
    assert [action.true for action in plain] == [action.true for action in changed]
    assert [action.estimated for action in plain] != [action.estimated for action in changed]


def test_the_same_seed_gives_the_same_diagnosis(run, found):
    cell = run.cell(None)
    assert diagnose(run, cell, estimators(run, cell, RULES), SIZE) == found


def test_table_numbers_and_plot_are_written(found, tmp_path):
    files = write_diagnosis(RunDir(tmp_path), found)
    assert files.markdown.read_text().count("| fixed(n=5) |") == 1
    assert found.critic in quality_table(found).note
    with files.csv.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["rule"] for row in rows] == RULES
    assert float(rows[0]["bias"]) == found.qualities[0].bias.estimate
    with files.macro_actions.open() as file:
        assert len(list(csv.DictReader(file))) == sum(map(len, found.actions.values()))
    assert files.plot.read_bytes().startswith(b"\x89PNG")
    first = files.plot.read_bytes()
    assert write_diagnosis(RunDir(tmp_path), found).plot.read_bytes() == first


def test_without_rules_the_usual_ones_and_the_cells_own_are_taken_once(run):
    labels = [arm.label for arm in estimators(run, run.cell("macro_ppo:fixed(n=5)"), [])]
    assert labels[:2] == ["macro_ppo:token", "macro_ppo:fixed(n=5)"]
    assert len(labels) == len(set(labels)) == 5


def test_wrong_options_are_clear_errors(run):
    cell = run.cell(None)
    with pytest.raises(ConfigError, match="kl_coef changes what is estimated"):
        estimators(run, cell, ["fixed@kl_coef=0"])
    with pytest.raises(UnknownNameError, match="Did you mean 'gae_lambda'"):
        estimators(run, cell, ["fixed@gae_lamda=0"])


def test_the_command_line_prints_the_table_and_writes_the_files(finished_run, capsys):
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "diagnose",
                str(finished_run),
                "--arm",
                "token_ppo",
                "--rule",
                "token",
                "--prompts",
                "2",
                "--continuations",
                "2",
                "--macro-actions",
                "2",
            ]
        )
    out = capsys.readouterr().out
    assert stop.value.code == 0
    assert "Advantages of token_ppo-seed0 against Monte-Carlo advantages | rule: token | macro actions: 4" in out
    assert (finished_run / "diagnose" / "token_ppo-seed0.md").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no experiment there"),
        (["RUN", "--arm", "x"], "unknown arm of"),
        (["RUN", "--rule", "fixxed"], "Did you mean 'fixed'"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(finished_run, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        main(["diagnose", *(str(finished_run) if argument == "RUN" else argument for argument in arguments)])
    err = capsys.readouterr().err
    assert stop.value.code == 2
    assert message in err and len(err.strip().splitlines()) == 1
