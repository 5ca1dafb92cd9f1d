"""The command line: what it prints, and one clear error with its exit status for each kind of bad input."""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def cli(tmp_path):
    """Runs the command line in an empty folder."""

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "marl_bench", *arguments],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_help_and_lists_name_what_there_is(cli):
    assert "marl-bench run --task tldr" in cli("--help").stdout
    assert "--with-controls" in cli("run", "--help").stdout
    assert "tldr\tmarl-bench" in cli("list", "tasks").stdout
    assert {"sft", "token_ppo", "macro_ppo", "token_ppo_matched_lambda"} <= {
        line.split("\t")[0] for line in cli("list", "baselines").stdout.splitlines()
    }
    presets = [line.split("\t")[0] for line in cli("list", "presets").stdout.splitlines()]
    assert {"tiny", "paper-gemma-2b", "paper-codegemma-7b"} <= set(presets)
    assert cli("--version").stdout.startswith("marl-bench 0")


def test_the_help_of_run_says_what_happens_without_an_option(cli):
    text = " ".join(cli("run", "--help").stdout.split())
    for option in (
        "Number of seeds. [default: the preset's]",
        "hub's schema. [default: embedded]",
        "folder. [default: tiny]",
    ):
        assert option in text


def test_help_and_lists_import_nothing_heavy(cli):
    for arguments in (
        ["--help"],
        ["list", "tasks"],
        ["list", "baselines"],
        ["list", "presets"],
        ["list", "grids"],
        ["rule", "--help"],
        ["bench", "--help"],
        ["diagnose", "--help"],
        ["compare", "--help"],
        ["reference", "--help"],
        ["history", "--help"],
        ["watch", "--help"],
        ["execute", "--help"],
        ["doctor", "--help"],
    ):
        result = cli(*arguments, PYTHONPROFILEIMPORTTIME="1")
        assert result.returncode == 0
        imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in result.stderr.splitlines() if "|" in line}
        assert "marl_bench" in imported
        assert not imported & {"torch", "transformers", "datasets", "trl", "evaluate", "pandas", "matplotlib", "scipy"}


def test_a_dry_run_shows_values_with_their_origin_and_leaves_nothing_behind(cli, tmp_path):
    result = cli("run", "--dry-run", "--seeds", "3", "--set", "ppo.kl_coef=0.5")
    assert result.returncode == 0, result.stderr
    assert "ppo.kl_coef = 0.5  (--set)" in result.stdout
    assert "seeds = 3  (--seeds)" in result.stdout
    assert "ppo.updates = 12  (preset tiny)" in result.stdout
    assert "Cells: 12, of which 0 are complete" in result.stdout
    assert "Estimate" in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--task", "tlrd"], "unknown task 'tlrd'. Did you mean 'tldr'"),
        (["run", "--arm", "macro_pop"], "unknown baseline 'macro_pop'. Did you mean 'macro_ppo'"),
        (["run", "--preset", "tinny"], "unknown preset 'tinny'. Did you mean 'tiny'"),
        (["run", "--set", "ppo.kl_coeff=1"], "Did you mean 'ppo.kl_coef'"),
        (["run", "--set", "ppo.kl_coef=high"], "ppo.kl_coef (--set): Input should be a valid number"),
        (["run", "--seeds", "0"], "seeds (--seeds)"),
        (["run", "--data", "nowhere"], "--data 'nowhere': is neither embedded nor hub nor a folder that exists"),
        (["run", "--model", "./nowhere"], "--model './nowhere': no from_pretrained folder there"),
        (["run", "--sft-model", "nowhere"], "--sft-model 'nowhere': no from_pretrained folder there"),
        (["run", "--reward-model", "nowhere"], "--reward-model 'nowhere': no from_pretrained folder there"),
        (["run", "--config", "none.yaml"], "--config none.yaml: cannot be read"),
        (["run", "--plugin", "none.py"], "--plugin none.py: should be a .py file or a folder"),
        (["run", "--out", "/proc/nowhere"], "cannot write there"),
        (["run", "--out", "/proc/nowhere/further"], "cannot write there"),
        (["run", "--out", "/etc/passwd"], "is a file"),
        (["run", "--set", "ppo.learning_rate=.inf"], "ppo.learning_rate (--set): Input should be a finite number"),
        (["run", "--set", "ppo=3"], "'ppo' (--set): is a section"),
        (["report", "nowhere"], "no experiment there"),
        (["report", ".", "--format", "md,htlm"], "unknown report format 'htlm'. Did you mean 'html'"),
        (["list", "taks"], "unknown kind 'taks'. Did you mean 'tasks'"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(cli, tmp_path, arguments, message):
    result = cli(*arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.startswith("marl-bench: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_causal_model_is_no_reward_model(cli):
    from marl_bench.models.loading import model_folder

    result = cli("run", "--reward-model", model_folder("tiny"))
    assert result.returncode == 2
    assert "is a LlamaForCausalLM; a reward model is a sequence classifier" in result.stderr


def test_debug_shows_the_traceback(cli):
    assert "Traceback" in cli("run", "--task", "tlrd", "--debug").stderr


def test_an_empty_data_folder_is_refused_before_work(cli, tmp_path):
    (tmp_path / "empty").mkdir()
    result = cli("run", "--data", "empty")
    assert (result.returncode, result.stderr) == (2, "marl-bench: --data 'empty': the folder is empty.\n")
