"""Sends a cell's figures to trackers through accelerate: every update by its number, the evaluation at the end, the configuration.

A tracker is a view from outside: one that fails is left out with a note, and the training goes on. What was sent stands in a file beside the
tracker's own, so that a resume sends nothing twice.
"""

import contextlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock

from marl_bench.records import RunRecord
from marl_bench.run_dir import CURVE, TIMINGS, digest_of_json, read_jsonl, write_json_atomically
from marl_bench.training.progress import Progress

PROJECT = "marl-bench"
"""Project or experiment, where a tracker has such a thing; runs in it are called experiment/cell."""
TRACKING = "tracking"
"""Folder of the experiment that holds what trackers write here."""
_SECONDS_TO_START = 60.0


class Tracker(Protocol):
    """What accelerate's trackers have in common."""

    def start(self) -> None:
        """Opens the run."""
        ...

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Takes the configuration."""
        ...

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        """Takes figures of a step."""
        ...

    def finish(self) -> None:
        """Closes the run."""
        ...


MakeTracker = Callable[[str, Path, str, str | None], Tracker]
"""Makes a tracker from its name, its folder, the name of the run, and the id of the run that it goes on with."""


@contextlib.contextmanager
def tracked(
    names: Sequence[str],
    root: Path,
    record: RunRecord,
    progress: Progress,
    *,
    settings: Mapping[str, Any],
    make: MakeTracker | None = None,
) -> Iterator["TrackedProgress"]:
    """Gives a progress that also sends to trackers, and closes them at the end, however that comes.

    Args:
        names: Trackers.
        root: Folder of the experiment.
        record: Of the cell as it begins.
        progress: Told of everything as before.
        settings: Dotted keys to values of the configuration.
        make: Makes a tracker; None takes those of accelerate.
    """
    cell = f"{record.arm['name']}-seed{record.seed}"
    identity = digest_of_json([record.config_hash, record.arm, record.seed, dict(record.digests)])
    links = []
    for name in names:
        link = _Link(name, root / TRACKING / name, cell, identity, progress.note)
        link.open(make or _accelerate_tracker, f"{root.resolve().name}/{cell}", _configuration(settings, record))
        links.append(link)
    try:
        yield TrackedProgress(progress, root / "cells" / cell, links)
    finally:
        for link in links:
            link.close()


class TrackedProgress:
    """Passes everything on to another progress and sends finished updates to trackers."""

    def __init__(self, progress: Progress, folder: Path, links: Sequence["_Link"]) -> None:
        """Keeps the cell's folder, whose lines are what is sent."""
        self._progress, self._folder, self._links = progress, folder, links

    def step(self, stage: str, done: int, total: int, **figures: float) -> None:
        """Sends the lines of all updates that were not sent yet; those before a tracker was there as well."""
        if stage == "ppo":
            for link in self._links:
                link.send_updates(self._folder)
        self._progress.step(stage, done, total, **figures)

    def resumed(self, stage: str, done: int, total: int) -> None:
        """Passes it on."""
        self._progress.resumed(stage, done, total)

    def note(self, text: str) -> None:
        """Passes it on."""
        self._progress.note(text)

    def stop_requested(self) -> bool:
        """Passes the question on."""
        return self._progress.stop_requested()

    def result(self, record: RunRecord) -> None:
        """Sends the evaluation of a finished cell, at its last update."""
        for link in self._links:
            link.send_result(record)


class _Link:
    """One tracker and what it was sent; None in its place once it has failed."""

    def __init__(self, name: str, folder: Path, cell: str, identity: str, note: Callable[[str], None]) -> None:
        self._name, self._folder, self._note = name, folder, note
        self._path = folder / f"{cell}.sent.json"
        self._tracker: Tracker | None = None
        self._sent: dict[str, Any] = {"identity": identity, "updates": 0, "result": False, "run": None}

    def open(self, make: MakeTracker, run_name: str, configuration: dict[str, Any]) -> None:
        """Starts the tracker; a run of the same cell goes on, one of another configuration or version is left as it is."""
        with self._left_out_if_it_fails("cannot be started"):
            self._folder.mkdir(parents=True, exist_ok=True)
            known = json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}
            again = known.get("identity") == self._sent["identity"]
            if again:
                self._sent = known
            tracker = make(self._name, self._folder, run_name, self._sent["run"])
            # One at a time: cells of other workers may be about to make the same database.
            with FileLock(self._folder / ".lock", timeout=_SECONDS_TO_START), contextlib.redirect_stdout(io.StringIO()):
                tracker.start()
            self._tracker = tracker
            if not again:
                tracker.store_init_configuration(configuration)
                self._sent["run"] = _run_id(tracker) or run_name
                self._write()

    def send_updates(self, folder: Path) -> None:
        """Sends the updates of the cell's files that were not sent yet."""
        with self._left_out_if_it_fails("has failed"):
            if self._tracker is None:
                return
            seconds = {line["update"]: line for line in read_jsonl(folder / TIMINGS)}
            for line in read_jsonl(folder / CURVE):
                number = line["update"]
                if number > self._sent["updates"]:
                    times = _numbers(seconds.get(number, {}), "time")
                    self._tracker.log({**_numbers(line, "train"), **times}, step=number)
                    self._sent["updates"] = number
                    self._write()

    def send_result(self, record: RunRecord) -> None:
        """Sends the evaluation, once."""
        with self._left_out_if_it_fails("has failed"):
            if self._tracker is not None and not self._sent["result"]:
                self._tracker.log(_numbers(record.metrics, "evaluation"), step=int(record.budget.get("updates", 0)))
                self._sent["result"] = True
                self._write()

    def close(self) -> None:
        """Closes the tracker's run."""
        with self._left_out_if_it_fails("cannot be closed"):
            if self._tracker is not None:
                with contextlib.redirect_stdout(io.StringIO()):
                    self._tracker.finish()

    def _write(self) -> None:
        write_json_atomically(self._path, self._sent)

    @contextlib.contextmanager
    def _left_out_if_it_fails(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 (a tracker must not end a training)
            self._tracker = None
            self._note(
                f"tracker {self._name} {what} ({type(error).__name__}: {error}); the training goes on without it."
            )


def _accelerate_tracker(name: str, folder: Path, run_name: str, run: str | None) -> Tracker:
    """Returns accelerate's tracker of a name, which writes below the folder unless the user's environment says otherwise."""
    from accelerate import PartialState, tracking

    PartialState()  # accelerate's trackers ask it which process they are in
    where = str(folder.resolve())
    tracker: Tracker
    if name == "tensorboard":
        cell = run_name.rsplit("/", 1)[-1]
        if run is None:  # events of another configuration or version would be drawn into these
            shutil.rmtree(folder / cell, ignore_errors=True)
        tracker = tracking.TensorBoardTracker(cell, where)
    elif name == "wandb":
        os.environ.setdefault("WANDB_MODE", "offline")
        os.environ.setdefault("WANDB_SILENT", "true")
        more = {"id": run, "resume": "allow"} if run else {}
        tracker = tracking.WandBTracker(PROJECT, name=run_name, group=run_name.split("/")[0], dir=where, **more)
    elif name == "mlflow":
        os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{where}/mlflow.db")
        tracker = tracking.MLflowTracker(
            PROJECT, logging_dir=f"file://{where}/artifacts", run_id=run, run_name=run_name
        )
    else:
        os.environ.setdefault("TRACKIO_DIR", where)
        tracker = tracking.TrackioTracker(PROJECT, name=run_name, resume="allow" if run else "never")
    return tracker


def _run_id(tracker: Any) -> str | None:
    """Returns the id by which a tracker knows the run, for those that have one."""
    run = getattr(tracker, "tracker", None)
    for found in (
        getattr(getattr(run, "info", None), "run_id", None),
        getattr(run, "id", None),
        getattr(run, "name", None),
    ):
        if isinstance(found, str) and found:
            return found
    return None


def _configuration(settings: Mapping[str, Any], record: RunRecord) -> dict[str, Any]:
    """Returns the configuration as trackers take it: numbers, flags and texts."""
    facts = {"arm": record.arm.get("label"), "seed": record.seed, "config_hash": record.config_hash, **settings}
    plain = (bool, int, float, str)
    return {key: value if isinstance(value, plain) else json.dumps(value) for key, value in facts.items()}


def _numbers(line: Mapping[str, Any], group: str) -> dict[str, float]:
    """Returns the finite numbers of a line under names of a group; histograms stay in the files."""
    return {
        f"{group}/{name}": value
        for name, value in line.items()
        if name != "update" and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
