"""The shipped tiny model as a policy, and a rule reward that the first letters of a response decide."""

import dataclasses
from pathlib import Path

import pytest
import torch

from marl_bench.config import PpoConfig, SamplingConfig
from marl_bench.diagnosis.monte_carlo import Objective
from marl_bench.models.actors import load_actors
from marl_bench.models.loading import model_folder
from marl_bench.records import Prompt
from marl_bench.training.rollout import roll_out


@dataclasses.dataclass(frozen=True)
class PrefixTask:
    """Scores the first letter alone, so that after it the value of every state is known."""

    metrics: tuple = ()

    def score(self, prompts, responses):
        return [float(ord((response.text.strip() or "a")[0]) % 7) for response in responses]

    def oracle(self, prompts, responses):
        return None


@pytest.fixture(scope="session")
def actors():
    folder = Path(model_folder("tiny"))
    return load_actors(
        policy=folder, sft=folder, reward_model=None, dtype="float32", critic_scale=1.0, device=torch.device("cpu")
    )


@pytest.fixture(scope="session")
def make_objective(actors):
    def make(*, task=None, tokens=10, **ppo):
        settings = PpoConfig(**{"kl_coef": 0.0, "sample_batch_size": 16, **ppo})
        sampling = SamplingConfig(max_response_tokens=tokens)
        return Objective(actors, task or PrefixTask(), sampling, settings, settings.kl_coef, 1.0)

    return make


@pytest.fixture(scope="session")
def roll():
    def sample(objective, count=4):
        prompts = [
            Prompt(f"p{number}", f"POST: {number} {'very ' * number}old dogs. TL;DR:") for number in range(count)
        ]
        return roll_out(
            objective.actors,
            objective.task,
            prompts,
            sampling=objective.sampling,
            ppo=objective.ppo,
            needs=frozenset({"critic"}),
            seed_parts=(0, "test"),
        )

    return sample
