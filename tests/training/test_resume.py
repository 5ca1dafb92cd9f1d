"""A PPO training that is cut off at any boundary and goes on ends bit for bit as one that was not."""

import dataclasses
import random

import numpy as np
import pytest
import torch
from marl_bench_baselines.macro_ppo import MacroPpo

from marl_bench.config import CheckpointConfig, PpoConfig
from marl_bench.macro.termination import EveryNTokens
from marl_bench.training.checkpoint import Checkpoints
from marl_bench.training.ppo import train_ppo
from marl_bench.training.progress import NoProgress
from marl_bench.training.state import seed_everything

BOUNDARIES = 2 * (1 + 2 * 2 + 1)  # of 2 updates: the rollout, 2 epochs of 2 minibatches, the end
EACH = CheckpointConfig(every_seconds=0)


class Killed(BaseException):
    """What nothing in the training catches."""


@dataclasses.dataclass(frozen=True)
class NoisyTask:
    """Scores with noise from all global random states, as a careless plugin may."""

    inner: object
    metrics: tuple = ()

    def score(self, prompts, responses):
        scores = self.inner.score(prompts, responses)
        return [score + random.random() + np.random.random() + float(torch.rand(())) for score in scores]

    def oracle(self, prompts, responses):
        return None


@pytest.fixture
def settings(ppo):
    changed = {"minibatches": 2, "ppo_epochs": 2, "kl_controller": "adaptive", "kl_horizon": 20, "schedule": "linear"}
    return PpoConfig.model_validate({**ppo.model_dump(), **changed})


@pytest.fixture
def train(make_actors, make_run, letter_task, prompts, settings):
    """Trains under a name, going on from its checkpoints; dies after the given number of checkpoints."""

    def run(name, *, die_after=None, checkpoints=EACH, identity=None, progress=None, said=None):
        base = make_run(name)
        lines = (base.folder / "metrics.jsonl", base.folder / "timings.jsonl")
        store = Checkpoints(
            base.folder / "checkpoints", identity or {"arm": "a"}, checkpoints, lines=lines, say=(said or []).append
        )
        if die_after is not None:
            written, write = [], store.write

            def write_and_die(*arguments, **named):
                write(*arguments, **named)
                written.append(arguments[0])
                if len(written) == die_after:
                    raise Killed

            store.write = write_and_die
        actors = make_actors()
        baseline = MacroPpo(EveryNTokens(3), settings)
        seed_everything(5)
        task, progress = NoisyTask(letter_task), progress or NoProgress()
        budget = train_ppo(dataclasses.replace(base, checkpoints=store), actors, task, baseline, prompts, progress)
        return final(base.folder, actors, budget)

    return run


def final(folder, actors, budget):
    weights = [*actors.policy.state_dict().items(), *actors.critic.state_dict().items()]
    return (
        budget,
        (folder / "metrics.jsonl").read_bytes(),
        {name: weight.numpy().tobytes() for name, weight in weights},
        (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()),
    )


@pytest.fixture
def uninterrupted(train, make_actors, make_run, letter_task, prompts, settings):
    """Of a training without any checkpoints."""
    run, actors = make_run("whole"), make_actors()
    baseline = MacroPpo(EveryNTokens(3), settings)
    seed_everything(5)
    budget = train_ppo(run, actors, NoisyTask(letter_task), baseline, prompts, NoProgress())
    return final(run.folder, actors, budget)


def test_a_training_killed_at_every_boundary_in_turn_ends_as_one_that_was_not(train, uninterrupted):
    for _ in range(BOUNDARIES):
        with pytest.raises(Killed):
            train("killed", die_after=1)
    assert train("killed") == uninterrupted
