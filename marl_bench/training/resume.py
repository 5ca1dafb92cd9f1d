"""Writes the state of a PPO training at its boundaries, and puts it back."""

from collections.abc import Mapping
from typing import Protocol

import torch

from marl_bench.errors import Interrupted
from marl_bench.training.checkpoint import Checkpoint, Checkpoints
from marl_bench.training.progress import Progress
from marl_bench.training.sharded_state import DividedOptimizer, whole_parts
from marl_bench.training.state import RandomStates, Stateful, TrainedWeights, load_parts, save_parts
from marl_bench.training.update import Learner


class Resumable(Stateful, Protocol):
    """A training loop that can stop at a boundary and go on from there."""

    @property
    def learner(self) -> Learner:
        """What learns."""
        ...

    def position(self) -> str:
        """Names the boundary: after a rollout, an optimizer step or an update; names sort in the order of training."""
        ...

    def fresh_score(self) -> float | None:
        """Returns the mean score of the policy as it stands, right after its rollout."""
        ...


class Boundaries:
    """What happens at each boundary: a checkpoint if one is due, and the stop that the user asked for."""

    def __init__(self, store: Checkpoints | None, training: Resumable, progress: Progress) -> None:
        """Keeps them; without a store nothing is written."""
        self._store, self._training, self._progress = store, training, progress
        self._best: float | None = None

    def restore(self) -> bool:
        """Puts the training back to its newest whole checkpoint; returns False if there is none.

        Raises:
            CheckpointError: The checkpoint is of another training.
        """
        if self._store is None:
            return False
        found = self._store.newest()
        if found is not None:
            load_state(found, self._training)
        self._store.go_on_from(found)
        best = self._store.best()
        self._best = None if best is None else float(best.manifest["score"])
        return found is not None

    def reached(self, *, last: bool = False) -> None:
        """Takes notice that a boundary is reached.

        Raises:
            Interrupted: The user asked to stop; the checkpoint is written.
        """
        if self._store is None:
            return
        stop, score = self._progress.stop_requested(), self._training.fresh_score()
        best = score is not None and self._store.settings.keep_best and (self._best is None or score > self._best)
        if best:
            self._best = score
        if last or stop or best or self._store.due():
            parts = whole_parts(parts_of(self._training), self._training.learner.actors)
            self._store.write(
                self._training.position(), lambda folder: save_parts(folder, parts), score=score if best else None
            )
        if stop and not last:
            raise Interrupted("stopped; the same command again goes on from here.")


def parts_of(training: Resumable) -> Mapping[str, Stateful]:
    """Returns all that a resume needs, one file each. A part of the trainer with a state of its own is added here."""
    actors = training.learner.actors
    parts: dict[str, Stateful] = {"policy": TrainedWeights(actors.policy)}
    if actors.critic is not None:
        parts["critic"] = TrainedWeights(actors.critic)
    for name, (optimizer, schedule) in zip(("policy", "critic"), training.learner.optimizers.pairs(), strict=False):
        parts |= {f"{name}_optimizer": DividedOptimizer(optimizer), f"{name}_schedule": schedule}
    # The random states come last, after all that could draw from them.
    return {**parts, "loop": training, "random": RandomStates()}


def load_state(checkpoint: Checkpoint, training: Resumable) -> None:
    """Puts a training into the state of a checkpoint."""
    device: torch.device = training.learner.actors.policy.device
    load_parts(checkpoint.folder, parts_of(training), device=device)


def policy_weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Returns the policy's trained weights in a checkpoint, as `TrainedWeights` takes them."""
    state: dict[str, torch.Tensor] = torch.load(checkpoint.folder / "policy.pt", map_location="cpu", weights_only=True)
    return state
