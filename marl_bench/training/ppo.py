"""The shared PPO trainer: roll out, segment, reward, advantages, experience, update, observe KL.

Token PPO is this trainer with one token a macro action.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from marl_bench.config import PpoConfig, SamplingConfig
from marl_bench.config_guards import GuardConfig
from marl_bench.errors import ConfigError
from marl_bench.evaluation.measure import oracle_scores
from marl_bench.interfaces import PolicyBaseline, Task
from marl_bench.macro.diagnostics import macro_figures, macro_length_histogram
from marl_bench.models.actors import Actors
from marl_bench.models.quantization import is_exact
from marl_bench.models.responses import log_prob_temperature
from marl_bench.records import Prompt
from marl_bench.run_dir import CURVE, TIMINGS, append_jsonl
from marl_bench.training.checkpoint import Checkpoints
from marl_bench.training.experience import PreparedExperience, prepare_experience, token_rewards
from marl_bench.training.guards import Watch
from marl_bench.training.kl_control import next_kl_coef
from marl_bench.training.optimizer_memory import learner_present
from marl_bench.training.progress import Progress, report_step
from marl_bench.training.resume import Boundaries
from marl_bench.training.rollout import ScoredRollout, roll_out, rollout_figures
from marl_bench.training.state import packed, unpacked
from marl_bench.training.update import Learner, Tally, UpdateSettings, make_optimizers, minibatch_order, update


@dataclasses.dataclass(frozen=True)
class PpoRun:
    """What a PPO training is made of.

    Attributes:
        arm: Name of the arm, for errors and progress.
        seed: Seed of the cell.
        sampling: How responses are drawn.
        score_std: Spread of the scores over SFT samples, for scaled scores.
        folder: Where `metrics.jsonl` and `timings.jsonl` go.
        checkpoints: Of this training; None keeps none.
        guards: What happens when the training goes wrong.
        importance_cap: Bound of the importance weights for responses of another engine, or None.
    """

    arm: str
    seed: int
    sampling: SamplingConfig
    score_std: float
    folder: Path
    checkpoints: Checkpoints | None = None
    guards: GuardConfig = dataclasses.field(default_factory=GuardConfig)
    importance_cap: float | None = None


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a training used."""

    updates: int
    responses_sampled: int
    tokens_sampled: int


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where a training stands between two updates, beside weights and optimizers.

    Attributes:
        updates: Finished updates.
        kl_coef: Coefficient of the KL in the next one.
        responses: Responses sampled so far, unscored ones included.
        tokens: Response tokens sampled so far.
    """

    updates: int
    kl_coef: float
    responses: int = 0
    tokens: int = 0


@dataclasses.dataclass(frozen=True)
class Pending:
    """A rollout that the policy has not learnt from, or not wholly.

    Attributes:
        scored: The responses and their scores.
        prepared: What the update reads.
        order: Rows of each optimizer step.
        tally: Of the optimizer steps taken.
        learning_rate: Of the policy at the update's first optimizer step.
        seconds: Name to time of what was done.
    """

    scored: ScoredRollout
    prepared: PreparedExperience
    order: Sequence[torch.Tensor]
    tally: Tally
    learning_rate: float
    seconds: Mapping[str, float]


def train_ppo(
    run: PpoRun, actors: Actors, task: Task, baseline: PolicyBaseline, prompts: Sequence[Prompt], progress: Progress
) -> Budget:
    """Trains `actors.policy` (and critic) in place, writing one line an update to the cell's folder; goes on from its newest checkpoint.

    Raises:
        TrainingError: Something is not finite or an invariant broke; the lines of the finished updates stay.
        CheckpointError: The newest checkpoint is of another training.
        Interrupted: The user asked to stop.
    """
    trainer = _Trainer(run, actors, task, baseline, prompts)
    boundaries = Boundaries(run.checkpoints, trainer, progress)
    if boundaries.restore():
        progress.resumed("ppo", trainer.standing.updates, trainer.updates)
    trainer.watch.remember()
    while trainer.standing.updates < trainer.updates:
        line = trainer.step(boundaries.reached)
        append_jsonl(run.folder / CURVE, line)
        trainer.watch.take(line, progress)
        boundaries.reached(last=trainer.standing.updates == trainer.updates)
        report_step(progress, "ppo", trainer.standing.updates, trainer.updates, score=line["score"], kl=line["kl"])
    standing = trainer.standing
    return Budget(standing.updates, standing.responses, standing.tokens)


class _Trainer:
    """The state that goes from update to update."""

    def __init__(
        self, run: PpoRun, actors: Actors, task: Task, baseline: PolicyBaseline, prompts: Sequence[Prompt]
    ) -> None:
        ppo = baseline.ppo
        self.run, self.task, self.ppo = run, task, ppo
        group_size = ppo.group_size if "groups" in baseline.needs else 1
        self.batches = PromptOrder(prompts, batch_size=ppo.batch_size, seed=run.seed, group_size=group_size)
        self.updates = ppo.planned_updates(len(prompts))
        steps = self.updates * ppo.ppo_epochs * min(ppo.minibatches, ppo.batch_size)
        self.learner = Learner(actors, make_optimizers(actors, ppo, steps=steps), Accelerator(), baseline)
        self.shuffle = torch.Generator().manual_seed(run.seed)
        self.standing = Standing(0, ppo.kl_coef)
        self.pending: Pending | None = None
        self.watch = Watch(run.guards, run.folder, actors.halvings, actors.world)

    @property
    def where(self) -> str:
        """Names arm, seed and update in errors."""
        return f"arm '{self.run.arm}', seed {self.run.seed}, update {self.standing.updates + 1}"

    def position(self) -> str:
        """Names the boundary that is reached."""
        between = f"update-{self.standing.updates:06d}"
        return between if self.pending is None else f"{between}-step-{self.pending.tally.steps:06d}"

    def fresh_score(self) -> float | None:
        """Returns the mean score of the rollout if the policy is still the one that sampled it."""
        pending = self.pending
        return None if pending is None or pending.tally.steps else float(pending.scored.scores.mean())

    def state_dict(self) -> dict[str, Any]:
        """Returns where the loop stands; models and optimizers are saved beside it."""
        return {
            "standing": packed(self.standing),
            "pending": packed(self.pending),
            "shuffle": self.shuffle.get_state(),
            "halvings": self.learner.actors.halvings.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to where the loop stood."""
        self.standing, self.pending = unpacked(state["standing"]), unpacked(state["pending"])
        self.shuffle.set_state(state["shuffle"])
        self.learner.actors.halvings.load_state_dict(state["halvings"])

    def step(self, reached: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Makes one update, or the rest of it, and returns its line of the curve: roll out, reward, experience, update, observe KL.

        Args:
            reached: Called at each boundary within: after the rollout and after each optimizer step.
        """
        if self.pending is None:
            self.pending = self._roll_out()
            reached()
        self.pending = self._learn(self.pending, reached)
        line = self._observe(self.pending)
        self.pending = None
        return line

    def _roll_out(self) -> Pending:
        run, ppo, number = self.run, self.ppo, self.standing.updates
        began = time.perf_counter()
        scored = roll_out(
            self.learner.actors,
            self.task,
            self.batches.batch(number),
            sampling=run.sampling,
            ppo=ppo,
            needs=self.learner.baseline.needs,
            seed_parts=(run.seed, "train", number + 1),
        )
        self.watch.check_rollout(scored, self.where)
        rewards = token_rewards(
            scored.rollout, scored.scores, ppo=ppo, kl_coef=self.standing.kl_coef, score_std=run.score_std
        )
        prepared = prepare_experience(
            self.learner.baseline, scored.rollout, rewards, ppo=ppo, importance_cap=run.importance_cap
        )
        order = minibatch_order(len(prepared.experience.tokens), ppo, self.shuffle)
        seconds = {"rollout": time.perf_counter() - began, "reward_wait": scored.reward_wait_seconds}
        learning_rate = self.learner.optimizers.policy_schedule.get_last_lr()[0]
        tally = Tally(skipped_in_a_row=self.watch.history.skipped_steps)
        return Pending(scored, prepared, order, tally, learning_rate, seconds)

    def _learn(self, pending: Pending, reached: Callable[[], None]) -> Pending:
        before, began = pending.seconds.get("update", 0.0), time.perf_counter()
        settings = UpdateSettings(
            ppo=self.ppo,
            temperature=log_prob_temperature(self.run.sampling),
            kl_coef=self.standing.kl_coef,
            exact=is_exact(self.learner.actors.policy),
            guards=self.run.guards,
            where=self.where,
        )

        def stands(tally: Tally) -> Pending:
            seconds = {**pending.seconds, "update": before + time.perf_counter() - began}
            return dataclasses.replace(pending, tally=tally, seconds=seconds)

        def after_step(tally: Tally) -> None:
            self.pending = stands(tally)
            reached()

        experience = pending.prepared.experience
        with learner_present(self.learner.actors, self.learner.optimizers.pairs()):
            tally = update(
                self.learner,
                experience,
                pending.order,
                settings=settings,
                tally=pending.tally,
                after_step=after_step,
            )
        return stands(tally)

    def _observe(self, pending: Pending) -> dict[str, Any]:
        """Writes down what the update was, moves the KL coefficient and returns the line of the curve."""
        standing, scored = self.standing, pending.scored
        number = standing.updates + 1
        times = {f"{name}_seconds": value for name, value in pending.seconds.items()}
        append_jsonl(self.run.folder / TIMINGS, {"update": number, **times})
        figures = _figures(scored, pending.prepared, pending.tally, self.task, self.ppo)
        figures |= self.watch.warned(scored, figures, self.where)
        self.standing = Standing(
            updates=number,
            kl_coef=next_kl_coef(standing.kl_coef, kl=figures["kl"], responses=len(scored.responses), ppo=self.ppo),
            responses=standing.responses + len(scored.responses) + scored.unscored,
            tokens=standing.tokens + int(scored.rollout.tokens.response_mask.sum()),
        )
        budget = {"responses_sampled": self.standing.responses, "tokens_sampled": self.standing.tokens}
        rate = {"kl_coef": standing.kl_coef, "learning_rate": pending.learning_rate}
        return {"update": number, **budget, **rate, **figures}


class PromptOrder:
    """The prompts of each update: every pass over the data in an order of its own, the same for all arms of a seed.

    A batch larger than the data holds prompts several times, each time with another sample; with groups, every prompt stands `group_size`
    times.
    """

    def __init__(self, prompts: Sequence[Prompt], *, batch_size: int, seed: int, group_size: int = 1) -> None:
        """Keeps the prompts.

        Raises:
            ConfigError: There is none, or the batch is no whole number of groups.
        """
        if batch_size % group_size:
            raise ConfigError(
                f"ppo.batch_size {batch_size} is no multiple of ppo.group_size {group_size}; change one of them."
            )
        if not prompts:
            raise ConfigError(
                "PPO: the task has no RL prompts (data.limit and data.overlong_prompts may have left none)."
            )
        self._prompts, self._seed = prompts, seed
        self._distinct, self._group_size = batch_size // group_size, group_size

    def batch(self, number: int) -> list[Prompt]:
        """Returns the prompts of one update, counted from 0."""
        positions = range(number * self._distinct, (number + 1) * self._distinct)
        orders = {epoch: self._order(epoch) for epoch in {position // len(self._prompts) for position in positions}}
        return [
            self._prompts[orders[position // len(self._prompts)][position % len(self._prompts)]]
            for position in positions
            for _ in range(self._group_size)
        ]

    def _order(self, epoch: int) -> np.ndarray[Any, Any]:
        return np.random.default_rng([self._seed, epoch]).permutation(len(self._prompts))


def _figures(
    scored: ScoredRollout, prepared: PreparedExperience, tally: Tally, task: Task, ppo: PpoConfig
) -> dict[str, Any]:
    options = ppo.method_options()
    figures: dict[str, Any] = {
        **rollout_figures(scored),
        "ratio_deviation": tally.ratio_deviation,
        **tally.figures(),
        **macro_figures(
            scored.rollout,
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
