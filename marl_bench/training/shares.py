"""An optimizer step on several processes: each adds up the gradients of its rows, and all take the step with the sum of them.

Losses are divided by the counts of the whole step before, so gradients are added, never averaged, and no process needs to have as many rows
as another.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from marl_bench.batches import Experience
from marl_bench.errors import TrainingError
from marl_bench.models.scoring import trimmed
from marl_bench.models.sharding import is_sharded
from marl_bench.world import World

T = TypeVar("T")

MICRO_BATCH = "micro-batch"
"""The turn of a forward and backward pass of divided models."""
_BUCKET_ELEMENTS = 16 * 1024 * 1024


def in_row_shares(
    world: World, parameters: Sequence[torch.nn.Parameter], part: Experience, compute: Callable[[Experience], T]
) -> list[T]:
    """Lets every process add up the gradients of its share of the rows, and leaves the sum over all processes on each.

    Args:
        world: The processes.
        parameters: What gets the gradients.
        part: All rows of the optimizer step.
        compute: Adds the gradients of rows and returns what came of them.

    Returns:
        What came of the shares that have rows.
    """
    if world.size == 1:
        return [compute(part)]
    own = _share(world, part)

    def share() -> tuple[T | None, list[bool]]:
        found = compute(part.rows(own, tokens=part.tokens.rows(own))) if len(own) else None
        return found, [parameter.grad is not None for parameter in parameters]

    found = world.exchange("update", share)
    if is_sharded(parameters):  # the backward passes have added them
        return [one for one, _ in found if one is not None]
    moved = [any(flags) for flags in zip(*(flags for _, flags in found), strict=True)]
    # What no row reaches keeps no gradient, as in one process; there is one on all processes or on none.
    _add_up(world, [parameter for parameter, has_gradient in zip(parameters, moved, strict=True) if has_gradient])
    return [one for one, _ in found if one is not None]


@contextmanager
def going_along(
    world: World, parameters: Sequence[torch.nn.Parameter], part: Experience, compute: Callable[[Experience], Any]
) -> Iterator[None]:
    """Has processes that are through with their rows go along with the micro-batches of the others within, where models are divided.

    Args:
        world: The processes.
        parameters: What gets the gradients.
        part: All rows of the optimizer step.
        compute: Runs both passes over rows so that nothing is added to the gradients.
    """
    if world.size == 1 or not is_sharded(parameters):
        yield
        return
    shortest = part.tokens.response_mask.sum(dim=1).argmin().unsqueeze(0)
    row = part.rows(shortest, tokens=trimmed(part.tokens.rows(shortest)))
    world.turns.offer(MICRO_BATCH, lambda: compute(row))
    try:
        yield
    finally:
        world.turns.withdraw(MICRO_BATCH)


def clip_gradients(accelerator: Any, parameters: Sequence[torch.nn.Parameter], max_norm: float) -> float:
    """Clips the gradients, over all processes where they are divided, and returns their norm before."""
    if not is_sharded(parameters):
        return float(accelerator.clip_grad_norm_(parameters, max_norm))
    norm: Any = torch.nn.utils.get_total_norm([weight.grad for weight in parameters if weight.grad is not None])
    norm = norm.full_tensor()
    torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return float(norm)


def check_same_weights(world: World, parameters: Sequence[torch.nn.Parameter], *, where: str) -> None:
    """Checks that the trained weights of all processes are the same to the bit; of divided ones there is one of each.

    Raises:
        TrainingError: They are not.
    """
    if world.size == 1 or is_sharded(parameters):
        return
    digests = world.exchange("digest", lambda: [_digest(parameter) for parameter in parameters])
    other = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
    if other:
        raise TrainingError(
            f"{where}: the weights of process {other[0] + 1} of {world.size} are not those of process 1 any more; "
            "the processes have to run the same versions on the same kind of device."
        )


def _share(world: World, part: Experience) -> torch.Tensor:
    """Returns the rows of this process: every process gets some of each length, so that none waits for another."""
    lengths = part.tokens.response_mask.sum(dim=1) * (part.tokens.prompt_width + 1) + part.tokens.prompt_mask.sum(dim=1)
    return lengths.argsort(stable=True)[world.rank :: world.size].sort().values


def _add_up(world: World, parameters: Sequence[torch.nn.Parameter]) -> None:
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for bucket in _buckets([parameter.grad for parameter in parameters if parameter.grad is not None]):
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        world.add_up(flat)
        for gradient, summed in zip(bucket, flat.split([gradient.numel() for gradient in bucket]), strict=True):
            gradient.copy_(summed.view_as(gradient))


def _buckets(gradients: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Yields gradients of one type that are sent together: few and large messages, and no copy of all gradients at once."""
    bucket: list[torch.Tensor] = []
    for gradient in gradients:
        elements = sum(other.numel() for other in bucket)
        if bucket and (gradient.dtype != bucket[0].dtype or elements + gradient.numel() > _BUCKET_ELEMENTS):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket


def _digest(parameter: torch.Tensor) -> int:
    integers = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}
    return int(parameter.detach().view(integers[parameter.element_size()]).sum(dtype=torch.int64))
