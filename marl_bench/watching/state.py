"""Where a run stands, from its files alone. Half-written lines are left out until they are whole."""

import dataclasses
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from marl_bench.config import RunConfig
from marl_bench.errors import RecordError
from marl_bench.records import RunRecord
from marl_bench.run_dir import CHECKPOINTS, CURVE, RECORD, STAGE, TIMINGS, RunDir, read_config, read_record
from marl_bench.watching.locks import anyone_works

Status = Literal["running", "complete", "failed", "stale"]
SILENCE_SECONDS = 120.0
"""Without a lock to look at, a cell that has written nothing for this long, or for ten updates, counts as stale."""


@dataclasses.dataclass(frozen=True)
class CellState:
    """Where a cell stands.

    Attributes:
        arm: Its arm.
        seed: Its seed.
        status: `running`, `complete`, `failed`, or `stale`: begun, and nobody works on it.
        curve: The lines of its curve, one an update.
        updates: Updates that it will make; 0 if it draws no curve; None if that is not known.
        seconds_an_update: Median time of its last updates, or None before the first.
        silent_seconds: Time since it last wrote anything.
        error: What a failed cell failed of.
    """

    arm: str
    seed: int
    status: Status
    curve: Sequence[Mapping[str, Any]]
    updates: int | None
    seconds_an_update: float | None
    silent_seconds: float
    error: str | None

    @property
    def done(self) -> int:
        """Finished updates."""
        return int(self.curve[-1]["update"]) if self.curve else 0

    @property
    def seconds_left(self) -> float | None:
        """Time until its last update, the evaluation not counted; None if that is not known."""
        if self.status in ("complete", "failed"):
            return 0.0
        if self.updates is None or self.seconds_an_update is None:
            return None
        return (self.updates - self.done) * self.seconds_an_update


@dataclasses.dataclass(frozen=True)
class StageState:
    """Where a shared stage stands: finished, or its newest checkpoint if it has one."""

    name: str
    finished: bool
    checkpoint: str | None


@dataclasses.dataclass(frozen=True)
class RunState:
    """Where a run stands.

    Attributes:
        name: Name of the experiment.
        task: Its task.
        stages: Its shared stages.
        cells: The cells that have begun, arm by arm.
        planned: Cells that its configuration asks for.
        working: True if a process works on it, False if none does, None if that cannot be told here.
        problems: Files that cannot be read.
    """

    name: str
    task: str
    stages: Sequence[StageState]
    cells: Sequence[CellState]
    planned: int
    working: bool | None
    problems: Sequence[str]

    @property
    def finished(self) -> bool:
        """True if nothing is left to do."""
        return len(self.cells) >= self.planned and all(cell.status == "complete" for cell in self.cells)

    def arms(self) -> Mapping[str, Sequence[CellState]]:
        """Returns the cells of each arm, in the order of their folders."""
        found: dict[str, list[CellState]] = {}
        for cell in self.cells:
            found.setdefault(cell.arm, []).append(cell)
        return found

    def metrics(self) -> set[str]:
        """Returns the names of all figures that the curves hold."""
        lines = (line for cell in self.cells for line in cell.curve[-1:])
        return {name for line in lines for name, value in line.items() if isinstance(value, int | float)}


def read_state(root: Path) -> RunState:
    """Reads where a run stands.

    Raises:
        RecordError: The folder holds no experiment, or its configuration is damaged.
    """
    run_dir = RunDir(root)
    settings = {key: value for key, value in read_config(run_dir).items() if key != "config_hash"}
    try:
        config = RunConfig.model_validate(settings)
    except ValidationError as error:
        raise RecordError(
            f"{run_dir.config}: no configuration that this version can read ({error.error_count()} problems, the first: "
            f"{'.'.join(map(str, error.errors()[0]['loc']))}: {error.errors()[0]['msg']})."
        ) from error
    working = anyone_works(run_dir)
    cells, problems = [], []
    for folder in sorted(run_dir.cells.glob("*")) if run_dir.cells.is_dir() else []:
        try:
            record = read_record(folder)
        except RecordError as error:
            problems.append(str(error))
            continue
        if record is not None:
            cells.append(_cell(folder, record, config, working=working))
    return RunState(
        name=root.resolve().name,
        task=config.task,
        stages=_stages(run_dir),
        cells=sorted(cells, key=lambda cell: (cell.arm, cell.seed)),
        planned=config.seeds * len(config.arms),
        working=working,
        problems=problems,
    )


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a JSON-lines file that are whole; one that is being written, or was cut off, is left out."""
    try:
        data = path.read_bytes()
    except OSError:
        return []
    rows = []
    for line in data.split(b"\n")[:-1]:  # what follows the last newline is not finished
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _cell(folder: Path, record: RunRecord, config: RunConfig, *, working: bool | None) -> CellState:
    by_update = {line["update"]: line for line in whole_lines(folder / CURVE) if isinstance(line.get("update"), int)}
    timings = whole_lines(folder / TIMINGS)[-8:]
    seconds = [line.get("rollout_seconds", 0.0) + line.get("update_seconds", 0.0) for line in timings]
    pace = statistics.median(seconds) if seconds else None
    silent = _silent_seconds(folder)
    return CellState(
        arm=record.arm.get("label") or record.arm["name"],
        seed=record.seed,
        status=_status(record, working=working, silent=silent, pace=pace),
        curve=[by_update[number] for number in sorted(by_update)],
        updates=0 if record.status == "complete" and not by_update else _updates(record, config),
        seconds_an_update=pace,
        silent_seconds=silent,
        error=record.error,
    )


def _status(record: RunRecord, *, working: bool | None, silent: float, pace: float | None) -> Status:
    if record.status != "running":
        return record.status
    if working is None:
        return "stale" if silent > max(SILENCE_SECONDS, 10 * (pace or 0.0)) else "running"
    return "running" if working else "stale"


def _updates(record: RunRecord, config: RunConfig) -> int | None:
    if not record.arm.get("trained", True):
        return 0
    options = record.arm.get("options", {})
    ppo = config.ppo.model_copy(update={name: options[name] for name in ("updates", "batch_size") if name in options})
    prompts = record.shared.get("data", {}).get("counts", {}).get("rl")
    if ppo.updates is None and prompts is None:
        return None
    return ppo.planned_updates(prompts or 0)


def _silent_seconds(folder: Path) -> float:
    times = [(folder / name).stat().st_mtime for name in (RECORD, CURVE, TIMINGS) if (folder / name).exists()]
    return max(0.0, time.time() - max(times))


def _stages(run_dir: RunDir) -> list[StageState]:
    found = []
    for name in ("sft", "reward_model", "reward"):
        folder = run_dir.shared(name)
        if folder.is_dir():
            checkpoints = sorted(entry.name for entry in folder.glob(f"{CHECKPOINTS}/[!.]*") if entry.is_dir())
            found.append(StageState(name, (folder / STAGE).exists(), checkpoints[-1] if checkpoints else None))
    return found or [StageState("sft", finished=False, checkpoint=None)]
