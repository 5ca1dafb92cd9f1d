"""Checkpoints on disk: written whole or not at all, every byte under a digest, only read by the training that wrote them. No torch.

Where several processes train together the first one writes, decides and looks, and all read the checkpoint that it found.

A checkpoint is a folder with files and a manifest, `checkpoint.json`: whose it is, the SHA-256 of every file, and how long the `.jsonl` files
of the training were. Names of positions sort in the order of training.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from marl_bench.config import CheckpointConfig
from marl_bench.errors import CheckpointError
from marl_bench.run_dir import (
    append_jsonl,
    digest_of_json,
    folder_written_atomically,
    read_jsonl,
    write_json_atomically,
)
from marl_bench.world import ALONE, World

MANIFEST = "checkpoint.json"
NOTES = "notes.jsonl"
SCHEMA_VERSION = 1
_MAKERS = ("marl-bench", "torch", "transformers", "numpy")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose bytes are those that were written.

    Attributes:
        folder: Its files.
        position: Its name.
        manifest: What it says of itself.
    """

    folder: Path
    position: str
    manifest: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one training."""

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        settings: CheckpointConfig,
        *,
        versions: Mapping[str, Any] | None = None,
        lines: Sequence[Path] = (),
        say: Callable[[str], None] = lambda _: None,
        world: World = ALONE,
    ) -> None:
        """Keeps what every checkpoint says; nothing is read or written yet.

        Args:
            folder: Parent of the checkpoints.
            identity: Names whose they are: configuration, arm, seed, digests of what the training stands on.
            settings: How often and how many.
            versions: Names what makes checkpoints useless when it changes, without anybody's mistake: versions of baseline and rule.
            lines: Files that the training appends to; a resume cuts them back.
            say: Told what a user should know.
            world: The processes that train together; each calls the methods in the same order.
        """
        self.world = world
        self.folder, self.settings = folder, settings
        self._identity, self._versions, self._lines, self._say = dict(identity), dict(versions or {}), lines, say
        self._last = self._began = time.monotonic()
        self._seconds_before = 0.0

    def due(self) -> bool:
        """Returns True once the last checkpoint, or the beginning, is `every_seconds` ago."""
        return self.world.on_main("due", lambda: time.monotonic() - self._last >= self.settings.every_seconds)

    def seconds(self) -> float:
        """Returns the time that the training has taken, that of the processes before included."""
        return self._seconds_before + time.monotonic() - self._began

    def write(self, position: str, fill: Callable[[Path], None], *, score: float | None = None) -> None:
        """Writes a checkpoint, then removes those that are one too many.

        Args:
            position: Its name.
            fill: Writes its files into the folder that it is given.
            score: The training score of the policy in it, where it may be the one to keep as the best.
        """
        self.world.on_main("checkpoint", lambda: self._write(position, fill, score))

    def _write(self, position: str, fill: Callable[[Path], None], score: float | None) -> None:
        with folder_written_atomically(self.folder / position) as temporary:
            fill(temporary)
            content = {
                "schema_version": SCHEMA_VERSION,
                "position": position,
                "identity": self._identity,
                "versions": self._versions,
                "made_by": {name: importlib.metadata.version(name) for name in _MAKERS},
                "files": {
                    path.relative_to(temporary).as_posix(): _sha256(path)
                    for path in sorted(temporary.rglob("*"))
                    if path.is_file()
                },
                "lines": {path.name: _length_and_digest(path) for path in self._lines},
                "score": score,
                "seconds": self.seconds(),
            }
            write_json_atomically(temporary / MANIFEST, {**content, "digest": digest_of_json(content)})
        self._last = time.monotonic()
        self._prune()

    def newest(self) -> Checkpoint | None:
        """Returns the newest checkpoint that is whole, or None; says which are damaged, and if all are of another version of the arm.

        Raises:
            CheckpointError: It belongs to another training.
        """
        return self.world.on_main("newest checkpoint", self._newest)

    def _newest(self) -> Checkpoint | None:
        folders = self._folders()
        for folder in reversed(folders):
            try:
                manifest = self._checked(folder)
            except CheckpointError as error:
                self._tell(f"{error} {'Starts anew.' if folder == folders[0] else 'The one before is used.'}")
                continue
            self._check_identity(folder, manifest)
            for name, theirs in manifest["versions"].items():
                if theirs != self._versions.get(name):
                    self._tell(
                        f"checkpoint {folder.name}: its {name} is {theirs}, now it is {self._versions.get(name)}; starts anew."
                    )
                    return None
            return Checkpoint(folder, folder.name, manifest)
        return None

    def best(self) -> Checkpoint | None:
        """Returns the one with the best training score among those that have one and are whole; says which are damaged."""
        return self.world.on_main("best checkpoint", self._best_whole)

    def _best_whole(self) -> Checkpoint | None:
        for found in sorted(self._scored(), key=lambda found: found.manifest["score"], reverse=True):
            try:
                return Checkpoint(found.folder, found.position, self._checked(found.folder))
            except CheckpointError as error:
                self._tell(f"{error} It cannot be kept as the best.")
                shutil.rmtree(found.folder)
        return None

    def _best(self) -> Checkpoint | None:
        return max(self._scored(), key=lambda found: found.manifest["score"], default=None)

    def go_on_from(self, checkpoint: Checkpoint | None) -> None:
        """Takes the rest of the training's files back to where they were at a checkpoint, or to nothing."""
        self.world.on_main("go on", lambda: self._go_on_from(checkpoint))

    def _go_on_from(self, checkpoint: Checkpoint | None) -> None:
        for folder in self._folders():
            if checkpoint is None or folder.name > checkpoint.position:
                shutil.rmtree(folder)
        for path in self._lines:
            if checkpoint is None:
                path.unlink(missing_ok=True)
            elif path.exists():
                with path.open("r+b") as file:
                    file.truncate(checkpoint.manifest["lines"][path.name]["bytes"])
        if checkpoint is not None:
            self._seconds_before = float(checkpoint.manifest["seconds"])
            self._tell(f"goes on from checkpoint {checkpoint.position}.")
            made_by = {name: importlib.metadata.version(name) for name in _MAKERS}
            for name, version in checkpoint.manifest["made_by"].items():
                if version != made_by.get(name):
                    self._tell(
                        f"checkpoint {checkpoint.position}: was made with {name} {version}, now there is {made_by.get(name)}; "
                        "the results may differ in their last bits from those of a run that was not interrupted."
                    )

    def notes(self) -> list[str]:
        """Returns what was told of this training, by the processes before as well."""
        return [row["text"] for row in read_jsonl(self.folder / NOTES)] if (self.folder / NOTES).exists() else []

    def remove(self) -> None:
        """Removes all of them, once the training's results are safe."""
        if self.world.is_main:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _tell(self, text: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        append_jsonl(self.folder / NOTES, {"text": text})
        self._say(text)

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if path.is_dir() and not path.name.startswith("."))

    def _checked(self, folder: Path) -> Mapping[str, Any]:
        """Returns the manifest of a checkpoint of which every byte is as it was written."""
        where = f"checkpoint {folder}: damaged"
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            content = {name: value for name, value in manifest.items() if name != "digest"}
            whole = manifest["digest"] == digest_of_json(content)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{where} ({MANIFEST}: {type(error).__name__}).") from error
        if not whole:
            raise CheckpointError(f"{where} ({MANIFEST} does not have its digest).")
        if manifest["schema_version"] != SCHEMA_VERSION:
            return content  # refused below; its fields may have other names
        for name, digest in manifest["files"].items():
            path = folder / name
            if not path.is_file() or _sha256(path) != digest:
                raise CheckpointError(
                    f"{where} ({name} {'is not the one written' if path.is_file() else 'is missing'})."
                )
        for path in self._lines:
            kept = manifest["lines"].get(path.name)
            if kept is None or _length_and_digest(path, length=kept["bytes"]) != kept:
                raise CheckpointError(f"{where} ({path.name} beside it is shorter than, or not, what it was then).")
        return content

    def _check_identity(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        where = f"checkpoint {folder}"
        if manifest["schema_version"] != SCHEMA_VERSION:
            raise CheckpointError(
                f"{where}: has version {manifest['schema_version']} of the format, this marl-bench reads {SCHEMA_VERSION}; "
                f"use the marl-bench that wrote it, or remove the folder {self.folder} to start this training anew."
            )
        theirs = manifest["identity"]
        for name in sorted(theirs.keys() | self._identity.keys()):
            if theirs.get(name) != self._identity.get(name):
                raise CheckpointError(
                    f"{where}: belongs to another training: its {name.replace('_', ' ')} is {theirs.get(name)}, that of this one is "
                    f"{self._identity.get(name)}; remove the folder {self.folder} to start this training anew."
                )

    def _scored(self) -> list[Checkpoint]:
        found = []
        for folder in self._folders():
            try:
                manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
                if manifest["score"] is not None:
                    found.append(Checkpoint(folder, folder.name, manifest))
            except (OSError, ValueError, KeyError, TypeError):
                continue  # damaged, so not the best
        return found

    def _prune(self) -> None:
        best = self._best() if self.settings.keep_best else None
        for folder in self._folders()[: -self.settings.keep_last]:
            if best is None or folder != best.folder:
                shutil.rmtree(folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _length_and_digest(path: Path, *, length: int | None = None) -> dict[str, Any]:
    """Returns length and SHA-256 of a file's first bytes; a file that is not there is empty."""
    data = path.read_bytes()[:length] if path.exists() else b""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
