"""What of a training is saved, and how it is put back: weights that are trained, random states, records of tensors.

A part of the state is anything with `state_dict` and `load_state_dict`, as optimizers have them; each part becomes one file of a checkpoint.
"""

import dataclasses
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from marl_bench.errors import CheckpointError
from marl_bench.models.sharding import divided_like

_RECORD, _FIELDS = "__record__", "fields"


class Stateful(Protocol):
    """One part of the state of a training."""

    def state_dict(self) -> dict[str, Any]:
        """Returns the part as tensors, numbers and texts in plain containers."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Puts it back."""
        ...


@dataclasses.dataclass(frozen=True)
class TrainedWeights:
    """The weights of a model that are trained; frozen ones are known by the digest of the folder that they came from.

    Buffers are left out: models stay in eval mode, in which nothing writes to them.
    """

    model: torch.nn.Module

    def state_dict(self) -> dict[str, Any]:
        """Returns the trained parameters by name."""
        return {name: weight.detach() for name, weight in self.model.named_parameters() if weight.requires_grad}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Copies the weights into the model.

        Raises:
            CheckpointError: A name or a shape differs; nothing was copied.
        """
        ours = self.state_dict()
        for what, names in (("lack", ours.keys() - state.keys()), ("have besides", state.keys() - ours.keys())):
            if names:
                raise CheckpointError(
                    f"its weights {what} {sorted(names)[0]} ({len(names)} such); the checkpoint is of another model."
                )
        for name, weight in ours.items():
            theirs = state[name]
            if theirs.shape != weight.shape or theirs.dtype != weight.dtype:
                raise CheckpointError(
                    f"{name} is {theirs.dtype} {list(theirs.shape)}, the model has {weight.dtype} {list(weight.shape)}; "
                    "the checkpoint is of another model."
                )
        with torch.no_grad():
            for name, weight in ours.items():
                weight.copy_(divided_like(state[name], weight))


class RandomStates:
    """The global random states: Python, NumPy, torch, CUDA. Ours come from generators that are passed in; those of plugins may not."""

    def state_dict(self) -> dict[str, Any]:
        """Returns the states."""
        version, words, gauss = random.getstate()
        legacy = np.random.get_state(legacy=False)
        assert isinstance(legacy, dict)
        return {
            "python": [version, list(words), gauss],
            "numpy": {**legacy, "state": {**legacy["state"], "key": legacy["state"]["key"].tolist()}},
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Sets the states."""
        version, words, gauss = state["python"]
        random.setstate((version, tuple(words), gauss))
        inner = state["numpy"]["state"]
        np.random.set_state({**state["numpy"], "state": {**inner, "key": np.array(inner["key"], dtype=np.uint32)}})
        torch.set_rng_state(state["torch"])
        if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda"])


def seed_everything(seed: int) -> None:
    """Sets the global random states, so that a plugin that draws from them does not depend on what ran before in the process."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)  # CUDA included


def packed(value: Any) -> Any:
    """Returns records as mappings that `torch.load(weights_only=True)` takes."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: packed(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {_RECORD: f"{type(value).__module__}:{type(value).__qualname__}", _FIELDS: fields}
    if isinstance(value, Mapping):
        return {key: packed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(packed(item) for item in value)
    return value


def unpacked(value: Any) -> Any:
    """Returns the records again; those of modules that are not loaded are refused, so that a file cannot make anything be imported."""
    if isinstance(value, dict) and _RECORD in value:
        module, _, name = value[_RECORD].partition(":")
        record = getattr(sys.modules.get(module), name, None)
        if not (isinstance(record, type) and dataclasses.is_dataclass(record)):
            raise CheckpointError(f"holds a record of type {value[_RECORD]}, which this version does not have.")
        try:
            return record(**{name: unpacked(item) for name, item in value[_FIELDS].items()})
        except TypeError as error:
            raise CheckpointError(f"holds a {name} of another version ({error}).") from error
    if isinstance(value, dict):
        return {key: unpacked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(unpacked(item) for item in value)
    return value


def save_parts(folder: Path, parts: Mapping[str, Stateful]) -> None:
    """Writes one file a part."""
    for name, part in parts.items():
        # Through a Python file, whose error on a full disk says so.
        with (folder / f"{name}.pt").open("wb") as file:
            torch.save(part.state_dict(), file)


def load_parts(folder: Path, parts: Mapping[str, Stateful], *, device: torch.device) -> None:
    """Puts all parts back.

    Raises:
        CheckpointError: A part is missing, or there is one too many, or one does not fit.
    """
    theirs = {path.stem for path in folder.glob("*.pt")}
    if theirs != parts.keys():
        raise CheckpointError(
            f"checkpoint {folder}: holds {', '.join(sorted(theirs))}; this training consists of {', '.join(sorted(parts))}."
        )

    def place(storage: Any, location: str) -> Any:
        return storage if location == "cpu" else storage.cuda(device.index)

    for name, part in parts.items():
        # Read once into memory of its own: a part may keep the tensors.
        state = torch.load(folder / f"{name}.pt", map_location=place, weights_only=True)
        try:
            part.load_state_dict(state)
        except (CheckpointError, KeyError, ValueError) as error:
            raise CheckpointError(f"checkpoint {folder}: {name}: {error}") from error
