"""Two processes train as one does with the same batch, and none of them hangs when the other fails, drifts or is killed."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from marl_bench.world import ALONE

SCRIPT = Path(__file__).parent / "together_script.py"


def start(folder, *, rank, port):
    launch = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder)],
        env={**os.environ, **{name: str(value) for name, value in launch.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What one process has found, what each of two, and the weights of both trainings."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    processes = [start(two, rank=rank, port=port) for rank in (0, 1)]
    output = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, -signal.SIGKILL], output
    spec = importlib.util.spec_from_file_location("together_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    found = [json.loads((two / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    return script.results(ALONE, one), *found, [torch.load(folder / "weights.pt") for folder in (one, two)]


def test_the_rows_are_of_unequal_length_and_not_all_of_them_are_scored(outcomes):
    one, *_ = outcomes
    assert len({sample["token_count"] for sample in one["samples"]}) > 3
    assert [line["unscored"] for line in one["curve"]] == [0, 1]


def test_both_processes_know_the_same(outcomes):
    _, first, second, _ = outcomes
    assert first["curve"] == second["curve"]
    assert first["samples"] == second["samples"]


def test_two_processes_make_the_updates_of_one(outcomes):
    one, two, _, _ = outcomes
    for line, other in zip(one["curve"], two["curve"], strict=True):
        exact = {key for key, value in line.items() if not isinstance(value, float)} | {"score", "learning_rate"}
        assert {key: other[key] for key in exact} == {key: line[key] for key in exact}
        # What is 0 but for rounding, the KL of the first update for example, has no relative error.
        rest = line.keys() - exact
        assert {key: other[key] for key in rest} == pytest.approx({key: line[key] for key in rest}, rel=1e-4, abs=1e-5)


def test_two_processes_leave_the_weights_of_one(outcomes):
    *_, (one, two) = outcomes
    start = {"policy": 2e-5, "critic": 1e-3}  # Adam moves a weight by about the learning rate in each of the 12 steps
    for model, learning_rate in start.items():
        worst = max(float((one[model][name] - two[model][name]).abs().max()) for name in one[model])
        assert worst < 0.1 * learning_rate


def test_two_processes_sample_the_responses_of_one(outcomes):
    one, two, _, _ = outcomes
    assert [sample["response"] for sample in one["samples"]] == [sample["response"] for sample in two["samples"]]
    for sample, other in zip(one["samples"], two["samples"], strict=True):
        assert other["metrics"] == pytest.approx(sample["metrics"], abs=1e-3)


def test_a_reward_that_fails_on_one_process_ends_both_and_is_told_once(outcomes):
    _, first, second, _ = outcomes
    text = (
        "reward 'task': ValueError: this process cannot score; it must return one number, or None, for each response."
    )
    assert second["failing"] == ["TrainingError", text]
    assert first["failing"] == ["ElsewhereError", text]


def test_weights_that_come_apart_stop_both(outcomes):
    _, first, second, _ = outcomes
    for found in (first, second):
        kind, text = found["drifting"]
        assert kind == "TrainingError"
        assert "update 1: the weights of process 2 of 2 are not those of process 1 any more" in text


def test_a_process_whose_neighbour_is_killed_says_so(outcomes):
    _, first, _, _ = outcomes
    kind, text = first["lost"]
    assert kind == "ProcessLostError"
    assert "another process of this run has ended without a word" in text
