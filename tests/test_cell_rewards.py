"""A whole small experiment whose score is a sum: what the shared stages measure and what the records say."""

import json

import pytest

from marl_bench.cell import Worker
from marl_bench.config_layers import resolve
from marl_bench.errors import ModelError
from marl_bench.planning import make_plan
from marl_bench.run_dir import claim, read_cells
from marl_bench.training.progress import NoProgress
from marl_bench.training.stages import finished_stages

LENGTHS = "def lengths(prompts, responses):\n    return [0.1 * len(response.text) for response in responses]\n"


@pytest.fixture(scope="module")
def summed_run(tmp_path_factory, registry):
    folder = tmp_path_factory.mktemp("summed")
    source = folder / "lengths.py"
    source.write_text(LENGTHS)
    settings = {
        "arms": ["token_ppo"],
        "seeds": 1,
        "reward.sources": ["0.5*task", f"python:{source}:lengths"],
        "data.limit": 8,
        "sft.max_steps": 1,
        "reward_model.max_steps": 1,
        "ppo.updates": 1,
        "ppo.batch_size": 4,
        "sampling.max_response_tokens": 16,
    }
    plan = make_plan(
        resolve(preset="tiny", overrides=list(settings.items())), registry, out=folder / "run", jobs=1, threads=1
    )
    claim(plan.run_dir, plan.config.model_dump(mode="json"), config_hash=plan.config_hash)
    worker = Worker(plan)
    worker.run_shared(NoProgress())
    for arm, seed in plan.cells():
        worker.run_cell(arm, seed, NoProgress())
    return plan, source


def test_the_score_of_every_sample_is_the_sum_of_its_parts(summed_run):
    plan, _ = summed_run
    [cell] = read_cells(plan.run_dir)
    assert cell.record.task["primary_metric"] == "score"
    for sample in cell.samples:
        parts = 0.5 * sample.metrics["reward 0.5*task"] + 0.1 * len(sample.response.text)
        assert sample.metrics["score"] == pytest.approx(parts, rel=1e-5)


def test_the_scale_is_that_of_the_sum_and_stands_in_the_record(summed_run):
    plan, _ = summed_run
    [cell] = read_cells(plan.run_dir)
    shared = cell.record.shared
    assert shared["reward"]["sources"] == ["0.5*task", "python:lengths.py:lengths"]
    assert shared["reward"]["score_std"] != shared["reward_model"]["score_std"]
    stage = json.loads((plan.run_dir.shared("reward") / "stage.json").read_text())
    assert cell.record.digests["reward"] == stage["digest"]
    stages = finished_stages(plan.run_dir, plan.config, Worker(plan).spec)
    assert stages.score_std == shared["reward"]["score_std"]
    assert stages.critic_scale(plan.config.ppo) == pytest.approx(0.5 / stages.score_std)


def test_a_reward_file_that_changes_under_the_experiment_is_refused(summed_run):
    plan, source = summed_run
    source.write_text(LENGTHS.replace("0.1", "0.2"))
    with pytest.raises(ModelError, match="is not the one that this experiment began with"):
        finished_stages(plan.run_dir, plan.config, Worker(plan).spec)
    source.write_text(LENGTHS)
