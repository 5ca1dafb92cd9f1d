"""`torchrun ... -m marl_bench run` on two processes: what a user starts, stops and reads. The updates themselves: training/test_together.py."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SMALL = [
    "--limit=12",
    "--seeds=1",
    "--arm=macro_ppo",
    "--set=sft.max_steps=3",
    "--set=reward_model.max_steps=3",
    "--set=reward_model.batch_size=10",
    "--set=ppo.updates=3",
    "--set=ppo.batch_size=8",
    "--set=ppo.minibatches=2",
    "--set=checkpoints.every_seconds=0",
    "--set=sampling.max_response_tokens=24",
]
CELL = Path("cells") / "macro_ppo-fixed_n5-seed0"


def start(folder, *arguments, processes=2):
    launcher = [
        f"--nproc_per_node={processes}",
        "--master_port=0",
        "--rdzv_backend=c10d",
        "--rdzv_endpoint=127.0.0.1:0",
    ]
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            *launcher,
            "-m",
            "marl_bench",
            "run",
            "--out",
            str(folder),
            *SMALL,
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def run(folder, *arguments, status=0, processes=2):
    process = start(folder, *arguments, processes=processes)
    out, err = process.communicate(timeout=280)
    assert process.returncode == status, err
    return out, err


def own_errors(text):
    """Returns the lines that are ours among those of torchrun."""
    return [line for line in text.splitlines() if line.startswith("marl-bench: ")]


def results(folder):
    """Returns what a cell has found, without what the clock says."""
    record = json.loads((folder / CELL / "record.json").read_text())
    weights = {name: load_file(folder / CELL / name / "model.safetensors") for name in ("policy", "critic")}
    files = {name: (folder / CELL / name).read_bytes() for name in ("metrics.jsonl", "samples.jsonl")}
    return (
        record["metrics"],
        files,
        {
            name: {key: t.flatten().view(torch.uint8).numpy().tobytes() for key, t in w.items()}
            for name, w in weights.items()
        },
    )


def children(process):
    """Returns the processes that torchrun has started, by rank."""
    found = {}
    for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        ranks = [int(entry.removeprefix(b"RANK=")) for entry in environment if entry.startswith(b"RANK=")]
        found |= {rank: int(pid) for rank in ranks}
    return found


def wait_for_update(folder, process, *, update):
    for _ in range(2000):
        path = folder / CELL / "metrics.jsonl"
        if path.exists() and len(path.read_text().splitlines()) >= update:
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    raise AssertionError("no update in 100 seconds")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    out, err = run(folder, "--jobs=2")
    return folder, out, err


@pytest.mark.soak
def test_two_processes_leave_one_finished_experiment(uninterrupted):
    folder, out, err = uninterrupted
    assert out.count("Report: ") == 1
    assert "Warning: --jobs 2 has no effect under torchrun: its 2 processes work on one cell together." in err
    record = json.loads((folder / CELL / "record.json").read_text())
    assert (record["status"], record["environment"]["processes"]) == ("complete", 2)
    assert not list(folder.rglob("checkpoints")) and not list(folder.rglob("*.tmp"))
    assert (folder / "report.html").exists()


@pytest.mark.soak
def test_two_processes_find_what_one_finds(uninterrupted, tmp_path):
    """One process with the stages of the two, so that a reward model that differs in its sixth digit makes no other samples."""
    folder, _, _ = uninterrupted
    stages = [f"--sft-model={folder / 'shared/sft'}", f"--reward-model={folder / 'shared/reward_model'}"]
    run(tmp_path / "one", *stages, processes=1)
    (one, files, _), (two, others, _) = results(tmp_path / "one"), results(folder)
    assert two == pytest.approx(one, rel=1e-3, abs=1e-4)
    for line, other in zip(*(found["metrics.jsonl"].splitlines() for found in (files, others)), strict=True):
        line, other = json.loads(line), json.loads(other)
        assert other["score"] == pytest.approx(line["score"], abs=1e-4)
        assert other["policy_gradient_norm"] == pytest.approx(line["policy_gradient_norm"], rel=1e-3)
    texts = [[json.loads(row)["response"] for row in found["samples.jsonl"].splitlines()] for found in (files, others)]
    assert texts[0] == texts[1]


@pytest.mark.soak
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_other_and_the_same_command_goes_on_to_the_same_bytes(uninterrupted, tmp_path, rank):
    folder = tmp_path / "run"
    process = start(folder)
    wait_for_update(folder, process, update=1)
    os.kill(children(process)[rank], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert len(own_errors(err)) <= 1  # none if torchrun was faster
    run(folder)
    assert results(folder) == results(uninterrupted[0])


DIVIDED = [
    "--set=memory.shard=true",
    "--set=memory.gradient_checkpointing=true",
    "--set=memory.logits_chunk_tokens=16",
    "--set=memory.micro_batch_tokens=900",
    "--set=memory.score_batch_tokens=1500",
]
"""As the paper presets, with models divided."""


@pytest.mark.soak
def test_divided_models_find_what_whole_ones_find(uninterrupted, tmp_path):
    folder, _, _ = uninterrupted
    stages = [f"--sft-model={folder / 'shared/sft'}", f"--reward-model={folder / 'shared/reward_model'}"]
    run(tmp_path / "divided", *stages, *DIVIDED)
    (metrics, files, weights), (others, found, divided) = results(folder), results(tmp_path / "divided")
    assert others == pytest.approx(metrics, rel=1e-3, abs=1e-4)
    assert (tmp_path / "divided" / CELL / "macro_actions.jsonl").exists()
    for model in weights:
        assert divided[model].keys() == weights[model].keys()
    for line, other in zip(*(each["metrics.jsonl"].splitlines() for each in (files, found)), strict=True):
        line, other = json.loads(line), json.loads(other)
        assert other["score"] == pytest.approx(line["score"], abs=1e-4)
        for norm in ("policy_gradient_norm", "critic_gradient_norm"):
            assert other[norm] == pytest.approx(line[norm], rel=1e-3)


@pytest.mark.soak
def test_a_killed_run_of_divided_models_with_float32_copies_goes_on_to_the_same_bytes(tmp_path):
    arguments = [*DIVIDED, "--set=model.dtype=bfloat16", "--set=memory.master_weights=float32"]
    run(tmp_path / "whole", *arguments)
    process = start(tmp_path / "killed", *arguments)
    wait_for_update(tmp_path / "killed", process, update=1)
    os.kill(children(process)[1], signal.SIGKILL)
    process.communicate(timeout=60)
    run(tmp_path / "killed", *arguments)
    assert results(tmp_path / "killed") == results(tmp_path / "whole")


@pytest.mark.soak
def test_a_stop_is_one_for_all_processes(uninterrupted, tmp_path):
    folder = tmp_path / "run"
    process = start(folder)
    wait_for_update(folder, process, update=1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert own_errors(err) == ["marl-bench: stopped; the same command again goes on from here."]
    run(folder)
    assert results(folder) == results(uninterrupted[0])


@pytest.mark.soak
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--set=ppo.batch_size=7"],
            "marl-bench: ppo.batch_size: 7 rows cannot be divided among 2 processes; the nearest that can are 6 or 8, or start fewer processes.",
        ),
        (["--task=tldl"], "marl-bench: unknown task 'tldl'. Did you mean 'tldr'?"),
    ],
)
def test_wrong_input_is_one_error(tmp_path, arguments, text):
    _, err = run(tmp_path / "run", *arguments, status=1)  # torchrun's own status, whatever that of its processes
    assert [line[: len(text)] for line in own_errors(err)] == [text]
    assert "exitcode  : 2" in err
    assert not (tmp_path / "run").exists()
