"""The least time an update could take: needed operations over the matrix rate, needed bytes over the bandwidth, both measured here."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping

import torch

from marl_bench.bench.ppo_cases import ModelShape, PpoCase
from marl_bench.models.cpu_matmul import product

_BYTES = 4
"""Of a float32."""
_OPTIMIZER_PASSES = 7
"""Adam reads weight, gradient and both moments, and writes weight and both moments."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """What this machine reaches on the threads that are set.

    Attributes:
        rates: Library to floating-point operations a second of a float32 product of two 1,024 x 1,024 matrices.
        bandwidth: Bytes a second of copying 256 MiB, read and write both counted.
    """

    rates: Mapping[str, float]
    bandwidth: float

    @property
    def matrix_rate(self) -> float:
        """Of the faster library."""
        return max(self.rates.values())


def measure_machine(*, repeats: int = 15) -> Machine:
    """Measures all, by processor time, as medians."""
    left, right = torch.randn(1024, 1024), torch.randn(1024, 1024)
    source = torch.randn(64 * 1024 * 1024)
    target = torch.empty_like(source)
    products: dict[str, Callable[[], object]] = {"torch.mm": lambda: torch.mm(left, right)}
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        products["oneDNN"] = lambda: product(left, right)
    rates = {name: 2 * 1024**3 / _median(work, repeats) for name, work in products.items()}
    copy = _median(lambda: target.copy_(source), repeats)
    return Machine(rates, 2 * source.numel() * _BYTES / copy)


def _median(work: Callable[[], object], repeats: int) -> float:
    work()
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return statistics.median(seconds)


@dataclasses.dataclass(frozen=True)
class Needed:
    """What one phase cannot do without."""

    operations: float
    bytes: float

    def seconds(self, machine: Machine) -> float:
        """Returns the least time: the larger of both shares, because they overlap."""
        return max(self.operations / machine.matrix_rate, self.bytes / machine.bandwidth)


def needed(case: PpoCase, *, prompt_tokens: int, response_tokens: int) -> Mapping[str, Needed]:
    """Returns what the phases of an update need for real tokens alone: no padding, and the head on response tokens only.

    Attention is counted at a text's mean context. Generation reads the weights once a step of the whole batch and, for every token, the keys
    and values before it; a backward pass takes twice its forward pass.

    Args:
        case: Model and settings.
        prompt_tokens: Of all prompts of the batch.
        response_tokens: Of all its responses.
    """
    shape, tokens = case.model, prompt_tokens + response_tokens
    prompt, response = prompt_tokens / case.batch, response_tokens / case.batch
    trunk = 2 * _layer_weights(shape)
    text = tokens * (trunk + _attention(shape, (prompt + response) / 2))
    head = response_tokens * 2 * shape.hidden * shape.vocabulary
    weights = (_layer_weights(shape) + shape.hidden * shape.vocabulary) * _BYTES
    cache = response_tokens * (prompt + response / 2) * 2 * shape.layers * shape.hidden * _BYTES
    epoch = 3 * (2 * text + head)
    trained = 2 * weights / _BYTES
    return {
        "generation": Needed(text + head, case.response_tokens * weights + cache),
        "scoring": Needed(3 * text + head, 3 * weights),
        "update": Needed(case.ppo_epochs * epoch, case.ppo_epochs * 6 * weights),
        "optimizer": Needed(0, case.ppo_epochs * _OPTIMIZER_PASSES * trained * _BYTES),
    }


def _layer_weights(shape: ModelShape) -> int:
    """Returns the weights of all layers' matrices."""
    return shape.layers * (4 * shape.hidden**2 + 3 * shape.hidden * shape.feed_forward)


def _attention(shape: ModelShape, context: float) -> float:
    """Returns operations of one token's attention to so many before it: scores, and their weighted sum."""
    return 4 * shape.layers * shape.hidden * context
