"""Whether a grid of cells has room on this machine: disk for what it leaves, memory for the cells side by side. No torch on import."""

import shutil
from pathlib import Path

from marl_bench.errors import ConfigError
from marl_bench.estimates.memory import DTYPE_BYTES, GIB, Load, ppo_memory
from marl_bench.estimates.shapes import KNOWN_SHAPES, shape_of
from marl_bench.planning import Plan

PROCESS_BYTES = 700 * 2**20
"""What a worker holds beside its models: the libraries, and the heap they leave behind."""
_ADAM_COPIES = 2
_TEXT_BYTES_A_TOKEN = 12
"""Of a line of samples: about four bytes of text a token, written with prompt, metrics and macro actions."""


def parameters_of(plan: Plan) -> int:
    """Returns the number of parameters of the policy; raises `ModelError` where its configuration cannot be read."""
    model = plan.config.sft.path or plan.base_model
    if model in KNOWN_SHAPES:
        return KNOWN_SHAPES[model].parameters
    from marl_bench.models.loading import count_parameters

    return count_parameters(model)


def disk_bytes(plan: Plan) -> int:
    """Returns about how many bytes a plan writes at most: policy and critic of each trained cell, samples, checkpoints of the running ones."""
    config = plan.config
    model = parameters_of(plan) * DTYPE_BYTES[config.model.dtype]
    kept = config.checkpoints.keep_last + 1 + config.checkpoints.keep_best  # one more while the newest is written
    checkpoints = min(plan.jobs, plan.trained_cells()) * kept * 2 * model * (1 + _ADAM_COPIES)
    prompts = (
        min(config.evaluation.max_prompts or 1000, config.data.limit or 1000) * config.evaluation.samples_per_prompt
    )
    row = _TEXT_BYTES_A_TOKEN * (config.sampling.max_prompt_tokens + config.sampling.max_response_tokens)
    return len(plan.stages) * model + plan.trained_cells() * 2 * model + checkpoints + len(plan.cells()) * prompts * row


def disk_sentence(plan: Plan) -> str:
    """Returns what to say of disk space before a grid starts."""
    return f"Disk: about {_size(disk_bytes(plan))} in all, {_size(_free(plan.root))} are free."


def check_room(plan: Plan) -> None:
    """Checks that the cells have room on the disk and, on a CPU, side by side in memory.

    Raises:
        ConfigError: They have not; says what would help.
    """
    needed, free = disk_bytes(plan), _free(plan.root)
    if needed > free:
        raise ConfigError(
            f"--out {plan.root}: the grid writes about {_size(needed)} and {_size(free)} are free there; choose another folder, or fewer "
            "cells."
        )
    cell, memory = memory_bytes(plan), _available_memory()
    if cell is None or memory is None or cell * plan.jobs <= memory:
        return
    fitting = memory // cell
    advice = (
        f"use --jobs {fitting}"
        if fitting
        else "use a smaller model, lower ppo.micro_batch_size, or LoRA (--set lora.rank=16)"
    )
    raise ConfigError(
        f"--jobs {plan.jobs}: a cell needs about {_size(cell)} of memory, {plan.jobs} side by side {_size(cell * plan.jobs)}, and "
        f"{_size(memory)} are available; {advice}."
    )


def memory_bytes(plan: Plan) -> int | None:
    """Returns about what one cell holds at its widest; None for models whose shape is not known, and for GPUs."""
    import torch

    from marl_bench.models.loading import model_folder

    model = plan.config.sft.path or plan.base_model
    shape = shape_of(model) or shape_of(model_folder(model))
    if shape is None or torch.cuda.is_available():
        return None
    memory = ppo_memory(Load(plan.config, shape, reward_model="reward_model" in plan.stages))
    return PROCESS_BYTES + memory.of_phase(memory.peak_phase)


def _available_memory() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def _free(folder: Path) -> int:
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def _size(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{count / 2**20:.0f} MiB"
