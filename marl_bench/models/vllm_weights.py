"""A policy's weights as a folder that a vLLM engine reloads."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

_PREFIX = "marl-bench-weights-"
SHARED_MEMORY = Path("/dev/shm")


def make_weights_folder(shared: str | None) -> Path:
    """Makes a folder of a new name for weights: under `shared` if given, else in shared memory where the system has it.

    What processes that were killed have left in shared memory is removed.
    """
    root = Path(shared).expanduser() if shared is not None else SHARED_MEMORY
    if shared is not None:
        root.mkdir(parents=True, exist_ok=True)
    elif root.is_dir():
        for folder in root.glob(f"{_PREFIX}*-*"):
            process = folder.name.removeprefix(_PREFIX).partition("-")[0]
            if process.isdigit() and not Path(f"/proc/{process}").exists():
                remove_weights_folder(folder)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=root if root.is_dir() else None))


def write_weights(policy: Any, folder: Path) -> None:
    """Writes `config.json` and `model.safetensors` of a causal LM of transformers, the output head always by name.

    vLLM's reload leaves an output head as it was if the file does not name it. `save_pretrained` leaves tied heads out, and engines that
    repack the head (those on a CPU do) would then silently keep the old one.
    """
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    places: set[int] = set()
    for (
        name,
        tensor,
    ) in policy.state_dict().items():  # names tied weights twice, where `named_parameters` names them once
        ours = tensor.detach().cpu().contiguous()
        tensors[name] = ours.clone() if ours.data_ptr() in places else ours  # a file holds no tensor twice
        places.add(ours.data_ptr())
    policy.config.save_pretrained(folder)
    temporary = folder / "model.safetensors.tmp"
    save_file(tensors, temporary, metadata={"format": "pt"})
    temporary.replace(folder / "model.safetensors")


def remove_weights_folder(folder: Path) -> None:
    """Removes the folder, if it is there still."""
    shutil.rmtree(folder, ignore_errors=True)


def sync_tolerance(dtype: torch.dtype) -> float:
    """Returns the mean |difference| of log-probs in nats that rounding may account for."""
    return 5e-4 if dtype == torch.float32 else 0.1
