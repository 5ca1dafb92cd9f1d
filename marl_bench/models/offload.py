"""Models that wait on the CPU while they are not used; on a machine without another device nothing moves."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

CPU = torch.device("cpu")

Move = Callable[[nn.Module, torch.device], Any]


class Offload:
    """Brings a model to the device when it is called, and sends the one before back: one of them is there at a time."""

    def __init__(
        self, models: Sequence[nn.Module], device: torch.device, *, move: Move = lambda model, to: model.to(to)
    ) -> None:
        """Sends the models to the CPU.

        Args:
            models: Those that wait; what is called must be these modules themselves.
            device: Where they work.
            move: Moves one of them.
        """
        self.device, self._move = device, move
        self._present: nn.Module | None = None
        for model in models:
            move(model, CPU)
            model.register_forward_pre_hook(lambda model, _: self._bring(model))

    def rest(self) -> None:
        """Sends back the model that is on the device."""
        if self._present is not None:
            self._move(self._present, CPU)
            self._present = None

    def _bring(self, model: nn.Module) -> None:
        if self._present is not model:
            self.rest()
            self._move(model, self.device)
            self._present = model
