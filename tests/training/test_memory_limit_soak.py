"""A real shortage: the address space of a process is limited, and the training fits into what is left."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from conftest import LetterTask
from marl_bench.config import PpoConfig, SamplingConfig
from marl_bench.macro.termination import EveryNTokens
from marl_bench.models.actors import load_actors
from marl_bench.models.loading import model_folder
from marl_bench.records import Prompt
from marl_bench.training.ppo import PpoRun, train_ppo
from marl_bench.training.progress import NoProgress
from marl_bench_baselines.macro_ppo import MacroPpo

folder, tiny, spare = Path(sys.argv[2]), Path(model_folder("tiny")), int(sys.argv[3])
actors = load_actors(policy=tiny, sft=tiny, reward_model=None, dtype="float32", critic_scale=1.0, device=torch.device("cpu"))
prompts = [Prompt(f"p{n}", f"Number {n} says: tell me about the weather of the week. TL;DR:") for n in range(96)]

def train(name, updates):
    run = PpoRun("run", 3, SamplingConfig(max_response_tokens=128), 1.0, folder / name)
    run.folder.mkdir()
    ppo = PpoConfig(updates=updates, batch_size=96, micro_batch_size=96, score_batch_size=96, sample_batch_size=96, learning_rate=1e-4)
    train_ppo(run, actors, LetterTask(), MacroPpo(EveryNTokens(5), ppo), prompts, NoProgress())

if spare:
    used = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1])
    resource.setrlimit(resource.RLIMIT_AS, ((used + spare * 1024) * 1024,) * 2)
train("run", 2)
"""


def trained(folder, spare):
    folder.mkdir()
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(folder), str(spare)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.soak
def test_a_training_that_does_not_fit_into_the_address_space_fits_in_halves_with_the_same_results(tmp_path):
    whole, short = trained(tmp_path / "whole", 0), trained(tmp_path / "short", 250)
    assert "warnings" not in whole[0]
    assert any("ppo.micro_batch_size goes from 96 to 48" in warning for warning in short[0]["warnings"])
    for ours, theirs in zip(short, whole, strict=True):
        for name, value in theirs.items():
            if isinstance(value, float):
                assert ours[name] == pytest.approx(value, rel=1e-3, abs=2e-5), name
