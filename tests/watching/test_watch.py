"""`marl-bench watch`: what it says of runs in every state, from files alone."""

import json
import os
import subprocess
import sys
import time

import pytest
import yaml
from filelock import FileLock
from typer.testing import CliRunner

from marl_bench.cli.main import app
from marl_bench.config import PpoConfig, RunConfig
from marl_bench.errors import RecordError, UnknownNameError
from marl_bench.records import RunRecord
from marl_bench.run_dir import RunDir
from marl_bench.watching.locks import anyone_works
from marl_bench.watching.state import read_state, whole_lines
from marl_bench.watching.view import as_text, blocks, headline, mean_curve, seconds_left


@pytest.fixture
def run(tmp_path):
    """An experiment of three arms and two seeds with nothing but its configuration."""
    root = tmp_path / "tldr-tiny-0"
    root.mkdir()
    config = RunConfig(arms=["sft", "token_ppo", "macro_ppo"], seeds=2, ppo=PpoConfig(updates=4, batch_size=8))
    (root / "config.yaml").write_text(yaml.safe_dump({"config_hash": "0", **config.model_dump(mode="json")}))
    return root


def add_cell(root, arm, seed, status="running", scores=(), *, trained=True, options=None, error=None, counts=None):
    folder = root / "cells" / f"{arm}-seed{seed}"
    folder.mkdir(parents=True)
    record = RunRecord(
        experiment=root.name,
        status=status,
        task={"id": "tldr"},
        arm={"name": arm, "label": arm, "trained": trained, "options": options or {}},
        seed=seed,
        config_hash="0",
        digests={},
        shared={"data": {"counts": counts or {}}},
        error=error,
    )
    (folder / "record.json").write_text(json.dumps(record.to_json()))
    lines = [{"update": number, "score": score, "kl": 0.1} for number, score in enumerate(scores, start=1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    timings = [
        {"update": number, "rollout_seconds": 2.0, "update_seconds": 1.0} for number in range(1, len(scores) + 1)
    ]
    (folder / "timings.jsonl").write_text("".join(json.dumps(line) + "\n" for line in timings))
    return folder


def test_the_view_of_a_running_job_reads_like_this(run):
    for stage, finished in (("sft", True), ("reward_model", True)):
        (run / "shared" / stage).mkdir(parents=True)
        (run / "shared" / stage / "stage.json").write_text("{}" if finished else "")
    add_cell(run, "sft", 0, "complete", trained=False)
    add_cell(run, "token_ppo", 0, "complete", [0.0, 0.4, 0.65, 0.8])
    add_cell(run, "token_ppo", 1, "running", [0.0, 0.2])
    add_cell(run, "macro_ppo", 0, "failed", [0.5], error="TrainingError: the loss is not finite")
    with FileLock(run / ".lock"):
        text = as_text(read_state(run), ["score"])
    # Left: 2 updates of 3 s of the running cell, and two cells that have not begun with 4 updates of 3 s each.
    assert text.splitlines() == [
        "Run | tldr-tiny-0 | task tldr | at work | shared stages: sft finished, reward_model finished | "
        "6 cells: 2 complete, 1 running, 1 failed, 2 not begun | about 30 s left",
        "Cells | arm: macro_ppo | seed: 0 | status: failed: TrainingError: the loss is not finite | update: 1/4 | "
        "an update: 3.000 s | left: –",
        "Cells | arm: sft | seed: 0 | status: complete | update: – | an update: – | left: –",
        "Cells | arm: token_ppo | seed: 0 | status: complete | update: 4/4 | an update: 3.000 s | left: –",
        "Cells | arm: token_ppo | seed: 1 | status: running | update: 2/4 | an update: 3.000 s | left: 6 s",
        "Score, 0.000 to 0.800 | arm: macro_ppo | curve: ▆ | first: 0.500 | latest: 0.500 | at update: 1 | seeds: 1",
        # Means over the seeds that have got there: 0, (0.4 + 0.2) / 2, 0.65, 0.8; of eight blocks the 1st, 4th, 7th and 8th.
        "Score, 0.000 to 0.800 | arm: token_ppo | curve: ▁▄▇█ | first: 0.000 | latest: 0.800 | at update: 4 | seeds: 1",
    ]


def test_a_run_without_cells_says_what_is_to_come(run):
    state = read_state(run)
    assert headline(state) == (
        "tldr-tiny-0 | task tldr | nobody at work | shared stages: sft not finished | 6 cells: 6 not begun"
    )
    assert seconds_left(state) is None
    (run / "shared" / "sft" / "checkpoints" / "step-000040").mkdir(parents=True)
    assert "shared stages: sft step-000040" in headline(read_state(run))


def test_who_works_is_read_without_taking_the_lock(run):
    run_dir = RunDir(run)
    assert anyone_works(run_dir) is False
    with FileLock(run / ".lock"):
        assert anyone_works(run_dir) is True
    assert anyone_works(run_dir) is False
    assert anyone_works(run_dir, listing=run / "no such listing") is None
    inode = (run / ".lock").stat().st_ino
    waits = run / "locks"
    waits.write_text(f"1: -> FLOCK ADVISORY WRITE 1 fd:01:{inode} 0 EOF\n")
    assert anyone_works(run_dir, listing=waits) is False


def test_a_cell_that_nobody_works_on_is_stale(run, monkeypatch):
    folder = add_cell(run, "token_ppo", 0, "running", [0.1])
    assert "status: stale: nobody works on it, silent for 0 s" in as_text(read_state(run), ["score"])
    # Where locks cannot be seen, silence decides: two minutes, or ten updates.
    monkeypatch.setattr("marl_bench.watching.state.anyone_works", lambda _: None)
    assert read_state(run).cells[0].status == "running"
    for path in folder.iterdir():
        os.utime(path, (time.time() - 500, time.time() - 500))
    assert read_state(run).cells[0].status == "stale"
    assert "cannot tell who is at work" in headline(read_state(run))


def test_half_written_lines_are_left_out(run):
    folder = add_cell(run, "token_ppo", 0, "running", [0.1, 0.2])
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"update": 3, "score": 0.')
    assert len(whole_lines(folder / "metrics.jsonl")) == 2
    assert read_state(run).cells[0].done == 2
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('3}\n{"update": 3, "score": 0.9}\n')  # an update that a resume made again stands once
    cell = read_state(run).cells[0]
    assert mean_curve([cell], "score") == {1: 0.1, 2: 0.2, 3: 0.9}


def test_a_damaged_record_is_told_and_the_others_are_shown(run):
    add_cell(run, "token_ppo", 0, "complete", [0.1])
    (add_cell(run, "token_ppo", 1, "complete", [0.1]) / "record.json").write_text("{")
    text = as_text(read_state(run), ["score"])
    assert "Warning | " in text
    assert "record.json: damaged" in text
    assert "arm: token_ppo | seed: 0 | status: complete" in text


def test_updates_come_from_options_and_from_the_prompts_there_are(run):
    add_cell(run, "token_ppo", 0, options={"updates": 9})
    add_cell(run, "macro_ppo", 0, options={"updates": None, "batch_size": 16}, counts={"rl": 40})
    assert [cell.updates for cell in read_state(run).cells] == [2, 9]


def test_a_finished_cell_of_another_trainer_has_no_curve_and_no_count(run):
    add_cell(run, "grpo", 0, "complete")
    assert "arm: grpo | seed: 0 | status: complete | update: –" in as_text(read_state(run), [])


def test_a_curve_is_as_wide_as_it_may_be():
    assert blocks([], low=0.0, high=1.0) == ""
    assert blocks([0.3, 0.3], low=0.3, high=0.3) == "▅▅"
    assert blocks([0.0] * 200 + [1.0] * 200, low=0.0, high=1.0) == "▁" * 20 + "█" * 20


def test_the_command_line_prints_once_for_pipes(run):
    add_cell(run, "token_ppo", 0, "complete", [0.1, 0.3])
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    result = CliRunner().invoke(app, ["watch", str(run), "--metric", "score, kl", "--once"])
    assert result.exit_code == 0
    assert "KL, 0.100 to 0.100 | arm: token_ppo | curve: ▅▅" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_what_is_no_run_gets_one_clear_error(run, tmp_path):
    with pytest.raises(RecordError, match=r"no experiment there \(config.yaml is missing\)"):
        read_state(tmp_path)
    with pytest.raises(RecordError, match=r"config.yaml: no experiment there"):
        read_state(run / "config.yaml")
    add_cell(run, "token_ppo", 0, "complete", [0.1])
    with pytest.raises(UnknownNameError, match=r"unknown metric of the curves 'scor'. Did you mean 'score'"):
        as_text(read_state(run), ["scor"])
    (run / "config.yaml").write_text("task: 3\n")
    with pytest.raises(RecordError, match=r"no configuration that this version can read \(1 problems, the first: task"):
        read_state(run)


def test_watch_loads_neither_torch_nor_plots(run):
    add_cell(run, "token_ppo", 0, "complete", [0.1, 0.3])
    code = "import sys; from marl_bench.cli.main import app; app(['watch', sys.argv[1]], standalone_mode=False); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=True)
    assert "6 cells: 1 complete, 5 not begun" in result.stdout
    assert not {"torch", "transformers", "pandas", "matplotlib"} & set(result.stdout.splitlines()[-1].split())


def test_q_leaves_the_live_view(run):
    pty = pytest.importorskip("pty")
    add_cell(run, "token_ppo", 0, "running", [0.1, 0.3])
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "marl_bench", "watch", str(run), "--every", "60"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "140"},
    )
    os.close(theirs)
    shown = b""
    while b"KL, 0.100" not in shown:
        shown += os.read(ours, 4096)
    os.write(ours, b"q")
    assert process.wait(timeout=30) == 0
    os.close(ours)
