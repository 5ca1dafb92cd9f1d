"""Stored references: the scores of a run by prompt, small and without dates, that new runs are held against.

A reference lies in a folder of its own as `reference.json.gz`; the same scores give the same bytes. A folder that holds a report's
`scores.csv` alone knows means only.
"""

import csv
import dataclasses
import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from marl_bench.errors import RecordError, RunFolderError
from marl_bench.records import Cell, EvalSample, RunRecord
from marl_bench.run_dir import write_bytes_atomically
from marl_bench.sample_columns import SampleColumns

REFERENCE = "reference.json.gz"
SCORES = "scores.csv"

_FOLDERS = re.compile(r"(?:(?<=^)|(?<=[:*]))/(?:[^/:]+/)*")

_FORMAT, _VERSION = "marl-bench reference", 1


@dataclasses.dataclass(frozen=True)
class StoredReference:
    """A reference as read from disk.

    Attributes:
        name: Name of its folder.
        cells: One a seed of each arm; a "sample" is one prompt with its mean over samples, and there are no texts.
        config: Resolved configuration of the run.
    """

    name: str
    cells: Sequence[Cell]
    config: Mapping[str, Any]

    @property
    def config_hash(self) -> str:
        """Configuration hash of the run."""
        return self.cells[0].record.config_hash


@dataclasses.dataclass(frozen=True)
class PromptMeans(Sequence[EvalSample]):
    """The place of samples in a reference's cells: their means by prompt are kept, their texts are not."""

    kept: SampleColumns

    def columns(self) -> SampleColumns:
        """Returns one row a prompt."""
        return self.kept

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: Any) -> Any:
        raise RecordError("a reference keeps no texts of its samples; use the run it was saved from.")


def save_reference(
    cells: Sequence[Cell], config: Mapping[str, Any], *, name: str, reference_dir: Path, force: bool
) -> Path:
    """Writes the reference of complete cells and returns its file.

    Raises:
        RecordError: There is no cell.
        RunFolderError: There is another reference of that name and `force` is False, or the folder cannot be written.
    """
    if not cells:
        raise RecordError("reference save: no complete cell; let the run finish first.")
    path = reference_dir / name / REFERENCE
    data = _packed(_content(cells, config))
    if path.is_file() and path.read_bytes() != data and not force:
        raise RunFolderError(
            f"{path}: there is another reference of that name; choose another --name, or replace it with --force."
        )
    try:
        write_bytes_atomically(path, data)
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written ({error.strerror or error}).") from error
    return path


def read_reference(folder: Path) -> StoredReference:
    """Reads a reference.

    Raises:
        RecordError: The file is missing, damaged or of another version.
    """
    path = folder / REFERENCE
    try:
        content = json.loads(gzip.decompress(path.read_bytes()))
        if content["format"] != _FORMAT or content["version"] != _VERSION:
            raise RecordError(
                f"{path}: {content['format']} of version {content['version']}, this marl-bench reads version {_VERSION}."
            )
        prompts = content["prompts"]
        cells = [_cell(each, prompts, where=str(path)) for each in content["cells"]]
        return StoredReference(folder.resolve().name, cells, content["config"])
    except FileNotFoundError as error:
        raise RecordError(f"{folder}: no reference there ({REFERENCE} is missing).") from error
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{path}: damaged ({type(error).__name__}: {error}); save the reference again.") from error


def find_references(reference_dir: Path) -> Iterator[Path]:
    """Yields the folders that hold a reference or, from a report, means only; sorted by name."""
    if reference_dir.is_dir():
        for folder in sorted(reference_dir.iterdir()):
            if (folder / REFERENCE).is_file() or means_only(folder):
                yield folder


def means_only(folder: Path) -> bool:
    """Returns True if the folder knows means by arm and seed, and no scores by prompt."""
    holds_means = (folder / SCORES).is_file() and (folder / "config.yaml").is_file()
    return holds_means and not (folder / REFERENCE).is_file() and not (folder / "cells").is_dir()


def read_means(folder: Path) -> dict[tuple[str, str], dict[int, float]]:
    """Returns arm and metric to seed to mean, from a report's `scores.csv`.

    Raises:
        RecordError: The file cannot be read.
    """
    path = folder / SCORES
    found: dict[tuple[str, str], dict[int, float]] = {}
    try:
        for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))):
            found.setdefault((row["arm"], row["metric"]), {})[int(row["seed"])] = float(row["value"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: no table of arm, seed, metric, value ({type(error).__name__}: {error}).") from error
    return found


def _packed(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as file:
        file.write(text.encode())
    return buffer.getvalue()


def _content(cells: Sequence[Cell], config: Mapping[str, Any]) -> dict[str, Any]:
    known: dict[str, tuple[str, int]] = {}
    for cell in cells:
        columns = cell.columns
        for place, prompt in enumerate(columns.prompt_ids):
            subset = columns.subsets[int(columns.prompt_subsets[place])]
            known.setdefault(prompt, (subset, int(columns.prompt_checks[place])))
    ids = sorted(known)
    places = {prompt: place for place, prompt in enumerate(ids)}
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "config": _without_paths(config),
        "prompts": {"ids": ids, "subsets": [known[one][0] for one in ids], "checks": [known[one][1] for one in ids]},
        "cells": [_cell_content(cell, places) for cell in sorted(cells, key=_order)],
    }


def _order(cell: Cell) -> tuple[str, int]:
    return str(cell.record.arm["name"]), cell.record.seed


def _cell_content(cell: Cell, places: Mapping[str, int]) -> dict[str, Any]:
    columns = cell.columns
    order = sorted(range(len(columns.prompt_ids)), key=lambda place: columns.prompt_ids[place])
    here = [places[columns.prompt_ids[place]] for place in order]
    record = {**cell.record.to_json(), "costs": {}}  # everything from the clock stands there
    return {
        "record": record,
        "prompts": None if here == list(range(len(places))) else here,
        "scores": {
            name: [None if math.isnan(value) else value for value in columns.prompt_means(name)[order].tolist()]
            for name in sorted(columns.metrics)
        },
    }


def _cell(content: Mapping[str, Any], prompts: Mapping[str, Any], *, where: str) -> Cell:
    here = content["prompts"]
    here = list(range(len(prompts["ids"]))) if here is None else here
    size = len(here)
    subsets = sorted(set(prompts["subsets"]))
    scores = {
        name: np.array([math.nan if value is None else value for value in values], dtype=np.float64)
        for name, values in content["scores"].items()
    }
    if any(column.size != size for column in scores.values()):
        raise ValueError("a column of scores is not as long as its prompts")
    columns = SampleColumns(
        prompt_ids=[prompts["ids"][place] for place in here],
        prompt_checks=np.array([prompts["checks"][place] for place in here], dtype=np.uint32),
        prompt_codes=np.arange(size, dtype=np.int32),
        subsets=subsets,
        subset_codes=np.array([subsets.index(prompts["subsets"][place]) for place in here], dtype=np.int32),
        sample_indices=np.zeros(size, dtype=np.int32),
        token_counts=np.zeros(size, dtype=np.int32),
        finished=np.ones(size, dtype=np.bool_),
        metrics=scores,
    )
    return Cell(RunRecord.from_json(content["record"], where=where), [], PromptMeans(columns))


def _without_paths(value: Any) -> Any:
    """Returns the settings with absolute paths cut to their last part: a reference travels."""
    if isinstance(value, Mapping):
        return {str(name): _without_paths(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_paths(item) for item in value]
    return _FOLDERS.sub("", value) if isinstance(value, str) else value
