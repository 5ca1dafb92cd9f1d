"""Runs a whole experiment: shared stages, the grid of cells, the report. The same call again goes on from what is finished. No torch."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from marl_bench.config import RunConfig
from marl_bench.config_layers import resolve
from marl_bench.disk_space import full_disk_named
from marl_bench.errors import CellFailedError, ConfigError, DataError, MarlBenchError, ModelError
from marl_bench.executors import Event, Job, LocalExecutor
from marl_bench.launch import read_launch
from marl_bench.models.lora_install import check_lora_installed
from marl_bench.models.vllm_install import check_sampler
from marl_bench.planning import ArmPlan, Plan, make_plan
from marl_bench.plugins import Registry
from marl_bench.reporting.comparison import Comparison
from marl_bench.reporting.report import write_report
from marl_bench.reward_sources import parse_reward_sources
from marl_bench.run_dir import (
    CHECKPOINTS,
    SAMPLES,
    STAGE,
    RunDir,
    check_free,
    claim,
    locked,
    make_writable,
    read_record,
    remove_leftovers,
)
from marl_bench.together import TogetherExecutor, check_shards
from marl_bench.world import ALONE, World

Listener = Callable[[Event], None]


@dataclasses.dataclass(frozen=True)
class Todo:
    """What is left to do of a plan.

    Attributes:
        shared: True if a shared stage is missing.
        cells: Jobs of the cells that are not complete.
        finished: Number of complete cells.
        failed: Name and error of the cells that failed before and are left so.
    """

    shared: bool
    cells: Sequence[Job]
    finished: int
    failed: Sequence[str] = ()


def run(
    task: str = "tldr",
    *,
    preset: str = "tiny",
    overrides: Mapping[str, Any] | None = None,
    plugins: Sequence[Path | str] = (),
    out: Path | str | None = None,
    jobs: int | None = None,
    listener: Listener | None = None,
) -> Comparison:
    """Runs (or finishes) an experiment and returns the comparison; the whole of `marl-bench run` from Python.

    Args:
        task: Id of the task.
        preset: Name of the preset.
        overrides: Dotted keys to values, as `--set`.
        plugins: Files or folders with further plugins, as `--plugin`.
        out: Folder of the experiment; None names it after task, preset and hash.
        jobs: Worker processes; None takes one a core.
        listener: Called with every event.

    Raises:
        MarlBenchError: Settings are wrong, or a cell failed.
    """
    if read_launch(os.environ) is not None:
        raise ConfigError("run(): is for one process; start several with torchrun ... -m marl_bench run.")
    registry = Registry([Path(path) for path in plugins])
    resolved = resolve(
        preset=preset,
        layers=[("argument task", {"task": task})],
        overrides=list((overrides or {}).items()),
        task_settings=registry.task_settings,
    )
    plan = make_plan(
        resolved,
        registry,
        out=Path(out) if out is not None else None,
        jobs=jobs or default_jobs(resolved.config),
        threads=1,
    )
    return run_plan(plan, listener=listener)


def run_plan(plan: Plan, *, listener: Listener | None = None, world: World = ALONE, retry: bool = True) -> Comparison:
    """Runs what is missing of a plan, writes the report and returns the comparison.

    Args:
        plan: What to do.
        listener: Called with every event.
        world: The processes that work on every cell together; this one is the first of them, the others `follow`.
        retry: Also run cells again that failed before.

    Raises:
        ConfigError: Models are to be divided and cannot.
        RunFolderError: The folder cannot be used.
        CellFailedError: A cell failed; the others are complete and the report shows them.
        DiskFullError: The disk is full; nothing is damaged.
        Interrupted: Ctrl-C or SIGTERM.
    """
    check_plan(plan)
    check_shards(plan.config, world.size)
    run_dir = plan.run_dir
    make_writable(run_dir)
    with locked(run_dir), full_disk_named(run_dir.root):
        _tidy(run_dir)
        claim(run_dir, plan.config.model_dump(mode="json"), config_hash=plan.config_hash)
        todo = remaining(plan, retry=retry)
        failures: list[Event] = []
        if todo.shared or todo.cells:
            with _executor(plan, listener or (lambda _: None), world) as executor:
                if todo.shared:
                    _raise_failure(executor.run([Job(None)]))
                failures = executor.run(todo.cells)
        failed = [f"{event.job.name}: {event.error}" for event in failures] + list(todo.failed)
        if failed and len(failed) == len(plan.cells()):
            raise _cells_failed(failed, plan, retry=retry)  # there is nothing to report on
        comparison = write_report([run_dir], out=run_dir.root).comparison
    if failed:
        raise _cells_failed(failed, plan, comparison, retry=retry)
    return comparison


def _executor(plan: Plan, listener: Listener, world: World) -> LocalExecutor | TogetherExecutor:
    return LocalExecutor(plan, listener) if world.size == 1 else TogetherExecutor(plan, listener, world)


def _tidy(run_dir: RunDir) -> None:
    """Removes what a killed process left half written; only the process that holds the folder may do so."""
    shared = run_dir.root / "shared"
    for folder in (shared, *shared.glob("*"), *shared.glob(f"{CHECKPOINTS}/*"), *run_dir.cells.glob("*")):
        remove_leftovers(folder)
    for folder in shared.glob(f"{CHECKPOINTS}/*"):
        if (run_dir.shared(folder.name) / STAGE).exists():
            shutil.rmtree(folder)
    for folder in run_dir.cells.glob(f"*/{CHECKPOINTS}"):
        record = read_record(folder.parent)
        if record is not None and record.status == "complete":
            shutil.rmtree(folder)
        else:
            remove_leftovers(folder)


def remaining(plan: Plan, *, retry: bool = True) -> Todo:
    """Returns what is left to do, from the files of the experiment; without `retry`, cells that failed stay so."""
    stages = [plan.run_dir.shared(name) / STAGE for name in plan.stages]
    cells: list[Job] = []
    failed: list[str] = []
    for arm, seed in plan.cells():
        folder = plan.run_dir.cell(arm.name, seed)
        if _is_complete(folder, arm):
            continue
        job, record = Job(arm, seed), read_record(folder)
        if record is not None and record.status == "failed" and not retry:
            failed.append(f"{job.name}: {record.error}")
        else:
            cells.append(job)
    missing = not all(path.exists() for path in stages)
    return Todo(missing, cells, len(plan.cells()) - len(cells) - len(failed), failed)


def _is_complete(folder: Path, arm: ArmPlan) -> bool:
    """Returns True if the cell is finished, has its samples, and was made by the versions that are installed now."""
    record = read_record(folder)
    samples = folder / SAMPLES
    if record is None or record.status != "complete" or not samples.exists() or not samples.stat().st_size:
        return False
    rule_hash = arm.rule.hash if arm.rule else None
    return (record.arm.get("baseline_version"), record.arm.get("rule_hash")) == (arm.version, rule_hash)


def check_plan(plan: Plan) -> None:
    """Checks before any work, without writing, what can be checked: the experiment's folder, models and data.

    Raises:
        RunFolderError: The folder holds something else.
        ModelError: A model folder is missing or no model of its kind, or a package that adapters need.
        DataError: The data folder is missing or empty.
        ConfigError: The sampler is not installed, does not fit, or cannot sample for such a training.
    """
    check_sampler(plan.config)
    check_lora_installed(plan.config.lora)
    check_free(plan.run_dir, config_hash=plan.config_hash)
    config = plan.config
    for option, path in (
        ("--model", config.model.path),
        ("--sft-model", config.sft.path),
        ("--reward-model", config.reward_model.path),
    ):
        if path is None or path == "tiny":
            continue
        _check_model_folder(f"{option} '{path}'", path, may_be_hub_id=option == "--model")
        if option == "--reward-model":
            _check_reward_model(Path(path).expanduser())
    for part in parse_reward_sources(config.reward.sources):
        if part.kind == "classifier":
            _check_model_folder(f"--reward {part.text}", part.target, may_be_hub_id=True)
    source = config.data.source
    if source not in ("embedded", "hub"):
        folder = Path(source).expanduser()
        if not folder.is_dir():
            raise DataError(f"--data '{source}': is neither embedded nor hub nor a folder that exists.")
        if not any(entry.is_file() for entry in folder.rglob("*")):
            raise DataError(f"--data '{source}': the folder is empty.")


def _check_model_folder(where: str, path: str, *, may_be_hub_id: bool) -> None:
    """Checks that what is, or looks like, a local folder holds a model."""
    folder = Path(path).expanduser()
    looks_local = folder.exists() or path.startswith((".", "/", "~")) or path.count("/") != 1
    if (looks_local or not may_be_hub_id) and not (folder / "config.json").is_file():
        raise ModelError(f"{where}: no from_pretrained folder there (config.json is missing).")


def default_jobs(config: RunConfig | None = None) -> int:
    """Returns one worker a core: single-threaded workers side by side beat threads for small models. An engine shares its device with none."""
    if config is not None and config.sampler.backend == "vllm" and config.sampler.mode == "colocated":
        return 1
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def _check_reward_model(folder: Path) -> None:
    try:
        architectures = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures") or []
    except ValueError as error:
        raise ModelError(f"--reward-model '{folder}': its config.json is damaged ({error}).") from error
    if architectures and not any("SequenceClassification" in name for name in architectures):
        raise ModelError(
            f"--reward-model '{folder}': is a {architectures[0]}; a reward model is a sequence classifier with one output."
        )


def _cells_failed(
    failed: Sequence[str], plan: Plan, comparison: Comparison | None = None, *, retry: bool
) -> CellFailedError:
    again = "the same command again retries them" if retry else "the same command with --retry tries them again"
    text = f"{len(failed)} of {len(plan.cells())} cells failed; {again}. {' '.join(failed)}"
    return CellFailedError(text, comparison=comparison)


def _raise_failure(failures: Sequence[Event]) -> None:
    for event in failures:
        raise _SharedStageError(event)


class _SharedStageError(MarlBenchError):
    """A shared stage failed, so no cell can run; carries the exit status of its cause."""

    def __init__(self, event: Event) -> None:
        super().__init__(event.error)
        self.exit_status = event.exit_status
        self.worker_traceback = event.traceback
