"""The shared PPO trainer: roll out, segment, reward, advantages, experience, update, observe KL.

Token PPO is this trainer with one token a macro action.
"""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from marl_bench.config import PpoConfig, SamplingConfig
from marl_bench.errors import ConfigError, TrainingError
from marl_bench.evaluation.measure import oracle_scores
from marl_bench.interfaces import PolicyBaseline, Task
from marl_bench.macro.diagnostics import macro_figures, macro_length_histogram
from marl_bench.models.actors import Actors
from marl_bench.models.responses import log_prob_temperature
from marl_bench.records import Prompt
from marl_bench.run_dir import CURVE, TIMINGS, append_jsonl
from marl_bench.training.experience import PreparedExperience, prepare_experience, token_rewards
from marl_bench.training.kl_control import next_kl_coef
from marl_bench.training.progress import Progress, report_step
from marl_bench.training.rollout import ScoredRollout, roll_out
from marl_bench.training.update import UpdateSettings, UpdateStats, make_optimizers, update


@dataclasses.dataclass(frozen=True)
class PpoRun:
    """What a PPO training is made of.

    Attributes:
        arm: Name of the arm, for errors and progress.
        seed: Seed of the cell.
        sampling: How responses are drawn.
        score_std: Spread of the scores over SFT samples, for scaled scores.
        folder: Where `metrics.jsonl` and `timings.jsonl` go.
    """

    arm: str
    seed: int
    sampling: SamplingConfig
    score_std: float
    folder: Path


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a training used."""

    updates: int
    responses_sampled: int
    tokens_sampled: int


def train_ppo(
    run: PpoRun, actors: Actors, task: Task, baseline: PolicyBaseline, prompts: Sequence[Prompt], progress: Progress
) -> Budget:
    """Trains `actors.policy` (and critic) in place, writing one line an update to the cell's folder.

    Raises:
        TrainingError: Something is not finite or an invariant broke; the lines of the finished updates stay.
        Interrupted: The user asked to stop.
    """
    trainer = _Trainer(run, actors, task, baseline, prompts)
    for number in range(1, trainer.updates + 1):
        line = trainer.step(number)
        append_jsonl(run.folder / CURVE, line)
        report_step(progress, "ppo", number, trainer.updates, score=line["score"], kl=line["kl"])
    return Budget(trainer.updates, trainer.responses, trainer.tokens)


class _Trainer:
    """The state that goes from update to update."""

    def __init__(
        self, run: PpoRun, actors: Actors, task: Task, baseline: PolicyBaseline, prompts: Sequence[Prompt]
    ) -> None:
        ppo = baseline.ppo
        self.run, self.actors, self.task, self.baseline = run, actors, task, baseline
        self.batches = PromptOrder(prompts, batch_size=ppo.batch_size, seed=run.seed)
        self.updates = planned_updates(ppo, len(prompts))
        steps = self.updates * ppo.ppo_epochs * min(ppo.minibatches, ppo.batch_size)
        self.accelerator = Accelerator()
        self.optimizers = make_optimizers(actors, ppo, steps=steps)
        self.shuffle = torch.Generator().manual_seed(run.seed)
        self.kl_coef, self.responses, self.tokens = ppo.kl_coef, 0, 0

    def step(self, number: int) -> dict[str, Any]:
        """Makes one update and returns its line of the curve: roll out, reward, experience, update, observe KL."""
        run, ppo = self.run, self.baseline.ppo
        where = f"arm '{run.arm}', seed {run.seed}, update {number}"
        began = time.perf_counter()
        scored = roll_out(
            self.actors,
            self.task,
            self.batches.batch(number - 1),
            sampling=run.sampling,
            ppo=ppo,
            needs=self.baseline.needs,
            seed_parts=(run.seed, "train", number),
        )
        _check_rollout(scored, where)
        rewards = token_rewards(scored.rollout, scored.scores, ppo=ppo, kl_coef=self.kl_coef, score_std=run.score_std)
        prepared = prepare_experience(self.baseline, scored.rollout, rewards, ppo=ppo)
        rolled_out = time.perf_counter()
        settings = UpdateSettings(
            ppo=ppo,
            temperature=log_prob_temperature(run.sampling),
            kl_coef=self.kl_coef,
            shuffle=self.shuffle,
            exact=self.actors.policy.dtype == torch.float32,
            where=where,
        )
        learning_rate = self.optimizers.policy_schedule.get_last_lr()[0]
        stats = update(
            self.actors, self.optimizers, self.accelerator, self.baseline, prepared.experience, settings=settings
        )
        times = {
            "rollout_seconds": rolled_out - began,
            "update_seconds": time.perf_counter() - rolled_out,
            "reward_wait_seconds": scored.reward_wait_seconds,
        }
        append_jsonl(run.folder / TIMINGS, {"update": number, **times})
        figures = _figures(scored, prepared, stats, self.task, ppo)
        _check_figures(figures, where)
        self.responses += len(scored.responses) + scored.unscored
        self.tokens += int(scored.rollout.tokens.response_mask.sum())
        budget = {"responses_sampled": self.responses, "tokens_sampled": self.tokens}
        line = {"update": number, **budget, "kl_coef": self.kl_coef, "learning_rate": learning_rate, **figures}
        self.kl_coef = next_kl_coef(self.kl_coef, kl=figures["kl"], responses=len(scored.responses), ppo=ppo)
        return line


def planned_updates(ppo: PpoConfig, prompts: int) -> int:
    """Returns the number of updates: as configured, else one pass over the prompts."""
    return ppo.updates or max(1, prompts // ppo.batch_size)


class PromptOrder:
    """The prompts of each update: every pass over the data in an order of its own, the same for all arms of a seed.

    A batch larger than the data holds prompts several times, each time with another sample.
    """

    def __init__(self, prompts: Sequence[Prompt], *, batch_size: int, seed: int) -> None:
        """Keeps the prompts.

        Raises:
            ConfigError: There is none.
        """
        if not prompts:
            raise ConfigError(
                "PPO: the task has no RL prompts (data.limit and data.overlong_prompts may have left none)."
            )
        self._prompts, self._batch_size, self._seed = prompts, batch_size, seed

    def batch(self, number: int) -> list[Prompt]:
        """Returns the prompts of one update, counted from 0."""
        positions = range(number * self._batch_size, (number + 1) * self._batch_size)
        orders = {epoch: self._order(epoch) for epoch in {position // len(self._prompts) for position in positions}}
        return [
            self._prompts[orders[position // len(self._prompts)][position % len(self._prompts)]]
            for position in positions
        ]

    def _order(self, epoch: int) -> np.ndarray[Any, Any]:
        return np.random.default_rng([self._seed, epoch]).permutation(len(self._prompts))


def _check_rollout(scored: ScoredRollout, where: str) -> None:
    rollout = scored.rollout
    for name in ("token_log_probs", "token_ref_log_probs", "token_values"):
        if not bool(torch.isfinite(getattr(rollout, name)).all()):
            raise TrainingError(f"{where}: {name} of the rollout are not finite; lower the learning rate.")


def _figures(
    scored: ScoredRollout, prepared: PreparedExperience, stats: UpdateStats, task: Task, ppo: PpoConfig
) -> dict[str, Any]:
    rollout = scored.rollout
    mask = rollout.tokens.response_mask
    entropies = rollout.token_entropies
    options = ppo.method_options()
    figures: dict[str, Any] = {
        "score": float(scored.scores.mean()),
        "score_std": float(scored.scores.std(unbiased=False)),
        "kl": float((rollout.token_log_probs - rollout.token_ref_log_probs).sum(dim=1).mean()),
        "response_tokens": float(mask.sum(dim=1).float().mean()),
        "truncated": float((~rollout.tokens.finished).float().mean()),
        "unscored": scored.unscored,
        "entropy": float(entropies[mask].mean()) if entropies is not None else math.nan,
        "ratio_deviation": stats.ratio_deviation,
        **stats.figures,
        **macro_figures(
            rollout,
            prepared.experience.segmentation,
            prepared.advantages,
            gamma=ppo.gamma,
            gae_lambda=ppo.gae_lambda,
            lambda_per=options.lambda_per,
        ),
        "fallbacks": prepared.experience.segmentation.fallbacks,
        "macro_length_histogram": macro_length_histogram(prepared.experience.segmentation),
    }
    known = oracle_scores(task, scored.prompts, scored.responses)
    oracle = [value for value in known or () if value is not None]
    if oracle:
        figures["oracle"] = float(np.mean(oracle))
    return figures


def _check_figures(figures: Mapping[str, Any], where: str) -> None:
    bad = [name for name, value in figures.items() if isinstance(value, float) and not math.isfinite(value)]
    if bad:
        raise TrainingError(f"{where}: {', '.join(bad)} is not finite; lower the learning rate or raise ppo.kl_coef.")
