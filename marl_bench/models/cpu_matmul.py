"""Matrix products of float32 models on a CPU through oneDNN in place of torch's default library.

torch multiplies float32 matrices with MKL, which leaves the wide vector units of processors that are not Intel's unused: there oneDNN, which
torch brings along, is more than twice as fast at the same precision. Sums run in another order, so results differ in their last bits.
"""

import types
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from marl_bench.config import SpeedConfig
from marl_bench.errors import ConfigError
from marl_bench.models.actors import Actors
from marl_bench.models.rewards import ClassifierReward, TokenReward

_ROWS, _FEW_ROWS = 64, 8
"""Rows are filled up to a multiple of the first, few rows to one of the second: oneDNN compiles and keeps code for every new shape."""
_TOLERANCE = 1e-5
"""Largest difference, relative to the largest number of the product, on the matrices that are tried."""


def with_speed(actors: Actors, speed: SpeedConfig) -> Actors:
    """Returns the models, which multiply as configured from now on; with the defaults they are left as they are.

    Raises:
        ConfigError: The models are not on a CPU in float32, or this torch cannot do it.
    """
    if speed.cpu_matmul == "torch":
        return actors
    _check(actors)
    for model in _models(actors):
        for module in model.modules():
            if type(module) is nn.Linear and module.weight.dtype == torch.float32 and module.out_features > 1:
                module.__dict__["forward"] = types.MethodType(_forward, module)  # stands before the class's own
    return actors


def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Returns `left @ right.T` for [..., K] and [N, K] float32, without gradients."""
    rows = left.reshape(-1, left.shape[-1])
    count = rows.shape[0]
    missing = -count % (_ROWS if count > _ROWS else _FEW_ROWS)
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(_longer(rows, missing), right, None, "none", [], "")
    return found[:count].view(*left.shape[:-1], right.shape[0])


def _sum_of_products(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Returns `left.T @ right` for [M, N] and [M, K]."""
    missing = -left.shape[0] % _ROWS
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
        _longer(left, missing).t(), _longer(right, missing).t(), None, "none", [], ""
    )
    return found


def _longer(rows: torch.Tensor, missing: int) -> torch.Tensor:
    return nn.functional.pad(rows, (0, 0, 0, missing)) if missing else rows


class Linear(torch.autograd.Function):
    """`inputs @ weight.T` with its gradients, all three products by oneDNN."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Returns [..., N] for [..., K] and [N, K]."""
        ctx.save_for_backward(inputs, weight)
        return product(inputs, weight)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Returns the gradients of inputs and weight."""
        inputs, weight = ctx.saved_tensors
        of_inputs = product(gradient, weight.t()) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return of_inputs, None
        rows, read = gradient.reshape(-1, gradient.shape[-1]), inputs.reshape(-1, inputs.shape[-1])
        return of_inputs, _sum_of_products(rows, read)


def _forward(self: nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
    if not inputs.numel():  # a head that is asked for no logits
        return nn.functional.linear(inputs, self.weight, self.bias)
    recorded = torch.is_grad_enabled() and (inputs.requires_grad or self.weight.requires_grad)
    found: torch.Tensor = (
        Linear.apply(inputs, self.weight)  # type: ignore[no-untyped-call]
        if recorded
        else product(inputs, self.weight)
    )
    return found if self.bias is None else found + self.bias


def _models(actors: Actors) -> Iterable[nn.Module]:
    yield from (actors.policy, actors.reference)
    if actors.critic is not None:
        yield actors.critic
    for part in actors.reward.parts:
        if isinstance(part.function, TokenReward | ClassifierReward):
            yield part.function.model


def _check(actors: Actors) -> None:
    device, dtype = actors.policy.device, actors.policy.dtype
    if device.type != "cpu" or dtype != torch.float32:
        raise ConfigError(
            f"speed.cpu_matmul: onednn is for float32 on a CPU, the models are {str(dtype).removeprefix('torch.')} on {device.type}; "
            "set speed.cpu_matmul to torch."
        )
    left, right = torch.linspace(-1, 1, 48).view(8, 6), torch.linspace(1, -2, 30).view(5, 6)
    expected = left @ right.t()
    try:
        difference = float((product(left, right) - expected).abs().max() / expected.abs().max())
    except (AttributeError, RuntimeError) as error:
        raise ConfigError(
            f"speed.cpu_matmul: this torch ({torch.__version__}) has no oneDNN product ({error}); set it to torch."
        ) from error
    if not difference <= _TOLERANCE:
        raise ConfigError(
            f"speed.cpu_matmul: oneDNN's product differs from torch's by {difference:.2g} here; set it to torch."
        )
