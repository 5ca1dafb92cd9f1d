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

from marl_bench.models.loading import load_policy, load_reward_model
from marl_bench.world import ALONE

SCRIPT = Path(__file__).parent / "together_script.py"
LEARNING_RATES = {"policy": 2e-5, "critic": 1e-3}
"""Adam moves a weight by about so much in each of the 12 steps."""


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
        close(line, other)


def test_two_processes_leave_the_weights_of_one(outcomes):
    *_, (one, two) = outcomes
    for model, learning_rate in LEARNING_RATES.items():
        worst = max(float((one[model][name] - two[model][name]).abs().max()) for name in one[model])
        assert worst < 0.1 * learning_rate


def test_two_processes_sample_the_responses_of_one(outcomes):
    one, two, _, _ = outcomes
    assert [sample["response"] for sample in one["samples"]] == [sample["response"] for sample in two["samples"]]
    for sample, other in zip(one["samples"], two["samples"], strict=True):
        assert other["metrics"] == pytest.approx(sample["metrics"], abs=1e-3)


def close(line, other):
    """Checks two lines of a curve, as above."""
    exact = {key for key, value in line.items() if not isinstance(value, float)} | {"score", "learning_rate"}
    assert {key: other[key] for key in exact} == {key: line[key] for key in exact}
    # What is 0 but for rounding, the KL of the first update for example, has no relative error.
    rest = line.keys() - exact
    assert {key: other[key] for key in rest} == pytest.approx({key: line[key] for key in rest}, rel=1e-4, abs=1e-5)


def test_models_divided_between_two_processes_stopped_and_gone_on_make_the_updates_and_samples_of_one(outcomes):
    one, first, second, _ = outcomes
    assert first["sharded"]["stopped"] == ["Interrupted", "stopped; the same command again goes on from here."]
    assert first["sharded"]["curve"] == second["sharded"]["curve"]
    for line, other in zip(one["curve"], first["sharded"]["curve"], strict=True):
        close(line, other)
    samples, others = one["samples"], first["sharded"]["samples"]
    assert [sample["response"] for sample in samples] == [sample["response"] for sample in others]


def test_each_process_holds_half_of_every_divided_model(outcomes):
    for found in outcomes[1:3]:
        for share in found["sharded"]["held"].values():
            assert share == pytest.approx(0.5, abs=0.001)  # the critic's head has one row, which is on the first


def test_divided_models_are_saved_whole(outcomes, tmp_path_factory):
    *_, (one, _) = outcomes
    folder = tmp_path_factory.getbasetemp() / "two0" / "sharded"
    policy = load_policy(str(folder / "policy"), dtype="float32").state_dict()
    critic = load_reward_model(str(folder / "critic"), dtype="float32", pad_token_id=0).state_dict()
    critic = {f"classifier.{name}": weight for name, weight in critic.items()}
    assert json.loads((folder / "policy" / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
    for model, found in (("policy", policy), ("critic", critic)):
        assert found.keys() == one[model].keys()
        worst = max(float((found[name] - one[model][name]).abs().max()) for name in found)
        assert worst < 0.1 * LEARNING_RATES[model]
    best = load_policy(str(folder / "best_policy"), dtype="float32").state_dict()
    assert best.keys() == policy.keys()


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
