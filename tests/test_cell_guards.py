"""What a user sees of a training that goes wrong: the cell that fails, the others that go on, and the way to go on from there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from marl_bench.cell import Worker
from marl_bench.config_layers import resolve
from marl_bench.errors import TrainingError
from marl_bench.planning import make_plan
from marl_bench.run_dir import claim, read_cells, read_jsonl
from marl_bench.training.progress import NoProgress

TASK = """
from marl_bench.interfaces import TaskSpec
from marl_bench.records import Prompt, SftPair, TaskData

class Task:
    metrics = ()
    def load(self, source, *, seed):
        prompts = [Prompt(f"p{n}", f"Say {n}:") for n in range(8)]
        return TaskData([SftPair(p, " yes, that is so") for p in prompts], [], prompts, prompts)
    def score(self, prompts, responses):
        return [1.0 * r.token_count for r in responses]
    def oracle(self, prompts, responses):
        return None

TASK = TaskSpec("count", "1", "longer is better", build=lambda options: Task(), reward_kind="rule", primary_metric="reward")
"""
SMALL = {
    "sft.max_steps": 2,
    "sft.batch_size": 4,
    "ppo.updates": 2,
    "ppo.batch_size": 4,
    "sampling.max_response_tokens": 16,
    "guards.exploding_kl": "stop",
    "guards.max_kl": 30.0,
    "guards.all_truncated": "off",
    "checkpoints.every_seconds": 0.0,
}


class Heard(NoProgress):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def make_worker(tmp_path):
    from marl_bench.plugins import Registry

    plugin = tmp_path / "count.py"
    plugin.write_text(TASK)

    def make(name="run", **changes):
        settings = {
            "task": "count",
            "seeds": 1,
            **SMALL,
            **{key.replace("__", "."): value for key, value in changes.items()},
        }
        resolved = resolve(preset="tiny", overrides=list(settings.items()))
        plan = make_plan(resolved, Registry([plugin]), out=tmp_path / name, jobs=1, threads=1)
        claim(plan.run_dir, plan.config.model_dump(mode="json"), config_hash=plan.config_hash)
        return Worker(plan)

    return make


def test_a_cell_that_a_guard_has_stopped_goes_on_from_its_checkpoint_once_the_guard_is_told_to_warn(make_worker):
    arms = ["token_ppo@learning_rate=1.0"]
    worker = make_worker(arms=arms)
    worker.run_shared(NoProgress())
    [(arm, seed)] = worker.plan.cells()
    with pytest.raises(TrainingError, match=r"update 2: the mean KL is .* above 30 .*--set guards\.exploding_kl=warn"):
        worker.run_cell(arm, seed, NoProgress())
    [cell] = read_cells(worker.plan.run_dir)
    assert cell.record.status == "failed" and "the mean KL is" in cell.record.error
    folder = worker.plan.run_dir.cell(arm.name, seed)
    first = list(read_jsonl(folder / "metrics.jsonl"))
    assert [line["update"] for line in first] == [1]
    assert (folder / "checkpoints").is_dir()

    goes_on = make_worker(arms=arms, guards__exploding_kl="warn")
    assert goes_on.plan.config_hash == worker.plan.config_hash
    heard = Heard()
    goes_on.run_cell(arm, seed, heard)
    [cell] = read_cells(worker.plan.run_dir)
    lines = list(read_jsonl(folder / "metrics.jsonl"))
    assert cell.record.status == "complete" and lines[0] == first[0]
    assert lines[1]["warnings"][0].startswith("exploding_kl: the mean KL is")
    assert any(note.startswith("update 2: the mean KL is") for note in heard.notes)
    assert any(text.startswith("The guard exploding_kl fired in 1 of 2 updates") for text in cell.record.problems)


def test_sft_that_does_not_fit_is_trained_in_smaller_micro_batches_to_the_same_weights(make_worker, monkeypatch):
    from safetensors.torch import load_file
    from transformers import LlamaModel

    def weights(worker):
        return load_file(worker.plan.run_dir.shared("sft") / "model.safetensors")

    whole = make_worker("whole")
    whole.run_shared(NoProgress())
    forward, sizes = LlamaModel.forward, []

    def short_of_memory(self, input_ids=None, **inputs):
        if torch.is_grad_enabled():
            sizes.append(len(input_ids))
            if len(input_ids) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, input_ids=input_ids, **inputs)

    monkeypatch.setattr(LlamaModel, "forward", short_of_memory)
    halved, heard = make_worker("halved", sft__micro_batch_size=4), Heard()
    halved.run_shared(heard)
    assert sizes[:3] == [4, 2, 1] and set(sizes[2:]) == {1}
    assert [note.partition(" from here")[0] for note in heard.notes] == [
        "out of memory: sft.micro_batch_size goes from 4 to 2",
        "out of memory: sft.micro_batch_size goes from 2 to 1",
    ]
    ours, theirs = weights(halved), weights(whole)
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, atol=2e-5, rtol=0)


@pytest.mark.soak
def test_other_cells_go_on_and_the_exit_status_is_1(tmp_path):
    (tmp_path / "count.py").write_text(TASK)
    settings = [f"--set={key}={value}" for key, value in SMALL.items()]
    command = [
        sys.executable,
        "-m",
        "marl_bench",
        "run",
        "--task=count",
        f"--plugin={tmp_path / 'count.py'}",
        *settings,
    ]
    command += ["--arm=token_ppo@learning_rate=1.0", "--arm=token_ppo", "--seeds=1", f"--out={tmp_path / 'run'}"]
    stopped = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert stopped.returncode == 1
    assert "above 30 (guards.max_kl)" in stopped.stderr and "Traceback" not in stopped.stderr
    found = {path.parent.name: json.loads(path.read_text()) for path in Path(tmp_path).glob("run/cells/*/record.json")}
    assert sorted(record["status"] for record in found.values()) == ["complete", "failed"]
    goes_on = subprocess.run([*command, "--set=guards.exploding_kl=warn"], capture_output=True, text=True, check=False)
    assert goes_on.returncode == 0, goes_on.stderr
    assert "the mean KL is" in goes_on.stderr
    assert "The guard exploding_kl fired in 1 of 2 updates" in (tmp_path / "run" / "report.md").read_text()
