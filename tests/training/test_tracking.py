"""Trackers: every update once and by its number, whatever is killed, and none of them ends a training."""

import importlib.util
import json

import pytest

from marl_bench.errors import ConfigError, UnknownNameError
from marl_bench.records import RunRecord
from marl_bench.trackers import check_trackers
from marl_bench.training.progress import NoProgress
from marl_bench.training.tracking import tracked

CELL = "token_ppo-seed0"


class Fake:
    """Remembers what it was sent; fails where it is told to."""

    def __init__(self, fails_at=None):
        self.calls, self.fails_at, self.tracker = [], fails_at, self
        self.id = "run-1"

    def start(self):
        self._call("start")

    def store_init_configuration(self, values):
        self._call("configuration", values)

    def log(self, values, step=None):
        self._call("log", step, values)

    def finish(self):
        self._call("finish")

    def _call(self, name, *values):
        if self.fails_at in (name, (name, *values[:1])):
            raise OSError("the network is down")
        self.calls.append((name, *values))

    def steps(self):
        return [call[1] for call in self.calls if call[0] == "log"]


class Notes(NoProgress):
    def __init__(self):
        self.texts, self.stepped = [], []

    def note(self, text):
        self.texts.append(text)

    def step(self, stage, done, total, **figures):
        self.stepped.append((stage, done, total, figures))


def record(**changes):
    arm = {"name": "token_ppo", "label": "token_ppo", "rule_hash": changes.pop("rule_hash", None)}
    return RunRecord("run", "running", {}, arm, 0, "hash", {}, **changes)


def write_updates(root, count):
    folder = root / "cells" / CELL
    folder.mkdir(parents=True, exist_ok=True)
    numbers = range(1, count + 1)
    lines = [{"update": n, "score": n / 10, "kl": float("1e-3"), "histogram": {"1": 2}} for n in numbers]
    times = [{"update": n, "rollout_seconds": 2.0} for n in numbers]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "timings.jsonl").write_text("".join(json.dumps(line) + "\n" for line in times))


def run(root, tracker, *, updates, result=None, progress=None, first=1, cell=None, name="fake"):
    """Writes update after update as a training does, from `first` on, and tells of each."""
    made = []

    def make(name, folder, run_name, run_id):
        made.append((name, folder.relative_to(root).as_posix(), run_name, run_id))
        return tracker

    settings = {"ppo.kl_coef": 0.05, "ppo.updates": None, "arms": ["sft"]}
    with tracked([name], root, cell or record(), progress or NoProgress(), settings=settings, make=make) as told:
        for number in range(first, updates + 1):
            write_updates(root, number)
            told.step("ppo", number, updates, score=0.1)
        if result is not None:
            told.result(result)
    return made


def test_every_update_and_the_evaluation_are_sent_once(tmp_path):
    tracker, progress = Fake(), Notes()
    done = record(metrics={"oracle": 1.5}, budget={"updates": 2})
    made = run(tmp_path, tracker, updates=2, result=done, progress=progress)
    assert made == [("fake", "tracking/fake", f"{tmp_path.name}/{CELL}", None)]
    assert tracker.calls == [
        ("start",),
        (
            "configuration",
            {
                "arm": "token_ppo",
                "seed": 0,
                "config_hash": "hash",
                "ppo.kl_coef": 0.05,
                "ppo.updates": "null",
                "arms": '["sft"]',
            },
        ),
        ("log", 1, {"train/score": 0.1, "train/kl": 0.001, "time/rollout_seconds": 2.0}),
        ("log", 2, {"train/score": 0.2, "train/kl": 0.001, "time/rollout_seconds": 2.0}),
        ("log", 2, {"evaluation/oracle": 1.5}),
        ("finish",),
    ]
    assert progress.stepped == [("ppo", number, 2, {"score": 0.1}) for number in (1, 2)]
    assert progress.texts == []


def test_a_resume_goes_on_with_the_same_run_and_sends_nothing_twice(tmp_path):
    first = Fake()
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path, first)
    assert first.calls[-1] == ("finish",)
    # The checkpoint was of update 1: updates 2 and 3 are made again, and were sent before.
    second = Fake()
    made = run(tmp_path, second, updates=5, first=2)
    assert made[0][-1] == "run-1"
    assert (first.steps(), second.steps()) == ([1, 2, 3], [4, 5])
    assert "configuration" not in [call[0] for call in second.calls]
    # Another version of the arm's rule is another training.
    third = Fake()
    assert run(tmp_path, third, updates=2, cell=record(rule_hash="new"))[0][-1] is None
    assert third.steps() == [1, 2]


def interrupted(root, tracker):
    with tracked(["fake"], root, record(), NoProgress(), settings={}, make=lambda *_: tracker) as told:
        for number in (1, 2, 3):
            write_updates(root, number)
            told.step("ppo", number, 5)
        raise KeyboardInterrupt


def test_updates_from_before_there_was_a_tracker_are_sent_too(tmp_path):
    write_updates(tmp_path, 3)
    tracker = Fake()
    run(tmp_path, tracker, updates=4, first=4)
    assert tracker.steps() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("fails_at", "steps", "text"),
    [
        ("start", [], "tracker fake cannot be started (OSError: the network is down)"),
        (("log", 2), [1], "tracker fake has failed (OSError: the network is down)"),
        ("finish", [1, 2, 3], "tracker fake cannot be closed (OSError: the network is down)"),
    ],
)
def test_a_tracker_that_fails_is_left_out_and_told_once(tmp_path, fails_at, steps, text):
    tracker, progress = Fake(fails_at), Notes()
    run(tmp_path, tracker, updates=3, progress=progress, result=record(metrics={"oracle": 1.0}))
    assert [step for step in tracker.steps() if step] == steps
    assert progress.texts == [f"{text}; the training goes on without it."]
    assert len(progress.stepped) == 3


def test_figures_that_are_no_finite_numbers_stay_in_the_files(tmp_path):
    tracker = Fake()
    bad = record(metrics={"oracle": 1.0, "broken": float("nan"), "endless": float("inf")})
    run(tmp_path, tracker, updates=1, result=bad)
    assert tracker.calls[-2] == ("log", 0, {"evaluation/oracle": 1.0})


def test_what_cannot_track_is_refused_before_any_work(monkeypatch):
    with pytest.raises(UnknownNameError, match="unknown tracker 'tensorbord'"):
        check_trackers(["tensorbord"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"--track wandb: needs the package wandb: pip install wandb\."):
        check_trackers(["wandb"])
    assert check_trackers([]) == ()


def test_tensorboard_shows_each_update_once_over_two_processes(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first, last in ((1, 3), (2, 5)):
        done = record(metrics={"oracle": 1.5}, budget={"updates": 5}) if last == 5 else None
        with tracked(["tensorboard"], tmp_path, record(), NoProgress(), settings={"ppo.kl_coef": 0.05}) as told:
            for number in range(first, last + 1):
                write_updates(tmp_path, number)
                told.step("ppo", number, 5)
            if done:
                told.result(done)
    events = EventAccumulator(str(tmp_path / "tracking" / "tensorboard" / CELL)).Reload()
    scores = [(event.step, round(event.value, 6)) for event in events.Scalars("train/score")]
    assert scores == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4), (5, 0.5)]
    assert [(event.step, event.value) for event in events.Scalars("evaluation/oracle")] == [(5, 1.5)]
