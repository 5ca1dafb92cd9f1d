"""This package's PPO trainer, making one update at a time for `bench ppo`."""

import dataclasses
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from marl_bench.bench.peers.turns import Turns, run_worker
from marl_bench.config import PpoConfig, SamplingConfig
from marl_bench.interfaces import PolicyBaseline, PolicyContext, Task
from marl_bench.models.actors import load_actors
from marl_bench.plugins import Registry
from marl_bench.records import Prompt
from marl_bench.training.ppo import PpoRun, train_ppo
from marl_bench.training.progress import NoProgress

ENDLESS = 1_000_000


@dataclasses.dataclass(frozen=True)
class OneAtATime(NoProgress):
    """Progress that waits after each update until the next one is wanted."""

    turns: Turns

    def step(self, *_: Any, **__: Any) -> None:
        """Says what the update took, and waits."""
        self.turns.update_done()


class _NoOracle:
    """A task that knows no optimum; its rewards are the reward model's."""

    def oracle(self, *_: Any) -> None:
        """Returns None."""


def work(settings: Mapping[str, Any], turns: Turns) -> None:
    """Trains until told to stop."""
    models = Path(settings["models"])
    ppo = ppo_config(settings)
    actors = load_actors(
        policy=models / "policy",
        sft=models / "policy",
        reward_model=models / "reward_model",
        dtype="float32",
        critic_scale=1.0,
        device=torch.device("cpu"),
    )
    assert actors.critic is not None  # a scale was given
    [part] = actors.reward.parts
    turns.watch(
        policy=actors.policy,
        reference=actors.reference,
        critic=actors.critic.classifier,
        reward=part.function.model.classifier,  # type: ignore[attr-defined]  # a reward model was given
    )
    prompts = [Prompt(str(number), text) for number, text in enumerate(settings["prompts"])]
    baseline: PolicyBaseline = Registry().baseline("token_ppo").build(PolicyContext(ppo, None, None))  # type: ignore[assignment]
    task: Task = _NoOracle()  # type: ignore[assignment]  # only its oracle is asked for
    sampling = SamplingConfig(max_response_tokens=settings["response_tokens"], temperature=settings["temperature"])
    with tempfile.TemporaryDirectory() as folder:
        run = PpoRun("token_ppo", settings["seed"], sampling, 1.0, Path(folder))
        turns.ready()
        train_ppo(run, actors, task, baseline, prompts, OneAtATime(turns))


def ppo_config(settings: Mapping[str, Any]) -> PpoConfig:
    """Returns the trainer's settings: what the peer computes as well, advantages whitened and values clipped."""
    return PpoConfig(
        updates=ENDLESS,
        batch_size=settings["batch"],
        micro_batch_size=settings["micro_batch"],
        score_batch_size=settings["score_batch"],
        sample_batch_size=settings["rollout_batch"],
        ppo_epochs=settings["ppo_epochs"],
        learning_rate=settings["learning_rate"],
        critic_learning_rate=settings["learning_rate"],
        schedule="constant",
        kl_coef=settings["kl_coef"],
        value_clip_range=0.2,
    )


if __name__ == "__main__":
    run_worker(work, sys.argv[1:])
