"""Runs jobs in worker processes on this machine. Models live in the workers only; one that dies loses its own job only."""

import dataclasses
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

from marl_bench.errors import DiskFullError, ElsewhereError, Interrupted, MarlBenchError, ProcessLostError
from marl_bench.launch import WORKER_ENVIRONMENT
from marl_bench.planning import ArmPlan, Plan
from marl_bench.run_dir import works_in
from marl_bench.world import ALONE, World


@dataclasses.dataclass(frozen=True)
class Job:
    """One thing for a worker to do: the shared stages (`arm` is None), or a cell."""

    arm: ArmPlan | None
    seed: int = 0

    @property
    def name(self) -> str:
        """Readable name."""
        return "shared stages" if self.arm is None else f"{self.arm.label} seed {self.seed}"


@dataclasses.dataclass(frozen=True)
class Event:
    """What a worker tells.

    Attributes:
        job: The job it is about.
        kind: `started`, `resumed` (`done` of `total` steps were finished by a process before), `step`, `note`, `done`, `failed` or `stopped`.
        stage: Stage of a step.
        done: Finished steps of the stage.
        total: All steps of the stage.
        figures: Latest figures of the stage.
        error: Text of a failure.
        text: Text of a note.
        traceback: Its traceback.
        exit_status: Exit status that the failure asks for.
        disk_full: True if the failure will befall all others too.
    """

    job: Job
    kind: Literal["started", "resumed", "step", "note", "done", "failed", "stopped"]
    stage: str = ""
    done: int = 0
    total: int = 0
    figures: Mapping[str, float] = dataclasses.field(default_factory=dict)
    error: str = ""
    text: str = ""
    traceback: str = ""
    exit_status: int = 1
    disk_full: bool = False


class _Process:
    """A worker process and the parent's end of its pipe."""

    def __init__(self, plan: Plan, stop: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(plan, theirs, stop), daemon=True)
        self.process.start()
        theirs.close()
        self.job: Job | None = None
        self.heard = False  # True once it has told anything

    def give(self, job: Job) -> None:
        self.job = job
        self.connection.send(job)


class LocalExecutor:
    """A pool of worker processes for one plan; use it as a context manager."""

    def __init__(self, plan: Plan, listener: Callable[[Event], None]) -> None:
        """Starts `plan.jobs` workers; they import what they need while the first job runs."""
        self._plan, self._listener = plan, listener
        self._stop = multiprocessing.get_context("spawn").Event()
        # Workers inherit these; torch reads them when it is imported.
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(plan.threads)
        os.environ.update(WORKER_ENVIRONMENT)
        # glibc returns the memory of every tensor to the system and asks for it again; two busy workers spend a third of their time so.
        for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
            os.environ.setdefault(name, "2000000000")
        os.environ.setdefault("MALLOC_TOP_PAD_", str(64 * 1024 * 1024))
        self._processes = [_Process(plan, self._stop) for _ in range(plan.jobs)]

    def __enter__(self) -> "LocalExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._processes:
            worker.connection.close()
        for worker in self._processes:
            worker.process.join(timeout=5)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def run(self, jobs: Sequence[Job]) -> list[Event]:
        """Runs jobs side by side, in order, and returns the last event of each that failed.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; the workers have written checkpoints.
            DiskFullError: The disk is full; the other workers have stopped too.
        """
        failures: list[Event] = []
        with _asked_to_stop() as asked:
            for event in self._all_events(list(reversed(jobs)), asked):
                self._listener(event)
                if event.kind == "failed":
                    failures.append(event)
                if event.disk_full:
                    self._stop.set()
            for event in failures:
                if event.disk_full:
                    raise DiskFullError(event.error)
            if self._stop.is_set():
                raise Interrupted("stopped; the same command again goes on from here.")
        return failures

    def _all_events(self, waiting: list[Job], asked: Callable[[], bool]) -> Iterator[Event]:
        """Gives the waiting jobs, last first, to idle workers, and yields what the workers tell until all are idle."""
        while True:
            if asked():
                self._stop.set()
            if not self._stop.is_set():
                for worker in self._processes:
                    if worker.job is None and waiting:
                        worker.give(waiting.pop())
            busy = [worker for worker in self._processes if worker.job is not None]
            if not busy:
                return
            for worker in busy:
                yield from self._events(worker)

    def _events(self, worker: _Process) -> Iterator[Event]:
        """Yields what a worker has to tell, waiting a moment for it."""
        assert worker.job is not None
        ready = wait([worker.connection, worker.process.sentinel], timeout=0.05)
        if worker.connection in ready:
            try:
                event: Event = worker.connection.recv()
            except (EOFError, OSError):
                yield self._replace(worker)
                return
            worker.heard = True
            if event.kind in ("done", "failed", "stopped"):
                worker.job = None
            yield event
        elif worker.process.sentinel in ready:
            yield self._replace(worker)

    def _replace(self, worker: _Process) -> Event:
        """Puts a new process in the place of one that died, and returns the failure of its job."""
        worker.process.join()
        job, code = worker.job, worker.process.exitcode
        assert job is not None
        self._processes[self._processes.index(worker)] = _Process(self._plan, self._stop)
        if code == -signal.SIGKILL:
            cause = (
                "was killed, perhaps for want of memory; run the same command again, with --jobs 1 if memory is short."
            )
        elif worker.heard:
            cause = f"ended with exit status {code}; run the same command again."
        else:
            cause = (
                f"ended at its start with exit status {code}; a Python script that runs experiments has to do so under "
                '`if __name__ == "__main__":`.'
            )
        return Event(job, "failed", error=f"{job.name}: its worker process {cause}")


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Gives what tells whether Ctrl-C was pressed, or SIGTERM came, which clusters send before they end a job.

    A second Ctrl-C interrupts at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked = False

    # Sets nothing that has a lock: the signal may come while the main thread holds it.
    def ask(number: int, _: object) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _PipeProgress:
    """Sends steps to the parent, at most ten a second and always the last of a stage."""

    def __init__(self, connection: Connection, job: Job, stop: Any) -> None:
        self._connection, self._job, self._stop = connection, job, stop
        self._last = 0.0

    def step(self, stage: str, done: int, total: int, **figures: float) -> None:
        now = time.monotonic()
        if done == total or now - self._last >= 0.1:
            self._last = now
            self._send(Event(self._job, "step", stage, done, total, figures))

    def resumed(self, stage: str, done: int, total: int) -> None:
        self._send(Event(self._job, "resumed", stage, done, total))

    def note(self, text: str) -> None:
        self._send(Event(self._job, "note", text=text))

    def _send(self, event: Event) -> None:
        try:
            self._connection.send(event)
        except OSError as error:  # the parent was interrupted twice and has gone
            raise Interrupted("the main process has ended.") from error

    def stop_requested(self) -> bool:
        return bool(self._stop.is_set())


def _work(plan: Plan, connection: Connection, stop: Any) -> None:
    """Runs in the worker process: takes jobs from the pipe until it is closed."""
    # The parent decides what Ctrl-C means, and SIGTERM, which a cluster sends to all processes of a job.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with works_in(plan.run_dir):
        _take_jobs(plan, connection, stop)


def _take_jobs(plan: Plan, connection: Connection, stop: Any) -> None:
    parent = multiprocessing.parent_process()
    if parent is None or not parent.is_alive():
        return  # jobs in the pipe are those of a process that was killed; another may be at work here
    worker = None
    while True:
        try:
            job = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(Event(job, "started"))

        def work(job: Job = job) -> None:
            nonlocal worker
            if worker is None:
                worker = make_worker(plan)
            run_job(worker, job, _PipeProgress(connection, job, stop))

        event = last_event(job, work)
        try:
            connection.send(event)
        except OSError:
            return


def last_event(job: Job, work: Callable[[], None]) -> Event:
    """Does the work of a job and returns its last event, whatever happens.

    Raises:
        ProcessLostError: There is nobody to go on with.
    """
    try:
        work()
    except ProcessLostError:
        raise
    except Interrupted:
        return Event(job, "stopped")
    except MarlBenchError as error:
        if error.exit_status == Interrupted.exit_status:
            return Event(job, "stopped")
        told = isinstance(error, ElsewhereError) and error.failure is not None
        return Event(
            job,
            "failed",
            error=str(error),
            traceback=error.failure.traceback if told else traceback.format_exc(),  # type: ignore[attr-defined]  # told says so
            exit_status=error.exit_status,
            disk_full=isinstance(error, DiskFullError),
        )
    except Exception as error:  # noqa: BLE001 (one cell's failure must not end the others)
        return Event(job, "failed", error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
    return Event(job, "done")


def run_job(worker: Any, job: Job, progress: Any) -> None:
    """Lets a worker do a job."""
    if job.arm is None:
        worker.run_shared(progress)
    else:
        worker.run_cell(job.arm, job.seed, progress)


def make_worker(plan: Plan, world: World = ALONE) -> Any:
    """Returns what runs the jobs of a plan in this process; imports torch and all that the models need."""
    from transformers.utils import logging

    from marl_bench.cell import Worker

    logging.set_verbosity_error()  # a reward model's new head would be announced as a defect
    return Worker(plan, world)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)  # after kill -9 of the parent nobody else would end this process
