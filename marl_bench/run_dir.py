"""The files of an experiment: names, atomic writes, lock, reading records back. No torch.

Layout::

    <experiment>/config.yaml            resolved configuration and its hash
    <experiment>/shared/sft/            from_pretrained folder, with stage.json beside the weights
    <experiment>/shared/reward_model/   likewise
    <experiment>/cells/<arm>-seed<k>/   metrics.jsonl  timings.jsonl  samples.jsonl  macro_actions.jsonl  policy/  critic/  record.json
    ... with checkpoints/ in shared/ and in the cells until they are complete
    <experiment>/diagnose/              what marl-bench diagnose found
    <experiment>/evaluations/<name>/    what marl-bench evaluate found: config.yaml, cells, report, as in an experiment
    <experiment>/sampling/<hash>/       samples of best-of-n and sweep-temperature: config.yaml, cells/<arm>-seed<k>/temperature_<t>.jsonl
    <experiment>/best_of_n.json  temperature_sweep.json     the curves made of them, with tables in .md beside them
    <experiment>/vllm.log               what the engines of `sampler.backend: vllm` printed
    <experiment>/report.md ...
"""

import dataclasses
import hashlib
import itertools
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, overload

try:
    import fcntl
except ImportError:  # Windows, where the workers of a killed process are not waited for
    fcntl = None  # type: ignore[assignment]

import yaml
from filelock import FileLock, Timeout

from marl_bench.errors import RecordError, RunFolderError
from marl_bench.records import Cell, EvalSample, RunRecord, not_a_sample

if TYPE_CHECKING:
    from marl_bench.sample_columns import SampleColumns

RECORD = "record.json"
CURVE = "metrics.jsonl"
TIMINGS = "timings.jsonl"
SAMPLES = "samples.jsonl"
STAGE = "stage.json"
CHECKPOINTS = "checkpoints"
LOCK = ".lock"
WORKERS_LOCK = ".workers"
ENGINE_LOG = "vllm.log"


_ORPHAN_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class RunDir:
    """Paths of one experiment."""

    root: Path

    @property
    def config(self) -> Path:
        """Resolved configuration."""
        return self.root / "config.yaml"

    @property
    def cells(self) -> Path:
        """Parent of the cell folders."""
        return self.root / "cells"

    def shared(self, stage: str) -> Path:
        """Folder of a shared stage: `sft`, `reward_model` or `reward`."""
        return self.root / "shared" / stage

    def cell(self, arm: str, seed: int) -> Path:
        """Folder of one cell."""
        return self.cells / f"{arm}-seed{seed}"


@contextmanager
def file_written_atomically(path: Path) -> Iterator[BinaryIO]:
    """Gives a temporary file that becomes `path` when the block ends: a crash leaves the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
        _sync(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Writes a whole file as `file_written_atomically` does."""
    with file_written_atomically(path) as file:
        file.write(data)


def write_text_atomically(path: Path, text: str) -> None:
    """Writes UTF-8 text as `write_bytes_atomically` does."""
    write_bytes_atomically(path, text.encode())


def write_json_atomically(path: Path, data: Any) -> None:
    """Writes JSON as `write_text_atomically` does; NaN and infinity are refused."""
    write_text_atomically(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl_atomically(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes JSON lines as one atomic file."""
    write_text_atomically(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def append_jsonl(path: Path, row: Mapping[str, Any]) -> None:
    """Appends one JSON line and flushes it to the disk's cache."""
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the rows of a JSON-lines file.

    Raises:
        RecordError: A line is not JSON; the text names file and line.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield json.loads(line)
            except ValueError as error:  # not UTF-8, or not JSON
                raise RecordError(
                    f"{path}, line {number}: not JSON ({error}); remove the cell's folder and run again."
                ) from error


@contextmanager
def folder_written_atomically(path: Path) -> Iterator[Path]:
    """Gives a temporary sibling folder that replaces `path`, its files safe on the disk, when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        temporary.chmod(0o755)
        for written in (*temporary.rglob("*"), temporary):
            _sync(written)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
        _sync(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def leftovers(folder: Path) -> list[Path]:
    """Returns the temporary files and folders that atomic writes left in a folder when their process was killed."""
    return sorted(folder.glob(".*.*"))


def remove_leftovers(folder: Path) -> None:
    """Removes the `leftovers`; only the process that holds the experiment may do so."""
    for path in leftovers(folder):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(run_dir: RunDir) -> Iterator[None]:
    """Holds the experiment folder for this process; the operating system frees it when the process dies.

    Raises:
        RunFolderError: Another process holds it.
    """
    lock = FileLock(run_dir.root / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise RunFolderError(
            f"{run_dir.root}: another marl-bench is working in this folder; wait for it or choose another --out."
        ) from error
    try:
        _wait_for_orphans(run_dir)
        yield
    finally:
        lock.release()


@contextmanager
def works_in(run_dir: RunDir) -> Iterator[None]:
    """Marks a worker process as one that may write into the folder, until it ends.

    The workers of a process that was killed end soon after it, yet not at once; a new one waits for them.
    """
    if fcntl is None:
        yield
        return
    with (run_dir.root / WORKERS_LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def _wait_for_orphans(run_dir: RunDir) -> None:
    if fcntl is None:
        return
    with (run_dir.root / WORKERS_LOCK).open("a") as file:
        for _ in range(int(_ORPHAN_SECONDS * 20)):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.05)
            else:
                return
    raise RunFolderError(
        f"{run_dir.root}: worker processes of a marl-bench that has ended still work in this folder; end them, or choose another --out."
    )


def check_free(run_dir: RunDir, *, config_hash: str) -> None:
    """Checks, without writing, that the folder is new, empty, or this configuration's own.

    Raises:
        RunFolderError: It holds something else or belongs to another configuration.
    """
    root = run_dir.root
    if run_dir.config.exists():
        owner = read_config(run_dir).get("config_hash")
        if owner != config_hash:
            raise RunFolderError(
                f"{root}: belongs to another configuration (hash {owner}, this run has {config_hash}); "
                "choose another --out, or remove the folder."
            )
    elif root.exists() and not root.is_dir():
        raise RunFolderError(f"{root}: is a file; choose a folder with --out.")
    elif root.is_dir() and any(entry.name not in (LOCK, WORKERS_LOCK) for entry in root.iterdir()):
        raise RunFolderError(f"{root}: is not empty and holds no experiment; choose an empty or new folder with --out.")


def make_writable(run_dir: RunDir) -> None:
    """Makes the folder if it is not there, and checks that it can be written.

    Raises:
        RunFolderError: It cannot.
    """
    root = run_dir.root
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise RunFolderError(
            f"{root}: cannot write there ({error.strerror or error}); choose a folder you may write to with --out."
        ) from error


def claim(run_dir: RunDir, config: Mapping[str, Any], *, config_hash: str) -> None:
    """Makes the folder, which this process has locked, this configuration's own; raises as `check_free`."""
    check_free(run_dir, config_hash=config_hash)
    text = yaml.safe_dump({"config_hash": config_hash, **config}, sort_keys=False, allow_unicode=True)
    write_text_atomically(run_dir.config, text)


def read_config(run_dir: RunDir) -> dict[str, Any]:
    """Reads the resolved configuration of an experiment.

    Raises:
        RecordError: There is none, or it is not YAML.
    """
    try:
        data = yaml.safe_load(run_dir.config.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RecordError(
            f"{run_dir.root}: no experiment there (config.yaml is missing); give the folder of a run."
        ) from error
    except yaml.YAMLError as error:
        raise RecordError(f"{run_dir.config}: not YAML ({error}).") from error
    if not isinstance(data, dict):
        raise RecordError(f"{run_dir.config}: not a mapping; the file is damaged.")
    return data


def read_record(folder: Path) -> RunRecord | None:
    """Reads a cell's record, or None if the cell has not begun.

    Raises:
        RecordError: The record cannot be read.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not UTF-8, or not JSON
        raise RecordError(f"{path}: damaged ({error}); remove the cell's folder and run again.") from error
    if not isinstance(data, dict):
        raise RecordError(f"{path}: holds {type(data).__name__}, no record; remove the cell's folder and run again.")
    return RunRecord.from_json(data, where=str(path))


@dataclasses.dataclass(frozen=True)
class StoredSamples(Sequence[EvalSample]):
    """The samples of a `samples.jsonl`, read anew each time they are gone through; none stays in memory."""

    path: Path

    def __iter__(self) -> Iterator[EvalSample]:
        for number, row in enumerate(read_jsonl(self.path), start=1):
            try:
                sample = EvalSample.from_json(row)
            except (KeyError, TypeError) as error:
                raise not_a_sample(error, where=f"{self.path}, line {number}") from error
            yield sample

    def __len__(self) -> int:
        return sum(1 for _ in read_jsonl(self.path))

    def __bool__(self) -> bool:
        return self.path.stat().st_size > 0

    @overload
    def __getitem__(self, index: int) -> EvalSample: ...

    @overload
    def __getitem__(self, index: slice) -> list[EvalSample]: ...

    def __getitem__(self, index: int | slice) -> EvalSample | list[EvalSample]:
        if isinstance(index, slice):
            return list(itertools.islice(self, *index.indices(len(self))))
        return next(itertools.islice(self, range(len(self))[index], None))

    def columns(self) -> "SampleColumns":
        """Returns the samples as columns, without ever holding their texts together.

        Raises:
            RecordError: A line cannot be read; the text names file and line.
        """
        from marl_bench.sample_columns import columns_of_rows

        return columns_of_rows(read_jsonl(self.path), where=str(self.path))


def read_cells(run_dir: RunDir) -> list[Cell]:
    """Reads all cells of an experiment, sorted by arm folder and seed; cells that have not begun are left out.

    Samples stay on the disk until they are asked for.

    Raises:
        RecordError: The folder holds no experiment, or a record cannot be read.
    """
    read_config(run_dir)
    cells = []
    for folder in sorted(run_dir.cells.glob("*")) if run_dir.cells.is_dir() else []:
        record = read_record(folder)
        if record is None:
            continue
        curve = list(read_jsonl(folder / CURVE)) if (folder / CURVE).exists() else []
        complete = record.status == "complete" and (folder / SAMPLES).exists()
        cells.append(Cell(record, curve, StoredSamples(folder / SAMPLES) if complete else []))
    return sorted(cells, key=lambda cell: (cell.record.arm["name"], cell.record.seed))


def digest_of_json(data: Any) -> str:
    """Returns the SHA-256 of the canonical JSON text, as 64 hexadecimal digits."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_folder(folder: Path, *, ignore: Iterable[str] = (STAGE,)) -> str:
    """Returns the SHA-256 over names and bytes of a folder's files, as 64 hexadecimal digits."""
    ignored = set(ignore)
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in ignored:
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
