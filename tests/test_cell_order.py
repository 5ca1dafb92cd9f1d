"""What a cell leaves does not depend on what ran before in its process; nor on whether its last checkpoint is all there was of it."""

import dataclasses
import json
import shutil

import pytest
import torch

from marl_bench.cell import Worker
from marl_bench.config import CheckpointConfig
from marl_bench.config_layers import resolve
from marl_bench.models.loading import load_policy
from marl_bench.planning import make_plan
from marl_bench.plugins import Registry
from marl_bench.run_dir import CHECKPOINTS, STAGE, RunDir, read_config
from marl_bench.training.progress import NoProgress


def content(cell):
    found = {path.relative_to(cell).as_posix(): path.read_bytes() for path in sorted(cell.rglob("*")) if path.is_file()}
    del found["timings.jsonl"]
    record = json.loads(found["record.json"])
    del record["costs"], record["experiment"]
    return {**found, "record.json": record}


@pytest.fixture
def worker(finished_run, tmp_path):
    """A new worker on a copy of a finished experiment whose cells are gone."""
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder, ignore=shutil.ignore_patterns("cells"))
    settings = read_config(RunDir(folder))
    del settings["config_hash"]
    resolved = resolve(preset="tiny", layers=[("the experiment", settings)])
    return Worker(make_plan(resolved, Registry(), out=folder, jobs=1, threads=1))


def test_cells_are_the_same_in_any_order(finished_run, worker):
    for arm, seed in reversed(worker.plan.cells()):
        worker.run_cell(arm, seed, NoProgress())
    for arm, seed in worker.plan.cells():
        assert content(worker.plan.run_dir.cell(arm.name, seed)) == content(RunDir(finished_run).cell(arm.name, seed))


def test_an_evaluation_that_was_cut_off_is_all_that_is_done_again(finished_run, worker, monkeypatch):
    arm, seed = worker.plan.cells()[-1]
    cell = worker.plan.run_dir.cell(arm.name, seed)
    with monkeypatch.context() as patch:
        patch.setattr("marl_bench.cell.evaluate_policy", cut_off)
        with pytest.raises(KeyboardInterrupt):
            worker.run_cell(arm, seed, NoProgress())
    assert json.loads((cell / "record.json").read_text())["status"] == "running"
    (cell / ".samples.jsonl.abc").write_text("half")
    with monkeypatch.context() as patch:
        patch.setattr("marl_bench.training.ppo.roll_out", cut_off)
        worker.run_cell(arm, seed, NoProgress())
    assert content(cell) == content(RunDir(finished_run).cell(arm.name, seed))
    assert json.loads((cell / "record.json").read_text())["costs"]["resumed"] == [
        "goes on from checkpoint update-000001."
    ]


def test_the_best_policy_is_left_beside_the_last(finished_run, worker):
    arm, seed = worker.plan.cells()[0]
    checkpoints = CheckpointConfig(keep_best=True)
    worker.plan = dataclasses.replace(
        worker.plan, config=worker.plan.config.model_copy(update={"checkpoints": checkpoints})
    )
    worker.run_cell(arm, seed, NoProgress())
    cell = worker.plan.run_dir.cell(arm.name, seed)
    # The only rollout was the SFT model's, so that is the best policy there was.
    best, sft = (
        load_policy(str(folder), dtype="float32").state_dict()
        for folder in (cell / "best_policy", worker.plan.run_dir.shared("sft"))
    )
    assert all(torch.equal(best[name], weight) for name, weight in sft.items())
    score = json.loads((cell / "metrics.jsonl").read_text())["score"]
    assert json.loads((cell / "best_policy" / "best.json").read_text())["training_score"] == score
    shutil.rmtree(cell / "best_policy")
    assert content(cell) == content(RunDir(finished_run).cell(arm.name, seed))


@pytest.mark.parametrize("stage", ["sft", "reward_model"])
def test_a_stage_that_was_cut_off_after_its_training_is_the_same(finished_run, worker, monkeypatch, stage):
    shared = worker.plan.run_dir.shared(stage)
    shutil.rmtree(shared)
    with monkeypatch.context() as patch:
        patch.setattr("marl_bench.training.shared_stages.folder_written_atomically", cut_off)
        with pytest.raises(KeyboardInterrupt):
            worker.run_shared(NoProgress())
    with monkeypatch.context() as patch:
        patch.setattr("marl_bench.training.supervised.scratch", cut_off)  # a training would need one
        worker.run_shared(NoProgress())
    found, whole = (json.loads((folder / STAGE).read_text()) for folder in (shared, RunDir(finished_run).shared(stage)))
    del found["seconds"], whole["seconds"]
    assert found == whole
    assert not worker.plan.run_dir.shared(CHECKPOINTS).exists()


def cut_off(*_, **__):
    raise KeyboardInterrupt
