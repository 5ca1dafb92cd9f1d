"""The state of divided models in checkpoints: gathered whole and written once, so that any number of processes can go on from it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from marl_bench.models.actors import Actors
from marl_bench.models.sharding import divided_like, is_sharded, whole
from marl_bench.training.optimizer_memory import trained_parameters
from marl_bench.training.state import Stateful


@dataclasses.dataclass(frozen=True)
class DividedOptimizer:
    """An optimizer whose whole state can be loaded where its weights are divided; where they are not, it is the plain optimizer."""

    optimizer: Any

    def state_dict(self) -> dict[str, Any]:
        """Returns the optimizer's own state, its tensors as they are here."""
        state: dict[str, Any] = self.optimizer.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Loads the optimizer; every process takes its shards."""
        weights = trained_parameters(self.optimizer)
        if not is_sharded(weights):
            self.optimizer.load_state_dict(state)
            return
        divided = {
            index: {name: _like(value, weights[index]) for name, value in found.items()}
            for index, found in state["state"].items()
        }
        self.optimizer.load_state_dict({**state, "state": divided})


@dataclasses.dataclass(frozen=True)
class _Whole:
    """A part as it was when it was gathered; it is only saved."""

    state: dict[str, Any]

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise NotImplementedError


def whole_parts(parts: Mapping[str, Stateful], actors: Actors) -> Mapping[str, Stateful]:
    """Returns the parts ready to be saved by the first process; all call it where models are divided."""
    if not is_sharded(list(actors.policy.parameters())):
        return parts
    return {name: _Whole(whole(part.state_dict(), kept=actors.world.is_main)) for name, part in parts.items()}


def _like(value: Any, weight: torch.Tensor) -> Any:
    """Returns the moments of a weight divided as it is; counts stay whole."""
    return divided_like(value, weight) if isinstance(value, torch.Tensor) and value.shape == weight.shape else value
