"""The clock of the benchmarks."""

import time

import torch


def clock(device: torch.device) -> float:
    """Returns seconds: of this process's processor time on a CPU, which other programs do not stretch; of the wall clock elsewhere."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()
