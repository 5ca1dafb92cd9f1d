"""GPUs by name: memory, matrix rate and bandwidth. No torch."""

import dataclasses
from collections.abc import Mapping

from marl_bench.errors import UnknownNameError


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU as its data sheet has it.

    Attributes:
        name: As people say it.
        memory_gib: Memory that the driver shows.
        bf16_tflops: Dense bfloat16 matrix rate with float32 accumulation, in 10^12 operations a second.
        bandwidth_gb: Memory bandwidth in 10^9 bytes a second.
    """

    name: str
    memory_gib: float
    bf16_tflops: float
    bandwidth_gb: float


GPUS: Mapping[str, Gpu] = {
    "a10g": Gpu("A10G 24 GB", 22.5, 70, 600),
    "a100-40": Gpu("A100 40 GB", 40.0, 312, 1555),
    "a100-80": Gpu("A100 80 GB", 80.0, 312, 2039),
    "b200": Gpu("B200 180 GB", 179.0, 2250, 8000),
    "h100": Gpu("H100 SXM 80 GB", 79.6, 989, 3350),
    "h200": Gpu("H200 141 GB", 140.4, 989, 4800),
    "l4": Gpu("L4 24 GB", 22.5, 121, 300),
    "l40s": Gpu("L40S 48 GB", 45.0, 362, 864),
    "rtx-3090": Gpu("RTX 3090 24 GB", 24.0, 71, 936),
    "rtx-4090": Gpu("RTX 4090 24 GB", 24.0, 165, 1008),
    "rtx-5090": Gpu("RTX 5090 32 GB", 31.8, 210, 1792),
}
"""Dense rates; the data sheets of NVIDIA often show twice as much, for matrices half of whose entries are zero."""


def gpu_named(name: str) -> Gpu:
    """Returns a GPU by its name; `4090` and `H100` will do.

    Raises:
        UnknownNameError: No GPU has that name.
    """
    key = name.strip().lower()
    for candidate in (key, f"rtx-{key}", f"{key}-80" if key == "a100" else key):
        if candidate in GPUS:
            return GPUS[candidate]
    raise UnknownNameError("GPU", name, GPUS)
