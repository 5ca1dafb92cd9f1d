"""A task with a rule reward and the shipped tiny model, so that PPO runs in seconds without shared stages."""

import dataclasses
from pathlib import Path

import pytest
import torch

from marl_bench.config import PpoConfig, SamplingConfig
from marl_bench.models.actors import load_actors
from marl_bench.models.loading import model_folder
from marl_bench.records import Prompt
from marl_bench.training.ppo import PpoRun


@dataclasses.dataclass(frozen=True)
class LetterTask:
    """Rewards the share of words with an e; an optimum that a few updates move towards."""

    metrics: tuple = ()

    def score(self, prompts, responses):
        return [
            sum("e" in word for word in response.text.split()) / max(len(response.text.split()), 1)
            for response in responses
        ]

    def oracle(self, prompts, responses):
        return None


@pytest.fixture(scope="session")
def letter_task():
    return LetterTask()


@pytest.fixture(scope="session")
def prompts():
    return [
        Prompt(f"p{number}", f"Number {number} says: tell me about {word}. TL;DR:")
        for number, word in enumerate(["cats", "dogs", "rent", "trains"] * 3)
    ]


@pytest.fixture(scope="session")
def make_actors():
    def make():
        torch.manual_seed(0)
        folder = Path(model_folder("tiny"))
        return load_actors(
            policy=folder, sft=folder, reward_model=None, dtype="float32", critic_scale=1.0, device=torch.device("cpu")
        )

    return make


@pytest.fixture(scope="session")
def ppo():
    return PpoConfig(
        updates=2,
        batch_size=6,
        micro_batch_size=6,
        learning_rate=1e-3,
        critic_learning_rate=1e-2,
        schedule="constant",
        warmup_ratio=0.0,
    )


@pytest.fixture
def make_run(tmp_path):
    def make(name="run", seed=3):
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        return PpoRun(name, seed, SamplingConfig(max_response_tokens=16), 1.0, folder)

    return make
