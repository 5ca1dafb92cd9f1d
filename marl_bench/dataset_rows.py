"""Rows of a data set, from the hub or a local folder, through `datasets`; each with the place that an error about it should name."""

import gzip
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from marl_bench.errors import DataError


def check_data_folder(folder: Path, *, holds: str) -> None:
    """Checks that a folder is there and holds a file.

    Args:
        folder: The folder.
        holds: What should be in it, for the error.

    Raises:
        DataError: It is missing or empty.
    """
    if not folder.is_dir():
        raise DataError(f"data folder '{folder}': is not a folder; give one with {holds}.")
    if not any(path.is_file() for path in folder.rglob("*")):
        raise DataError(f"data folder '{folder}': is empty; it should hold {holds}.")


def dataset_rows(arguments: Mapping[str, Any], *, source: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields split, place (source, split, line) and row of every row; a place names a folder without those above it, since records keep it.

    Args:
        arguments: Those of `datasets.load_dataset_builder`.
        source: What an error calls the data set.

    Raises:
        DataError: It cannot be found or read.
    """
    import datasets

    datasets.disable_progress_bars()
    # What its readers and the hub's client log (tracebacks, every retry) is in our own error.
    for name in ("datasets", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        builder = datasets.load_dataset_builder(**arguments)
        builder.download_and_prepare()
        parts = builder.as_dataset()
    except Exception as error:
        where = _broken_line(Path(str(arguments["path"])))
        raise DataError(f"{source}: cannot be read ({type(error).__name__}: {_last_cause(error)}).{where}") from error
    files = builder.config.data_files or {}
    folder = str(arguments["path"])
    source = source.replace(folder, Path(folder).name) if Path(folder).is_dir() else source
    for split, part in parts.items():
        names = [Path(str(name)).name for name in files.get(split, [])]
        place = f"{source}, {split} ({names[0]})" if len(names) == 1 else f"{source}, {split}"
        for number, row in enumerate(part, start=1):
            yield str(split), f"{place}, line {number}", row


def _broken_line(folder: Path) -> str:
    """Returns a sentence that names the first line of a folder's JSON-lines files that is no JSON; empty if there is none."""
    files = [path for path in sorted(folder.rglob("*")) if path.name.endswith((".jsonl", ".jsonl.gz"))]
    for path in files if folder.is_dir() else []:
        try:
            data = path.read_bytes()
            text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
        except (OSError, EOFError, UnicodeDecodeError) as error:
            return f" {path.relative_to(folder)}: {error}."
        for number, line in enumerate(text.splitlines(), start=1):
            try:
                json.loads(line or "{}")
            except ValueError as error:
                return f" {path.relative_to(folder)}, line {number}: is no JSON ({error})."
    return ""


def _last_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
