"""Models that are divided over the processes of a run, layer by layer (FSDP2): each forward and backward pass puts a layer together, uses it
and lets it go again.

All processes have to take part in every pass, so each pass is a turn: who has no rows left goes along with one token that counts nothing.
Gradients are added over the processes, never averaged; losses are divided by global counts before.
"""

import gc
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from marl_bench.batches import Tokens
from marl_bench.errors import ModelError
from marl_bench.models.actors import Actors
from marl_bench.models.forward import IN_ONE_PASS
from marl_bench.models.rewards import ClassifierReward, TokenReward
from marl_bench.models.scoring import TokenValues, response_log_probs
from marl_bench.world import World


def sharded(actors: Actors, device: torch.device) -> Actors:
    """Divides policy, critic, reference and reward model in place over the processes of `actors.world`, and returns them.

    Want of memory is an error from here on: a process cannot begin a pass again alone.

    Args:
        actors: The models, best on the CPU: a layer goes to the device when it is divided.
        device: Of this process.

    Raises:
        ModelError: The layers of a model are not known.
    """
    from torch.distributed.device_mesh import init_device_mesh

    gc.collect()  # the models of the cell before are in cycles with their hooks
    world = actors.world
    mesh = init_device_mesh(device.type, (world.size,))
    for name, model in _models(actors):
        _shard(model, mesh, name=name)
        _take_turns(model, world, name=name)
    for part in actors.reward.parts:
        if isinstance(part.function, ClassifierReward):
            part.function.model.to(device)
    actors.halvings.forbid()
    return actors


def is_sharded(weights: Sequence[torch.Tensor]) -> bool:
    """Returns True if weights are divided over processes."""
    from torch.distributed.tensor import DTensor

    return any(isinstance(weight, DTensor) for weight in weights)


def whole(value: Any, *, kept: bool = True) -> Any:
    """Returns nested containers with whole tensors, on the CPU, in place of divided ones; all processes must call it.

    Args:
        value: Tensors, numbers and texts in dicts, lists and tuples.
        kept: False on processes that only give their shards; they get None in place of the tensors.
    """
    from torch.distributed.tensor import DTensor

    if isinstance(value, DTensor):
        found = value.full_tensor()
        return found.cpu() if kept else None
    if isinstance(value, dict):
        return {key: whole(item, kept=kept) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(whole(item, kept=kept) for item in value)
    return value


def divided_like(found: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Returns a whole tensor, which every process has, divided as `weight` is; as it is where that is whole."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(weight, DTensor):
        return found
    on_device = found.to(weight.device)
    return distribute_tensor(on_device, weight.device_mesh, weight.placements, src_data_rank=None)


def whole_weights(model: nn.Module, *, kept: bool) -> dict[str, torch.Tensor]:
    """Returns a model's `state_dict` with whole tensors on the CPU; all processes must call it, and those that do not keep it get no tensors."""
    found: dict[int, Any] = {}

    def of(weight: torch.Tensor) -> Any:
        # Tied weights are one tensor, here too.
        if id(weight) not in found:
            found[id(weight)] = whole(weight.detach(), kept=kept)
        return found[id(weight)]

    return {name: of(weight) for name, weight in model.state_dict(keep_vars=True).items()}


def _models(actors: Actors) -> Iterator[tuple[str, nn.Module]]:
    """Yields the models in the order in which a rollout uses them."""
    yield "policy", actors.policy
    if actors.critic is not None:
        yield "critic", actors.critic
    yield "reference", actors.reference
    for part in actors.reward.parts:
        if isinstance(part.function, TokenReward):
            yield "reward model", part.function.model


def _shard(model: Any, mesh: Any, *, name: str) -> None:
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    classifier = model.classifier if isinstance(model, TokenValues) else model
    kinds = set(classifier._no_split_modules or ())
    layers = [module for module in model.modules() if type(module).__name__ in kinds]
    if not layers:
        raise ModelError(
            f"memory.shard: the {name} ({type(classifier).__name__}) does not say what its layers are (_no_split_modules); "
            "set memory.shard to false."
        )
    in_float32 = MixedPrecisionPolicy(
        reduce_dtype=torch.float32
    )  # the sums over processes; passes are in the weights' type
    for module in (*layers, model):
        # Let go after the forward pass, embeddings and head too: what is read or changed between passes are the shards.
        shards = fully_shard(module, mesh=mesh, reshard_after_forward=True, mp_policy=in_float32)
        shards.set_gradient_divide_factor(1.0)
        shards.set_force_sum_reduction_for_comms(True)  # a plain sum, which gloo can too


def _take_turns(model: nn.Module, world: World, *, name: str) -> None:
    """Makes each forward pass without gradients a turn of its own; those with gradients are part of the turn of a micro-batch."""
    from torch.distributed.fsdp import register_fsdp_forward_method

    weak = weakref.ref(model)  # the turns outlive the models of a cell

    def go_along() -> None:
        found = weak()
        assert found is not None  # the others still have it
        _pass_of_one_token(found)

    def end_all(_module: nn.Module, _inputs: Any, output: Any) -> None:
        error = sys.exception()
        if output is None and isinstance(error, Exception):
            with world.ending_all():
                raise error

    def in_one_pass(compute: Callable[[], Any]) -> Any:
        world.take_turn(name)
        with world.ending_all():
            return compute_whole(compute)

    world.turns.offer(name, go_along)
    if not isinstance(model, TokenValues):
        setattr(model, IN_ONE_PASS, lambda compute: compute())
        register_fsdp_forward_method(model, IN_ONE_PASS)
        compute_whole = getattr(model, IN_ONE_PASS)
        setattr(model, IN_ONE_PASS, in_one_pass)
    model.register_forward_pre_hook(lambda _module, _inputs: world.take_turn(name), prepend=True)
    model.register_forward_hook(end_all, always_call=True)


@torch.no_grad()
def _pass_of_one_token(model: Any) -> None:
    classifier = model.classifier if isinstance(model, TokenValues) else model
    row = torch.zeros(1, 1, dtype=torch.long, device=classifier.device)
    real = torch.ones(1, 1, dtype=torch.bool, device=classifier.device)
    tokens = Tokens(row, real, row, real, real[0])
    if isinstance(model, TokenValues):
        model(tokens, ahead=False)
    else:
        response_log_probs(model, tokens, temperature=1.0)
