"""This package's PPO trainer, making one update at a time for `bench ppo`."""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from marl_bench.bench.peers.turns import Turns, run_worker
from marl_bench.config import MemoryConfig, PpoConfig, SamplingConfig, SpeedConfig
from marl_bench.interfaces import PolicyBaseline, PolicyContext, Task
from marl_bench.models.actors import load_actors
from marl_bench.models.cpu_matmul import with_speed
from marl_bench.models.memory import with_memory
from marl_bench.plugins import Registry
from marl_bench.records import Prompt
from marl_bench.run_dir import CURVE
from marl_bench.training.ppo import PpoRun, train_ppo
from marl_bench.training.progress import NoProgress

ENDLESS = 1_000_000


class OneAtATime(NoProgress):
    """Progress that waits after each update until the next one is wanted."""

    def __init__(self, turns: Turns, curve: Path) -> None:
        """Takes the pipe and the file that the trainer writes its curve to."""
        self._turns, self._curve, self._tokens = turns, curve, 0

    def step(self, *_: Any, **__: Any) -> None:
        """Says what the update took, and waits."""
        line = json.loads(self._curve.read_text(encoding="utf-8").splitlines()[-1])
        before, self._tokens = self._tokens, line["tokens_sampled"]
        self._turns.update_done(response_tokens=self._tokens - before)


class _NoOracle:
    """A task that knows no optimum; its rewards are the reward model's."""

    def oracle(self, *_: Any) -> None:
        """Returns None."""


def work(settings: Mapping[str, Any], turns: Turns) -> None:
    """Trains until told to stop."""
    models = Path(settings["models"])
    ppo = ppo_config(settings)
    loaded = load_actors(
        policy=models / "policy",
        sft=models / "policy",
        reward_model=models / "reward_model",
        dtype="float32",
        critic_scale=1.0,
        device=torch.device("cpu"),
    )
    actors = with_memory(with_speed(loaded, SpeedConfig(**settings["speed"])), MemoryConfig(**settings["memory"]))
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
        train_ppo(run, actors, task, baseline, prompts, OneAtATime(turns, run.folder / CURVE))


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
