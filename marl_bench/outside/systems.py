"""What is evaluated: models, files of samples, models behind a server, arms of finished runs; and what tables call each. No torch."""

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from marl_bench.errors import ConfigError, DataError, ModelError, RecordError, UnknownNameError
from marl_bench.records import Cell
from marl_bench.run_dir import SAMPLES, RunDir, digest_of_folder, digest_of_json, read_cells

SERVER = "openai:"
"""Begins a `--model` that a server holds."""

_NAME = re.compile(r"[\w.@+-]*\w[\w.@+-]*")
_MODEL_FILES = ("config.json", "adapter_config.json")
_GENERIC = ("policy", "model")
"""Folder names that say nothing."""


@dataclasses.dataclass(frozen=True)
class System:
    """One system under evaluation.

    Attributes:
        name: What tables call it.
        kind: What it is; an `arm` is one of a finished run, whose stored samples are taken.
        target: Folder or hub id, file, model name at the server, or folder name of the arm.
        run: Folder of the run, for an `arm`.
    """

    name: str
    kind: Literal["model", "samples", "server", "arm"]
    target: str
    run: Path | None = None

    @property
    def folder(self) -> str:
        """Its name as a part of folder names."""
        return re.sub(r"[^\w.-]+", "_", self.name)

    def digest(self, seed: int) -> str:
        """Returns what tells its content from another's; for a hub id or a server's model nothing but the name is known."""
        if self.kind in ("samples", "arm"):
            arm = RunDir(self.run).cell(self.target, seed) / SAMPLES if self.run is not None else None
            with (arm or Path(self.target).expanduser()).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        place = Path(self.target).expanduser()
        if self.kind == "model" and place.is_dir():
            return digest_of_folder(place)
        return digest_of_json([self.kind, self.target])

    def cells(self) -> list[Cell]:
        """Returns the complete cells of an arm by seed.

        Raises:
            RecordError: There are none, or they cannot be read.
        """
        assert self.run is not None  # it is an arm
        found = [cell for cell in read_cells(RunDir(self.run)) if cell.record.arm["name"] == self.target]
        complete = [cell for cell in found if cell.record.status == "complete" and cell.samples]
        if not complete:
            raise RecordError(f"{self.run}: no cell of arm '{self.target}' is complete; finish the run first.")
        return complete


def parse_systems(models: Sequence[str], samples: Sequence[str]) -> list[System]:
    """Returns what `--model` and `--samples` name.

    Raises:
        ConfigError: There is nothing, or two have one name.
        DataError: A file of samples is not there.
        ModelError: A folder holds no model.
    """
    systems = [_model(text) for text in models] + [_samples(text) for text in samples]
    if not systems:
        raise ConfigError(
            "evaluate: nothing to evaluate; give --model PATH_OR_ID or --samples FILE, or the folder of a RUN."
        )
    check_names(systems)
    return systems


def check_names(systems: Sequence[System]) -> None:
    """Checks that every system has a folder of its own; raises `ConfigError`."""
    folders = [system.folder.lower() for system in systems]
    twice = sorted({system.name for system in systems if folders.count(system.folder.lower()) > 1})
    if twice:
        raise ConfigError(f"evaluate: {', '.join(twice)} is the name of two; name them with NAME=PATH.")


def reference_of(text: str, systems: Sequence[System], *, run: Path | None) -> System:
    """Returns what `--against` names: a system of the command, `RUN:ARM`, an arm of `--run`, a file of samples, or a model.

    Raises:
        UnknownNameError: It is none of these.
        RecordError: The run has no such arm, or it is not complete.
    """
    for system in systems:
        if text == system.name:
            return system
    for place in [match.start() for match in re.finditer(":", text)]:
        root = Path(text[:place]).expanduser()
        if RunDir(root).config.is_file():
            return arm_of(root, text[place + 1 :])
    arms = {} if run is None else _arms(run)
    if run is not None and text in (*arms, *arms.values()):
        return arm_of(run, text)
    target = Path(_target(text)).expanduser()
    if target.is_file():
        return _samples(text)
    if target.is_dir() or text.startswith(SERVER) or text.count("/") == 1:
        return _model(text)
    raise UnknownNameError("--against", text, [*(system.name for system in systems), *arms.values()])


def arm_of(run: Path, text: str) -> System:
    """Returns an arm of a run, given by label or folder name; raises as `reference_of`."""
    arms = _arms(run)
    for name, label in arms.items():
        if text in (name, label):
            return System(f"{run.resolve().name}:{label}", "arm", name, run)
    raise UnknownNameError(f"arm of {run}", text, arms.values())


def _arms(run: Path) -> dict[str, str]:
    """Returns folder name and label of every arm of a run."""
    return {cell.record.arm["name"]: cell.record.arm["label"] for cell in read_cells(RunDir(run))}


def _model(text: str) -> System:
    name, target = _named(text)
    if target.startswith(SERVER):
        found = target.removeprefix(SERVER)
        if not found:
            raise ConfigError(
                f"--model {text}: names no model; should be openai:NAME, with --base-url for another server."
            )
        return System(name or found.rpartition("/")[2], "server", found)
    folder = Path(target).expanduser()
    looks_local = folder.exists() or target.startswith((".", "/", "~")) or target.count("/") > 1
    if looks_local and not any((folder / file).is_file() for file in _MODEL_FILES):
        raise ModelError(
            f"--model {text}: no model there (config.json or adapter_config.json is missing); give a from_pretrained or adapter folder, or a "
            "hub id."
        )
    return System(name or _name_of(folder.resolve() if looks_local else Path(target)), "model", target)


def _samples(text: str) -> System:
    name, target = _named(text)
    path = Path(target).expanduser()
    if not path.is_file():
        raise DataError(f"--samples {text}: there is no file '{target}'; give JSON lines or CSV with id and response.")
    return System(name or re.sub(r"\.(jsonl|json|csv)?(\.gz)?$", "", path.name), "samples", target)


def _named(text: str) -> tuple[str | None, str]:
    """Splits `NAME=TARGET`; a path may hold `=` as well, so the name is one only if it could be no folder above the target."""
    name, separator, target = text.partition("=")
    if not separator or Path(text).expanduser().exists():
        return None, text
    if not _NAME.fullmatch(name) or not target:
        raise ConfigError(f"'{text}': should be NAME=PATH, the name of letters, digits and . _ @ + - only.")
    return name, target


def _target(text: str) -> str:
    return _named(text)[1] if "=" in text else text


def _name_of(path: Path) -> str:
    """Returns the last part of a path that says something: a cell's `policy` is named after the cell, a checkpoint with its model."""
    if path.name in _GENERIC and path.parent.name:
        return path.parent.name
    return f"{path.parent.name}-{path.name}" if path.name.startswith("checkpoint") and path.parent.name else path.name
