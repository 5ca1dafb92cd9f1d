"""Checkpoints of the supervised stages: what TRL's trainer saves, under our manifest, and the finished model before it is a stage.

The trainer's own folders are neither written atomically nor checked, so each is written into a scratch folder first and moved from there.
"""

import contextlib
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from marl_bench.errors import Interrupted
from marl_bench.training.checkpoint import Checkpoints
from marl_bench.training.state import TrainedWeights, load_parts, save_parts

_FACTS = "facts.json"
_CONFIGS = ("config", "generation_config")
_ENDED = "trained"
"""Position of a finished training; sorts behind all steps."""


@dataclasses.dataclass(frozen=True)
class Begun:
    """What a process before has done of a training.

    Attributes:
        folder: Checkpoint folder for the trainer to go on from, or None.
        steps: Finished steps.
        total: All steps.
        history: The log of a training that has ended; the model has its weights.
    """

    folder: Path | None = None
    steps: int = 0
    total: int = 0
    history: Sequence[Mapping[str, float]] | None = None


def begun(store: Checkpoints, model: torch.nn.Module) -> Begun:
    """Returns where to go on, and takes the checkpoints back to there.

    Raises:
        CheckpointError: They are of another training.
    """
    found = store.newest()
    store.go_on_from(found)
    if found is None:
        return Begun()
    if found.position != _ENDED:
        state = json.loads((found.folder / "trainer_state.json").read_text(encoding="utf-8"))
        return Begun(found.folder, state["global_step"], state["max_steps"])
    facts = json.loads((found.folder / _FACTS).read_text(encoding="utf-8"))
    history = facts["history"]
    _set_configs(model, facts["configs"])
    load_parts(found.folder, {"weights": TrainedWeights(model)}, device=next(model.parameters()).device)
    steps = sum("loss" in entry for entry in history)
    return Begun(None, steps, steps, history)


def write_ended(store: Checkpoints, model: torch.nn.Module, history: Sequence[Mapping[str, float]]) -> None:
    """Writes the weights of a training that has ended, and the settings that trainers change, so that what follows it may be cut off."""

    def fill(folder: Path) -> None:
        save_parts(folder, {"weights": TrainedWeights(model)})
        facts = {"history": list(history), "configs": _configs(model)}
        (folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")

    store.write(_ENDED, fill)


def _configs(model: Any) -> dict[str, Any]:
    found = {name: getattr(model, name, None) for name in _CONFIGS}
    # Through JSON, so that they can be compared with those that were read back.
    settings: dict[str, Any] = json.loads(
        json.dumps({name: config.to_dict() for name, config in found.items() if config})
    )
    return settings


def _set_configs(model: Any, stored: Mapping[str, Mapping[str, Any]]) -> None:
    now = _configs(model)
    for name, settings in stored.items():
        for key, value in settings.items():
            if now[name].get(key) != value:
                setattr(getattr(model, name), key, value)


@contextlib.contextmanager
def scratch(store: Checkpoints | None) -> Iterator[Path]:
    """Gives a folder on the disk of the checkpoints for the trainer to write into."""
    if store is not None:
        store.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.folder if store else None, prefix=".trainer.") as folder:
        yield Path(folder)


def saving_callback(store: Checkpoints, stop_requested: Any) -> Any:
    """Returns the callback that lets the trainer save when it is time, takes what it saved, and stops if that was asked for."""
    from transformers import TrainerCallback

    class _Saving(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
        stops = False

        def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> Any:
            self.stops = stop_requested()
            if state.global_step < state.max_steps:  # the end is written by `write_ended`
                control.should_save = self.stops or store.due()
            return control

        def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
            saved = Path(args.output_dir) / f"checkpoint-{state.global_step}"

            def fill(folder: Path) -> None:
                (saved / "training_args.bin").unlink(missing_ok=True)  # a pickle, which nobody should load
                for path in saved.iterdir():
                    shutil.move(path, folder / path.name)
                saved.rmdir()

            store.write(f"step-{state.global_step:08d}", fill)
            if self.stops:
                raise Interrupted("stopped; the same command again goes on from here.")

    return _Saving()
