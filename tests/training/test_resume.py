"""A PPO training that is cut off at any boundary and goes on ends bit for bit as one that was not."""

import dataclasses
import errno
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from marl_bench_baselines.macro_ppo import MacroPpo

from marl_bench.config import CheckpointConfig, LoraConfig, MemoryConfig, PpoConfig, SamplingConfig
from marl_bench.disk_space import full_disk_named
from marl_bench.errors import CheckpointError, DiskFullError, Interrupted
from marl_bench.macro.termination import EveryNTokens
from marl_bench.models.actors import load_actors
from marl_bench.models.adapters import NewAdapter
from marl_bench.models.loading import model_folder
from marl_bench.models.memory import with_memory
from marl_bench.run_dir import digest_of_json
from marl_bench.training.checkpoint import MANIFEST, Checkpoints
from marl_bench.training.ppo import train_ppo
from marl_bench.training.progress import NoProgress
from marl_bench.training.state import seed_everything

BOUNDARIES = 2 * (1 + 2 * 2 + 1)  # of 2 updates: the rollout, 2 epochs of 2 minibatches, the end
EACH = CheckpointConfig(every_seconds=0)
SHORT = SamplingConfig(max_response_tokens=6)


class Killed(BaseException):
    """What nothing in the training catches."""


@dataclasses.dataclass(frozen=True)
class NoisyTask:
    """Scores with noise from all global random states, as a careless plugin may."""

    inner: object
    metrics: tuple = ()

    def score(self, prompts, responses):
        scores = self.inner.score(prompts, responses)
        return [score + random.random() + np.random.random() + float(torch.rand(())) for score in scores]

    def oracle(self, prompts, responses):
        return None


@pytest.fixture
def settings(ppo):
    changed = {"minibatches": 2, "ppo_epochs": 2, "kl_controller": "adaptive", "kl_horizon": 20, "schedule": "linear"}
    return PpoConfig.model_validate({**ppo.model_dump(), **changed})


@pytest.fixture
def train(make_actors, make_run, letter_task, prompts, settings):
    """Trains under a name, going on from its checkpoints; dies after the given number of checkpoints."""

    def run(name, *, die_after=None, checkpoints=EACH, identity=None, progress=None, said=None, actors=None):
        base = dataclasses.replace(make_run(name), sampling=SHORT)
        lines = (base.folder / "metrics.jsonl", base.folder / "timings.jsonl")
        store = Checkpoints(
            base.folder / "checkpoints",
            identity or {"arm": "a"},
            checkpoints,
            lines=lines,
            say=[].append if said is None else said.append,
        )
        if die_after is not None:
            written, write = [], store.write

            def write_and_die(*arguments, **named):
                write(*arguments, **named)
                written.append(arguments[0])
                if len(written) == die_after:
                    raise Killed

            store.write = write_and_die
        actors = actors or make_actors()
        baseline = MacroPpo(EveryNTokens(3), settings)
        seed_everything(5)
        task, progress = NoisyTask(letter_task), progress or NoProgress()
        budget = train_ppo(dataclasses.replace(base, checkpoints=store), actors, task, baseline, prompts, progress)
        return final(base.folder, actors, budget)

    return run


def final(folder, actors, budget):
    weights = [*actors.policy.state_dict().items(), *actors.critic.state_dict().items()]
    return (
        budget,
        (folder / "metrics.jsonl").read_bytes(),
        {name: weight.float().numpy().tobytes() for name, weight in weights},
        (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()),
    )


@pytest.fixture(scope="module")
def once():
    """Remembers what is expensive and the same for all tests."""
    return {}


@pytest.fixture
def uninterrupted(once, make_actors, make_run, letter_task, prompts, settings):
    """Of a training without any checkpoints."""
    if "whole" in once:
        return once["whole"]
    run, actors = dataclasses.replace(make_run("whole"), sampling=SHORT), make_actors()
    baseline = MacroPpo(EveryNTokens(3), settings)
    seed_everything(5)
    budget = train_ppo(run, actors, NoisyTask(letter_task), baseline, prompts, NoProgress())
    once["whole"] = final(run.folder, actors, budget)
    return once["whole"]


def test_a_training_killed_at_every_boundary_in_turn_ends_as_one_that_was_not(train, uninterrupted):
    for _ in range(BOUNDARIES):
        with pytest.raises(Killed):
            train("killed", die_after=1)
    assert train("killed") == uninterrupted


def test_damaged_checkpoints_are_told_and_the_one_before_is_used(train, uninterrupted, make_run):
    with pytest.raises(Killed):
        train("damaged", die_after=8, checkpoints=CheckpointConfig(every_seconds=0, keep_last=3))
    first, second, third = sorted(
        path for path in (make_run("damaged").folder / "checkpoints").iterdir() if path.is_dir()
    )
    flip(third / "policy.pt")
    (second / MANIFEST).write_text((second / MANIFEST).read_text()[:100])
    said = []
    assert train("damaged", said=said) == uninterrupted
    assert f"{third.name}: damaged (policy.pt is not the one written). The one before is used." in said[0]
    assert f"{second.name}: damaged ({MANIFEST}: JSONDecodeError). The one before is used." in said[1]
    assert said[2] == f"goes on from checkpoint {first.name}."


def test_lines_that_a_checkpoint_counts_on_must_be_there(train, uninterrupted, make_run):
    with pytest.raises(Killed):
        train("lines", die_after=7)  # right after the first update's end, whose line is written
    curve = make_run("lines").folder / "metrics.jsonl"
    curve.write_bytes(curve.read_bytes()[:-10])
    said = []
    assert train("lines", said=said) == uninterrupted
    assert "metrics.jsonl beside it is shorter than, or not, what it was then" in said[0]


def test_what_was_appended_after_the_checkpoint_is_cut_off(train, uninterrupted, make_run):
    with pytest.raises(Killed):
        train("tail", die_after=3)
    for name in ("metrics.jsonl", "timings.jsonl"):
        (make_run("tail").folder / name).write_text('{"update": 1, "half a li')
    assert train("tail") == uninterrupted


def test_a_checkpoint_of_another_training_is_refused_with_both_named(train, make_run):
    with pytest.raises(Killed):
        train("other", die_after=1, identity={"configuration": "aaaa", "arm": "a"})
    with pytest.raises(CheckpointError, match="its configuration is aaaa, that of this one is bbbb; remove the folder"):
        train("other", identity={"configuration": "bbbb", "arm": "a"})
    manifest = make_run("other").folder / "checkpoints" / "update-000000-step-000000" / MANIFEST
    content = json.loads(manifest.read_text())
    del content["digest"]
    content["schema_version"] = 99
    manifest.write_text(json.dumps({**content, "digest": digest_of_json(content)}))
    with pytest.raises(CheckpointError, match="has version 99 of the format, this marl-bench reads 1"):
        train("other", identity={"configuration": "aaaa", "arm": "a"})


def adapters():
    tiny = Path(model_folder("tiny"))
    return load_actors(
        policy=NewAdapter(LoraConfig(rank=2), 1),
        sft=tiny,
        reward_model=None,
        dtype="float32",
        critic_scale=1.0,
        device=torch.device("cpu"),
    )


def masters():
    tiny, cpu = Path(model_folder("tiny")), torch.device("cpu")
    actors = load_actors(policy=tiny, sft=tiny, reward_model=None, dtype="bfloat16", critic_scale=1.0, device=cpu)
    return with_memory(actors, MemoryConfig(master_weights="float32", offload=True))


@pytest.mark.parametrize("make", [adapters, masters])
def test_adapters_and_float32_copies_of_weights_go_on_as_well(train, make):
    whole = train(f"{make.__name__}_whole", actors=make())
    for boundaries in (3, 4):  # within the first update, then in the second one
        with pytest.raises(Killed):
            train(make.__name__, die_after=boundaries, actors=make())
    assert train(make.__name__, actors=make()) == whole


def test_a_stop_writes_a_checkpoint_at_the_next_boundary(train, uninterrupted, make_run):
    class Stop(NoProgress):
        def stop_requested(self):
            return True

    seldom = CheckpointConfig(every_seconds=1e9)
    for _ in range(2):
        with pytest.raises(Interrupted, match="goes on from here"):
            train("stopped", checkpoints=seldom, progress=Stop())
    names = [path.name for path in (make_run("stopped").folder / "checkpoints").iterdir() if path.is_dir()]
    assert sorted(names) == ["update-000000-step-000000", "update-000000-step-000001"]
    assert train("stopped", checkpoints=seldom) == uninterrupted


def test_the_last_and_the_best_are_kept(train, make_run):
    keep = CheckpointConfig(every_seconds=0, keep_last=1, keep_best=True)
    train("kept", checkpoints=keep)
    folder = make_run("kept").folder
    curve = [json.loads(line)["score"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    # The score of an update is that of the policy that sampled for it: the one right after the rollout.
    best = f"update-{curve.index(max(curve)):06d}-step-000000"
    names = sorted(path.name for path in (folder / "checkpoints").iterdir() if path.is_dir())
    assert names == sorted({best, "update-000002"})
    assert json.loads((folder / "checkpoints" / best / MANIFEST).read_text())["score"] == max(curve)


def test_a_best_policy_that_is_damaged_is_told_and_never_kept(train, make_run):
    keep = CheckpointConfig(every_seconds=0, keep_last=1, keep_best=True)
    train("spoilt", checkpoints=keep)
    folder, said = make_run("spoilt").folder / "checkpoints", []
    best, _ = sorted(path for path in folder.iterdir() if path.is_dir())
    store = Checkpoints(folder, {"arm": "a"}, keep, say=said.append)
    assert store.best().folder == best and said == []
    flip(best / "policy.pt")
    assert store.best() is None
    assert said == [f"checkpoint {best}: damaged (policy.pt is not the one written). It cannot be kept as the best."]


def test_a_resumed_training_says_where_it_goes_on(train):
    class Seen(NoProgress):
        def __init__(self):
            self.steps = []

        def resumed(self, stage, done, total):
            self.steps.append(("resumed", stage, done, total))

        def step(self, stage, done, total, **figures):
            self.steps.append((stage, done, total))

    with pytest.raises(Killed):
        train("seen", die_after=7)
    seen = Seen()
    train("seen", progress=seen)
    assert seen.steps == [("resumed", "ppo", 1, 2), ("ppo", 2, 2)]


def test_a_full_disk_is_named_and_leaves_the_checkpoint_before(train, uninterrupted, make_run, monkeypatch):
    with pytest.raises(Killed):
        train("full", die_after=2)
    folder = make_run("full").folder

    def no_space(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        text = f"{folder}: the disk is full.*goes on from the last checkpoint"
        with pytest.raises(DiskFullError, match=text), full_disk_named(folder):
            train("full")
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        "notes.jsonl",
        "update-000000-step-000000",
        "update-000000-step-000001",
    ]
    assert train("full") == uninterrupted


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(ValueError, match="device"), full_disk_named(tmp_path):
        raise ValueError("no device left on space")
    # safetensors is not Python: its error has a text and no number.
    with pytest.raises(DiskFullError, match=str(tmp_path)), full_disk_named(tmp_path):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
