"""Each task end to end at the smallest size: on real sample data, and the code task with its evaluation on another data set."""

import pytest

from marl_bench.cell import Worker
from marl_bench.config_layers import resolve
from marl_bench.planning import make_plan
from marl_bench.reevaluation import evaluate_again, plan_evaluation
from marl_bench.run_dir import claim, read_cells
from marl_bench.training.progress import NoProgress

SMALL = {
    "arms": ["token_ppo"],
    "seeds": 1,
    "data.limit": 8,
    "sft.max_steps": 1,
    "reward_model.max_steps": 2,
    "reward_model.batch_size": 4,
    "ppo.updates": 1,
    "ppo.batch_size": 4,
    "sampling.max_response_tokens": 24,
    "evaluation.samples_per_prompt": 1,
}
FOLDERS = {"hh": "hh_rlhf", "webgpt": "webgpt_standin", "apps": "apps"}


def run(task, registry, folder, **changes):
    settings = SMALL | changes
    resolved = resolve(
        preset="tiny",
        layers=[("test", {"task": task})],
        overrides=list(settings.items()),
        task_settings=registry.task_settings,
    )
    plan = make_plan(resolved, registry, out=folder, jobs=1, threads=1)
    claim(plan.run_dir, plan.config.model_dump(mode="json"), config_hash=plan.config_hash)
    worker = Worker(plan)
    worker.run_shared(NoProgress())
    for arm, seed in plan.cells():
        worker.run_cell(arm, seed, NoProgress())
    [cell] = read_cells(plan.run_dir)
    return cell


@pytest.mark.parametrize("task", FOLDERS)
def test_real_data_run_end_to_end(task, registry, sample_data, tmp_path):
    cell = run(task, registry, tmp_path / "run", **{"data.source": str(sample_data / FOLDERS[task])})
    assert cell.record.status == "complete"
    assert len(cell.samples) == 8
    score = cell.record.task["primary_metric"]
    assert cell.record.unscored[score] == 0
    facts = cell.record.shared["data"]
    assert facts["source"] == FOLDERS[task]
    notes = " ".join(facts["notes"])
    expected = {
        "hh": "no preference pair",
        "webgpt": "stand-in, not WebGPT",
        "apps": "SFT uses MBPP train, 374 problems",
    }
    assert expected[task] in notes
    assert str(sample_data) not in notes


@pytest.fixture(scope="module")
def apps_run(registry, tmp_path_factory):
    folder = tmp_path_factory.mktemp("apps") / "run"
    return folder, run("apps", registry, folder, **{"evaluation.samples_per_prompt": 5, "data.limit": 4})


def test_programs_are_run_in_training_and_evaluation(apps_run):
    _, cell = apps_run
    assert cell.curve[0]["score"] >= -1.0
    assert len(cell.samples) == 4 * 5
    for sample in cell.samples:
        metrics = sample.metrics
        assert -1.0 <= metrics["apps_score"] <= 1.0
        failures = ("compile_error", "runtime_error", "timeout", "wrong_answer", "other_failure")
        assert metrics["passed"] + sum(metrics[name] for name in failures) == 1.0
    assert {sample.metrics["pass@5"] for sample in cell.samples} <= {0.0, 1.0}
    assert cell.record.metrics["pass@1"] == pytest.approx(cell.record.metrics["passed"])


def test_policies_of_apps_are_evaluated_on_humaneval(apps_run, registry):
    folder, _ = apps_run
    changes = [("task_options.evaluate_on", "humaneval"), ("data.limit", None), ("evaluation.max_prompts", 3)]
    planned = plan_evaluation(folder, changes, registry, name="humaneval")
    files = evaluate_again(planned, arms=[], done=lambda _now, _text: None)
    [cell] = read_cells(planned.out)
    assert {sample.subset for sample in cell.samples} == {"humaneval"}
    assert {sample.prompt_id for sample in cell.samples} <= {f"HumanEval/{number}" for number in range(164)}
    assert cell.record.unscored["apps_score"] == 0
    assert "Evaluation is on humaneval" in files.report.read_text()
