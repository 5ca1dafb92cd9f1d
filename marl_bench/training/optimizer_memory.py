"""Adam with float32 weights of its own for a bfloat16 model, and optimizer state that waits on the CPU.

In bfloat16 the neighbours of a weight of 1 are 0.996 and 1.008: a step of 1e-6 is lost in rounding, and so are a thousand of them.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from marl_bench.models.actors import Actors
from marl_bench.models.offload import CPU
from marl_bench.models.sharding import divided_like

_HOOKS = "marl_bench_master_hooks"
_MASTERS = "masters"


def with_masters(
    model: nn.Module, weights: Sequence[nn.Parameter], make: Callable[[Sequence[nn.Parameter]], Any]
) -> Any:
    """Returns an optimizer over float32 copies of the trained weights that are not float32; those that are, it trains themselves.

    Gradients are added up on the copies in float32, micro-batch by micro-batch, and each step rounds the copies into the model. The copies are
    part of the optimizer's `state_dict`. A model has one such optimizer; making another one ends the first.

    Args:
        model: The model.
        weights: Those of its weights that are trained.
        make: Makes the optimizer from what it trains.
    """
    for handle in getattr(model, _HOOKS, ()):
        handle.remove()
    pairs: list[tuple[nn.Parameter, nn.Parameter]] = []
    trained: list[nn.Parameter] = []
    for weight in weights:
        if weight.dtype != torch.float32:
            pairs.append((weight, nn.Parameter(weight.detach().float())))
        trained.append(weight if weight.dtype == torch.float32 else pairs[-1][1])
    optimizer = make(trained)
    masters = [master for _, master in pairs]

    @torch.no_grad()
    def round_into_the_model(*_: Any) -> None:
        for weight, master in pairs:
            weight.copy_(master)

    def add_masters(_: Any, state: dict[str, Any]) -> dict[str, Any]:
        return {**state, _MASTERS: [master.detach() for master in masters]}

    @torch.no_grad()
    def take_masters(_: Any, state: dict[str, Any]) -> dict[str, Any]:
        for master, stored in zip(masters, state[_MASTERS], strict=True):
            master.copy_(divided_like(stored, master))
        round_into_the_model()
        return {name: value for name, value in state.items() if name != _MASTERS}

    optimizer.register_step_post_hook(round_into_the_model)
    optimizer.register_state_dict_post_hook(add_masters)
    optimizer.register_load_state_dict_pre_hook(take_masters)
    setattr(model, _HOOKS, [weight.register_post_accumulate_grad_hook(_collect(master)) for weight, master in pairs])
    return optimizer


def trained_parameters(optimizer: Any) -> list[nn.Parameter]:
    """Returns what an optimizer trains, on which the gradients are."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


@contextlib.contextmanager
def learner_present(actors: Actors, optimizers: Iterable[tuple[Any, Any]]) -> Iterator[None]:
    """Has what is needed for optimizer steps on the device within, where it waits on the CPU otherwise.

    Args:
        actors: The models, which are brought when they are called.
        optimizers: With their schedulers.
    """
    if actors.offload is None:
        yield
        return
    found = [optimizer for optimizer, _ in optimizers]
    for optimizer in found:
        move_state(optimizer, actors.policy.device)
    try:
        yield
    finally:
        actors.rest()
        for optimizer in found:
            move_state(optimizer, CPU)


def move_state(optimizer: Any, device: torch.device) -> None:
    """Moves what belongs to the optimizer alone: moments, and the float32 weights of a bfloat16 model."""
    for state in optimizer.state.values():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and name != "step":  # counted on the CPU wherever the weights are
                state[name] = value.to(device)
    for parameter in trained_parameters(optimizer):
        if getattr(parameter, _MASTERS, False):
            parameter.data = parameter.data.to(device)


def _collect(master: nn.Parameter) -> Callable[[torch.Tensor], None]:
    setattr(master, _MASTERS, True)

    def collect(weight: torch.Tensor) -> None:
        assert weight.grad is not None  # it was just accumulated
        gradient = weight.grad.to(master.dtype)
        master.grad = gradient if master.grad is None else master.grad.add_(gradient)
        weight.grad = None

    return collect
