"""Whole experiments at the smallest size: fresh, finished, killed, interrupted, failing, on real data and with a real model."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from marl_bench.reporting.frames import load_curves, load_samples, load_scores
from marl_bench.run_dir import RunDir, locked

SMALL = [
    "--limit=12",
    "--set=sft.max_steps=2",
    "--set=reward_model.max_steps=2",
    "--set=ppo.updates=2",
    "--set=ppo.batch_size=4",
    "--set=sampling.max_response_tokens=24",
]
ARMS = {"sft", "token_ppo", "token_ppo_matched_lambda-fixed_n5", "macro_ppo-fixed_n5"}


def start(folder, *arguments):
    command = [sys.executable, "-m", "marl_bench", "run", "--out", str(folder), *SMALL, *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )


def run(folder, *arguments, status=0):
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=280)
    assert process.returncode == status, err
    return out, err


def records(folder):
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(Path(folder).glob("cells/*/record.json"))}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished experiment of four arms and two seeds."""
    folder = tmp_path_factory.mktemp("experiment") / "run"
    out, err = run(folder)
    return folder, out, err


def test_every_cell_is_complete_and_leaves_its_files(finished):
    folder, _, _ = finished
    found = records(folder)
    assert set(found) == {f"{arm}-seed{seed}" for arm in ARMS for seed in (0, 1)}
    for name, record in found.items():
        assert record["status"] == "complete"
        cell = folder / "cells" / name
        assert (cell / "samples.jsonl").exists()
        assert (cell / "macro_actions.jsonl").exists() == record["arm"]["trained"]
        if record["arm"]["trained"]:
            assert len((cell / "metrics.jsonl").read_text().splitlines()) == 2
            assert (cell / "policy" / "model.safetensors").exists()
    for stage in ("sft", "reward_model"):
        assert (folder / "shared" / stage / "config.json").exists()


def test_records_say_what_made_them_and_name_no_place(finished):
    folder, _, _ = finished
    for record in records(folder).values():
        assert set(record["digests"]) == {"data", "sft", "reward_model"}
        assert record["environment"]["packages"]["torch"]
        text = json.dumps(record)
        assert str(Path.home()) not in text
        assert str(folder) not in text
        assert os.uname().nodename not in text
    macro = records(folder)["macro_ppo-fixed_n5-seed0"]["arm"]
    assert (macro["rule"], macro["role"], len(macro["rule_hash"])) == ("fixed(n=5)", "macro", 12)


def test_arms_of_a_seed_start_from_the_same_rollout(finished):
    folder, _, _ = finished
    first = {
        name: json.loads((folder / "cells" / f"{name}-seed0" / "metrics.jsonl").read_text().splitlines()[0])
        for name in ARMS - {"sft"}
    }
    assert len({line["score"] for line in first.values()}) == 1
    assert len({line["tokens_sampled"] for line in first.values()}) == 1
    # lambda^(1/n) per token is the credit horizon of lambda per n tokens, up to the rest at the end.
    credit = {name: line["first_macro_credit"] for name, line in first.items()}
    assert (
        credit["token_ppo"]
        < credit["token_ppo_matched_lambda-fixed_n5"]
        == pytest.approx(credit["macro_ppo-fixed_n5"], abs=0.05)
    )


def test_the_reward_model_scores_references_zero_on_average(finished):
    folder, _, _ = finished
    config = json.loads((folder / "shared" / "reward_model" / "config.json").read_text())
    assert config["score_offset"] != 0
    stage = json.loads((folder / "shared" / "reward_model" / "stage.json").read_text())
    assert 0 <= stage["figures"]["pair_accuracy"] <= 1


def test_piped_output_is_plain_and_complete(finished):
    folder, out, err = finished
    assert "\x1b" not in out + err
    assert out.splitlines()[-1] == f"Report: {folder / 'report.md'}"
    assert "Reading | " in out
    assert "shared stages: done" in err
    assert "Traceback" not in err
    assert "Warning" not in err


def test_the_tables_hold_every_cell_and_no_clock(finished):
    folder, _, _ = finished
    with (folder / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["arm", "seed", "metric", "value"]
    assert {(row["arm"], row["seed"]) for row in rows} == {(arm, seed) for arm in ARMS for seed in "01"}
    metrics = {row["metric"] for row in rows}
    assert {
        "reward_model_score",
        "oracle",
        "rouge1",
        "rouge2",
        "rougeL",
        "response_tokens",
        "finished",
        "kl",
    } <= metrics
    assert not any("second" in metric or "memory" in metric for metric in metrics)
    assert "seconds" in (folder / "costs.csv").read_text()


def test_the_mean_of_the_samples_is_the_score_of_the_table(finished):
    folder, _, _ = finished
    scores, samples, curves = load_scores(folder), load_samples(folder), load_curves(folder)
    for name, record in records(folder).items():
        lines = [json.loads(line) for line in (folder / "cells" / name / "samples.jsonl").read_text().splitlines()]
        mean = sum(line["metrics"]["oracle"] for line in lines) / len(lines)
        row = scores[
            (scores.arm == record["arm"]["name"]) & (scores.seed == record["seed"]) & (scores.metric == "oracle")
        ]
        assert row.value.item() == pytest.approx(mean)
    assert len(samples) == 8 * 12
    assert len(curves) == 6 * 2


def test_the_same_command_again_finishes_at_once_and_changes_nothing(finished):
    folder, _, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/*")}
    report = (folder / "report.md").read_bytes()
    _, err = run(folder)
    assert "8 of 8 cells are complete already" in err
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/*")}
    assert (folder / "report.md").read_bytes() == report


def test_the_report_is_remade_from_records_alone_byte_for_byte(finished, tmp_path):
    folder, _, _ = finished
    code = (
        "import sys\nfrom marl_bench.cli.main import main\n"
        f"try: main(['report', {str(folder)!r}, '--out', {str(tmp_path)!r}])\n"
        "except SystemExit as error: assert not error.code\n"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    for name in ("scores.csv", "report.md", "plots/score_by_update.png", "plots/score_by_update.svg"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_another_configuration_is_refused_in_the_same_folder(finished):
    folder, _, _ = finished
    _, err = run(folder, "--set", "ppo.kl_coef=0.9", status=2)
    assert "belongs to another configuration" in err


def test_more_arms_reuse_what_is_finished(finished):
    folder, _, _ = finished
    before = records(folder)
    _, err = run(
        folder,
        "--arm",
        "sft",
        "--arm",
        "macro_ppo:whole",
        "--seeds",
        "1",
        "--arm",
        "macro_ppo:fixed(n=5)@method=official_code",
    )
    assert "1 of 3 cells are complete already" in err
    after = records(folder)
    assert {"macro_ppo-whole-seed0", "macro_ppo-fixed_n5-methodofficial_code-seed0"} == set(after) - set(before)
    assert all(after[name] == before[name] for name in before)


def test_a_killed_run_leaves_no_process_and_goes_on_cell_by_cell(tmp_path):
    folder = tmp_path / "run"
    process = start(folder, "--seeds", "1")
    deadline = time.monotonic() + 200
    while not any(record["status"] == "complete" for record in (records(folder) if folder.exists() else {}).values()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    complete = {name: record for name, record in records(folder).items() if record["status"] == "complete"}
    deadline = time.monotonic() + 20
    while _workers_of(folder):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    _, err = run(folder, "--seeds", "1")
    assert "cells are complete already" in err
    assert "shared stages" not in err
    after = records(folder)
    assert {record["status"] for record in after.values()} == {"complete"}
    assert len(after) == 4
    assert all(after[name] == record for name, record in complete.items())


def _workers_of(folder):
    """Returns the processes that still have a file below the folder open, or were started for it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder) in (entry / "cmdline").read_text() or any(
                str(folder) in str(link.readlink()) for link in (entry / "fd").iterdir()
            ):
                found.append(entry.name)
        except OSError:
            continue
    return found


def test_ctrl_c_stops_cleanly_with_status_130(tmp_path):
    folder = tmp_path / "run"
    process = start(folder, "--seeds", "1", "--set", "ppo.updates=500")
    deadline = time.monotonic() + 200
    while not list(folder.glob("cells/*/metrics.jsonl")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130
    assert "the same command again goes on from here" in err
    assert "Traceback" not in err
    for path in folder.glob("cells/*/metrics.jsonl"):
        assert all(json.loads(line) for line in path.read_text().splitlines())


def test_cells_without_samples_or_of_another_version_are_run_again(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    (folder / "cells" / "sft-seed0" / "samples.jsonl").write_text("")
    other = folder / "cells" / "sft-seed1" / "record.json"
    record = json.loads(other.read_text())
    record["arm"]["baseline_version"] = "0"
    other.write_text(json.dumps(record))
    _, err = run(folder, "--arm", "sft")
    assert "sft seed 0: done" in err
    assert "sft seed 1: done" in err
    assert records(folder)["sft-seed1"]["arm"]["baseline_version"] == "1"


def test_a_refused_second_process_changes_nothing(finished):
    folder, _, _ = finished
    before = (folder / "config.yaml").read_bytes()
    with locked(RunDir(folder)):
        _, err = run(folder, "--seeds", "3", status=2)
    assert "another marl-bench is working in this folder" in err
    assert (folder / "config.yaml").read_bytes() == before


def test_a_given_model_that_has_changed_is_refused(finished, tmp_path):
    shared, folder = finished[0] / "shared", tmp_path / "run"
    shutil.copytree(shared / "sft", tmp_path / "sft")
    arms = ["--sft-model", str(tmp_path / "sft"), "--reward-model", str(shared / "reward_model"), "--arm", "sft"]
    run(folder, *arms, "--seeds", "1")
    (tmp_path / "sft" / "generation_config.json").write_text("{}")
    _, err = run(folder, *arms, "--seeds", "2", status=1)
    assert "is not the one that this experiment began with" in err


def test_a_loss_that_is_not_finite_stops_its_stage(tmp_path):
    _, err = run(tmp_path / "run", "--set", "sft.learning_rate=1e38", status=1)
    assert "sft" in err
    assert "lower its learning rate" in err
    assert not (tmp_path / "run" / "shared" / "sft").exists()


NAN_TASK = """
import math
from marl_bench.interfaces import TaskSpec
from marl_bench.records import Prompt, SftPair, TaskData

class Task:
    metrics = ()
    def load(self, source, *, seed):
        prompts = [Prompt(f"p{n}", f"Say {n}:") for n in range(8)]
        return TaskData([SftPair(p, " yes") for p in prompts], [], prompts, prompts)
    def score(self, prompts, responses):
        return [math.nan if p.id == "p3" else 1.0 * r.token_count for p, r in zip(prompts, responses)]
    def oracle(self, prompts, responses):
        return None

TASK = TaskSpec("nan", "1", "scores that are not numbers", build=lambda options: Task(), reward_kind="rule", primary_metric="reward")
"""


def test_a_reward_that_is_nan_fails_its_cells_with_status_1(tmp_path):
    (tmp_path / "nan.py").write_text(NAN_TASK)
    arms = ["--arm", "token_ppo", "--seeds", "1"]
    _, err = run(tmp_path / "run", "--task", "nan", "--plugin", str(tmp_path / "nan.py"), *arms, status=1)
    assert "the score of the response to prompt 'p3' is nan" in err
    assert "Traceback" not in err
    assert records(tmp_path / "run")["token_ppo-seed0"]["status"] == "failed"


def test_a_plugin_task_with_a_rule_reward_runs(tmp_path):
    (tmp_path / "count.py").write_text(
        NAN_TASK.replace('math.nan if p.id == "p3" else ', "").replace('"nan"', '"count"')
    )
    run(
        tmp_path / "run",
        "--task",
        "count",
        "--plugin",
        str(tmp_path / "count.py"),
        "--arm",
        "sft",
        "--arm",
        "macro_ppo:whole",
        "--seeds",
        "1",
    )
    assert {record["status"] for record in records(tmp_path / "run").values()} == {"complete"}
    assert not (tmp_path / "run" / "shared" / "reward_model").exists()


def test_given_models_skip_their_stages(finished, tmp_path):
    folder, _, _ = finished
    shared = folder / "shared"
    models = ["--sft-model", str(shared / "sft"), "--reward-model", str(shared / "reward_model")]
    run(tmp_path / "run", *models, "--arm", "sft", "--arm", "token_ppo", "--seeds", "1")
    assert not (tmp_path / "run" / "shared" / "sft" / "config.json").exists()
    again, first = records(tmp_path / "run")["token_ppo-seed0"], records(folder)["token_ppo-seed0"]
    assert again["digests"] == first["digests"]
    assert again["metrics"] == first["metrics"]


@pytest.mark.parametrize("model", ["tiny", "stories"])
def test_real_posts_run_end_to_end(sample_data, request, tmp_path, model):
    path = str(request.getfixturevalue("stories_model")) if model == "stories" else "tiny"
    source = str(sample_data / "summarize_from_feedback")
    arms = ["--arm", "sft", "--arm", "token_ppo", "--arm", "macro_ppo", "--seeds", "1"]
    run(tmp_path / "run", "--data", source, "--model", path, *arms)
    report = (tmp_path / "run" / "report.md").read_text()
    assert "summarize_from_feedback" in report
    counts = records(tmp_path / "run")["sft-seed0"]["shared"]["data"]["counts"]
    assert counts["evaluation_prompts_cut"] > 0
    for line in (tmp_path / "run" / "cells" / "sft-seed0" / "samples.jsonl").read_text().splitlines():
        assert json.loads(line)["prompt"].endswith("\n\nTL;DR:")


def test_a_prompt_and_response_beyond_the_window_are_refused(stories_model, tmp_path):
    _, err = run(tmp_path / "run", "--model", str(stories_model), "--set", "sampling.max_prompt_tokens=500", status=2)
    assert "its window holds 512 tokens" in err
