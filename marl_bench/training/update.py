"""One PPO update: optimizer steps over an experience in micro-batches, averaged over the step's global counts."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator

from marl_bench.batches import Experience, StepCounts, TokenOutputs
from marl_bench.config import MemoryConfig, PpoConfig
from marl_bench.config_guards import GuardConfig
from marl_bench.errors import TrainingError
from marl_bench.interfaces import PolicyBaseline
from marl_bench.models.actors import Actors
from marl_bench.models.adapters import trainable_parameters
from marl_bench.models.batch_sizes import BatchSize
from marl_bench.models.out_of_memory import TRAINING
from marl_bench.models.scoring import micro_batches, response_log_probs
from marl_bench.training.guards import SKIPPED, SKIPPED_IN_A_ROW, first_not_finite, how_to_go_on
from marl_bench.training.optimizer_memory import trained_parameters, with_masters
from marl_bench.training.shares import MICRO_BATCH, check_same_weights, clip_gradients, going_along, in_row_shares

MEAN_RATIO_DEVIATION = "mean_ratio_deviation"
"""Figure of the curve where weights are not float32: mean |ratio - 1| before the first optimizer step."""
_REMEDY = "Lower ppo.learning_rate or raise ppo.kl_coef"


@dataclasses.dataclass(frozen=True)
class Optimizers:
    """Optimizers and learning-rate schedulers; those of the critic are None for baselines without one."""

    policy: Any
    policy_schedule: Any
    critic: Any
    critic_schedule: Any

    def pairs(self) -> Iterator[tuple[Any, Any]]:
        """Yields (optimizer, scheduler)."""
        yield self.policy, self.policy_schedule
        if self.critic is not None:
            yield self.critic, self.critic_schedule

    def zero_gradients(self) -> None:
        """Forgets the gradients that have been added up."""
        for optimizer, _ in self.pairs():
            optimizer.zero_grad(set_to_none=True)


@dataclasses.dataclass(frozen=True)
class Learner:
    """What learns, and how it is told to.

    Attributes:
        actors: The models; policy and critic are changed in place.
        optimizers: Of policy and critic.
        accelerator: Runs backward passes and clips gradients.
        baseline: Gives the losses.
    """

    actors: Actors
    optimizers: Optimizers
    accelerator: Accelerator
    baseline: PolicyBaseline


@dataclasses.dataclass(frozen=True)
class Tally:
    """What the optimizer steps of an update have come to so far.

    Attributes:
        steps: Optimizer steps taken or left out.
        tokens: Response tokens of these steps.
        sums: Name to value: losses and gradient norms of the last step, clip fraction and approximate KL summed over tokens.
        ratio_deviation: Largest |ratio - 1| before the first optimizer step.
        skipped: Steps that were left out because something was not finite.
        skipped_in_a_row: The last so many steps, those of earlier updates included.
    """

    steps: int = 0
    tokens: int = 0
    sums: Mapping[str, float] = dataclasses.field(default_factory=dict)
    ratio_deviation: float = 0.0
    skipped: int = 0
    skipped_in_a_row: int = 0

    def figures(self) -> dict[str, float]:
        """Returns the figures of the update, clip fraction and approximate KL as means over tokens."""
        means = ("clip_fraction", "approximate_kl")
        skipped = {SKIPPED: self.skipped, SKIPPED_IN_A_ROW: self.skipped_in_a_row} if self.skipped else {}
        found = {name: value / max(self.tokens, 1) if name in means else value for name, value in self.sums.items()}
        return {**found, **skipped}


def make_optimizers(actors: Actors, ppo: PpoConfig, *, steps: int) -> Optimizers:
    """Makes Adam and schedule for policy and critic; `steps` optimizer steps will be taken."""
    from transformers import get_scheduler

    def pair(model: torch.nn.Module | None, learning_rate: float) -> tuple[Any, Any]:
        if model is None:
            return None, None
        betas = (ppo.adam_betas[0], ppo.adam_betas[1])
        trained = list(trainable_parameters(model).values())
        make = functools.partial(torch.optim.AdamW, lr=learning_rate, betas=betas, weight_decay=ppo.weight_decay)
        optimizer = make(trained) if actors.memory.master_weights is None else with_masters(model, trained, make)
        warmup = ppo.warmup_steps(steps=steps)
        return optimizer, get_scheduler(ppo.schedule, optimizer, num_warmup_steps=warmup, num_training_steps=steps)

    return Optimizers(*pair(actors.policy, ppo.learning_rate), *pair(actors.critic, ppo.critic_learning_rate))


@dataclasses.dataclass(frozen=True)
class UpdateSettings:
    """What an update needs beside models and experience.

    Attributes:
        ppo: Settings of the trainer.
        temperature: At which log-probs are taken.
        kl_coef: Coefficient of the KL as it stands.
        exact: True where weights are float32, so that every ratio is checked; else their mean is.
        where: Names arm, seed and update in errors.
        guards: What happens where something is not finite.
    """

    ppo: PpoConfig
    temperature: float
    kl_coef: float
    exact: bool
    where: str
    guards: GuardConfig = dataclasses.field(default_factory=GuardConfig)


def minibatch_order(rows: int, ppo: PpoConfig, shuffle: torch.Generator) -> list[torch.Tensor]:
    """Returns the rows of each optimizer step of an update, epoch by epoch."""
    order: list[torch.Tensor] = []
    for _ in range(ppo.ppo_epochs):
        epoch = torch.randperm(rows, generator=shuffle) if ppo.minibatches > 1 else torch.arange(rows)
        order += torch.tensor_split(epoch, min(ppo.minibatches, rows))
    return order


def update(
    learner: Learner,
    experience: Experience,
    order: Sequence[torch.Tensor],
    *,
    settings: UpdateSettings,
    tally: Tally = Tally(),
    after_step: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Takes the optimizer steps of one update that are left.

    Args:
        learner: What learns.
        experience: What it learns from.
        order: Rows of each optimizer step.
        settings: What the update needs beside.
        tally: Of the steps that were taken before.
        after_step: Called after each step with the tally so far.

    Raises:
        TrainingError: A loss is not finite, before the first step the ratio is not 1, or the processes' weights have come apart.
    """
    for index in order[tally.steps :]:
        part = experience.rows(index, tokens=experience.tokens.rows(index))
        tally = _optimizer_step(learner, part, tally, settings)
        after_step(tally)
    check_same_weights(learner.actors.world, _trained(learner), where=settings.where)
    return tally


def _optimizer_step(learner: Learner, part: Experience, tally: Tally, settings: UpdateSettings) -> Tally:
    counts = _counts(part)
    size, first = learner.actors.micro_batch(settings.ppo.micro_batch_size), tally.steps == 0

    def share(own: Experience) -> _Added:
        return learner.actors.halvings.retried(
            TRAINING,
            min(size.rows, len(own.tokens)),
            lambda rows: _add_gradients(
                learner, own, counts, settings, size=dataclasses.replace(size, rows=rows), first=first
            ),
            clear=learner.optimizers.zero_gradients,
        )

    def nothing(row: Experience) -> None:
        _add_micro_batch(learner, row, counts, settings, first=False, counted=False)

    world, trained = learner.actors.world, _trained(learner)
    with going_along(world, trained, part, nothing):
        added = _Added.joined(in_row_shares(world, trained, part, share))
    norms = _clip_gradients(learner, settings.ppo)
    wrong = first_not_finite({**added.losses, **norms})
    if wrong and settings.guards.not_finite == "skip":
        return _left_out(learner, tally, wrong, settings)
    if first:
        _check_ratio(added, learner.actors.memory, settings)
    if wrong:  # before the step, so that the weights stay those of the last good one
        raise TrainingError(f"{settings.where}: {wrong}. {how_to_go_on(_REMEDY)}")
    _step(learner.optimizers)
    sums = {name: tally.sums.get(name, 0.0) + value for name, value in added.sums.items()}
    return Tally(
        steps=tally.steps + 1,
        tokens=tally.tokens + counts.tokens,
        sums={**tally.sums, **sums, **added.losses, **norms},
        ratio_deviation=max(tally.ratio_deviation, added.ratio_deviation),
        skipped=tally.skipped,
    )


@dataclasses.dataclass(frozen=True)
class _Added:
    """What came of the micro-batches of one optimizer step: losses, summed figures, and |ratio - 1| where it was measured."""

    losses: Mapping[str, float]
    sums: Mapping[str, float]
    ratio_deviation: float

    @classmethod
    def joined(cls, parts: "Sequence[_Added]") -> "_Added":
        """Returns what came of all parts together."""
        if len(parts) == 1:
            return parts[0]
        losses, sums = (
            {name: sum(values[name] for values in found) for name in found[0]}
            for found in ([part.losses for part in parts], [part.sums for part in parts])
        )
        # max() would lose a NaN that does not come first.
        return cls(losses, sums, float(torch.tensor([part.ratio_deviation for part in parts]).max()))


def _add_gradients(
    learner: Learner, part: Experience, counts: StepCounts, settings: UpdateSettings, *, size: BatchSize, first: bool
) -> _Added:
    """Adds up the gradients of a minibatch, as many rows at once as `size` allows."""
    losses = {"policy_loss": 0.0, "critic_loss": 0.0}
    sums: dict[str, float] = {}
    deviation = 0.0
    for rows, row_tokens in micro_batches(part.tokens, size=size):
        minibatch = part.rows(rows, tokens=row_tokens)
        with learner.actors.world.in_turn(MICRO_BATCH):
            found = _add_micro_batch(learner, minibatch, counts, settings, first=first)
        deviation = max(deviation, found.ratio_deviation)
        for total, added in ((losses, found.losses), (sums, found.sums)):
            for name, value in added.items():
                total[name] = total.get(name, 0.0) + value
    return _Added(losses, sums, deviation)


def _add_micro_batch(
    learner: Learner,
    minibatch: Experience,
    counts: StepCounts,
    settings: UpdateSettings,
    *,
    first: bool,
    counted: bool = True,
) -> _Added:
    """Adds up the gradients of one forward and backward pass; those of one that is not counted are 0."""
    actors, tokens = learner.actors, minibatch.tokens
    log_probs = response_log_probs(actors.policy, tokens, temperature=settings.temperature).token_log_probs
    values = minibatch.token_values if actors.critic is None else actors.critic(tokens, ahead=True)
    losses: dict[str, float] = {}
    deviation = 0.0
    if first:
        deviation, total = _ratio_deviation(log_probs, minibatch)
        if not settings.exact:  # rounding makes single ratios jump, their mean tells whether both see the same
            losses[MEAN_RATIO_DEVIATION] = total / max(counts.tokens, 1)
    terms = learner.baseline.loss(minibatch, TokenOutputs(log_probs, values, counts, settings.kl_coef))
    loss = terms.policy + terms.critic if actors.critic is not None else terms.policy
    learner.accelerator.backward(loss if counted else loss * 0)
    losses |= {"policy_loss": float(terms.policy.detach()), "critic_loss": float(terms.critic.detach())}
    return _Added(losses, {name: float(value) for name, value in terms.sums.items()}, deviation)


def _trained(learner: Learner) -> list[torch.nn.Parameter]:
    return [parameter for optimizer, _ in learner.optimizers.pairs() for parameter in trained_parameters(optimizer)]


def _counts(experience: Experience) -> StepCounts:
    parts = experience.segmentation
    return StepCounts(
        tokens=int((parts.macro_ids >= 0).sum()),
        macros=int((parts.macro_lengths > 0).sum()),
        responses=len(experience.tokens),
    )


def _ratio_deviation(log_probs: torch.Tensor, minibatch: Experience) -> tuple[float, float]:
    """Returns the largest |ratio - 1| and the sum of all."""
    mask = minibatch.tokens.response_mask
    deviations = ((log_probs.detach() - minibatch.token_log_probs)[mask].exp() - 1).abs()
    return (float(deviations.max()), float(deviations.sum())) if deviations.numel() else (0.0, 0.0)


def _check_ratio(added: _Added, memory: MemoryConfig, settings: UpdateSettings) -> None:
    what, found, allowed = "", added.ratio_deviation, settings.ppo.max_ratio_deviation
    if not settings.exact:
        what, found, allowed = " in the mean", added.losses[MEAN_RATIO_DEVIATION], memory.max_mean_ratio_deviation
    # Written so that NaN fails the comparison too.
    if not found <= allowed:
        raise TrainingError(
            f"{settings.where}: before the first optimizer step the ratio of new to old probabilities differs from 1 by {found:.3g}{what}, "
            f"allowed are {allowed:.3g}; rollout and update do not see the same policy or the same text."
        )


def _clip_gradients(learner: Learner, ppo: PpoConfig) -> dict[str, float]:
    """Clips the gradients and returns their norms before."""
    norms = {}
    optimizers = learner.optimizers
    for name, optimizer in (("policy_gradient_norm", optimizers.policy), ("critic_gradient_norm", optimizers.critic)):
        if optimizer is not None:
            norms[name] = clip_gradients(learner.accelerator, trained_parameters(optimizer), ppo.max_grad_norm)
    return norms


def _step(optimizers: Optimizers) -> None:
    for optimizer, schedule in optimizers.pairs():
        optimizer.step()
        schedule.step()
    optimizers.zero_gradients()


def _left_out(learner: Learner, tally: Tally, wrong: str, settings: UpdateSettings) -> Tally:
    """Leaves an optimizer step out; the schedules go on, so that the learning rate of an update does not depend on what was left out before."""
    in_a_row = tally.skipped_in_a_row + 1
    if in_a_row > settings.guards.max_skipped_steps:
        raise TrainingError(
            f"{settings.where}: {wrong}, and the {tally.skipped_in_a_row} optimizer steps before were left out for such a reason "
            f"(guards.max_skipped_steps). {how_to_go_on(_REMEDY)}"
        )
    learner.optimizers.zero_gradients()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch misses an optimizer's step before that of the schedule
        for _, schedule in learner.optimizers.pairs():
            schedule.step()
    return dataclasses.replace(tally, steps=tally.steps + 1, skipped=tally.skipped + 1, skipped_in_a_row=in_a_row)
