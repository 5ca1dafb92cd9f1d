"""Runs jobs one after another, each on all processes that torchrun started. The first process decides, writes and prints; the others follow."""

import dataclasses
import functools
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from marl_bench.errors import ConfigError, ElsewhereError, Interrupted, MarlBenchError, ProcessLostError
from marl_bench.executors import Event, Job, make_worker
from marl_bench.launch import StopAsked
from marl_bench.planning import Plan
from marl_bench.world import World


@dataclasses.dataclass(frozen=True)
class _End:
    """Takes the place of a job when there is none left."""

    exit_status: int


class TogetherExecutor:
    """Runs jobs on all processes; has the interface of `LocalExecutor` and lives on the first of them, while the others `follow`."""

    def __init__(self, plan: Plan, listener: Callable[[Event], None], world: World) -> None:
        """Keeps what it is given; models are loaded with the first job."""
        self._listener, self._world = listener, world
        self._hand = _Hand(plan, world)

    def __enter__(self) -> "TogetherExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing: the others wait for more jobs until the first process ends."""

    def run(self, jobs: Sequence[Job]) -> list[Event]:
        """Runs jobs in order and returns the last event of each that failed.

        Raises:
            Interrupted: Ctrl-C, or a process has gone.
        """
        failures = []
        for job in jobs:
            self._listener(Event(job, "started"))
            self._world.on_main("next job", functools.partial(Job, job.arm, job.seed))
            event = self._hand.run(job, self._listener)
            self._listener(event)
            if event.kind == "failed":
                failures.append(event)
            elif event.kind == "stopped":
                raise Interrupted("stopped; the same command again goes on from what is finished.")
        return failures


@contextmanager
def leading(world: World) -> Iterator[None]:
    """Tells the other processes when the first one is at its end, and how it went."""
    status = 0
    try:
        yield
    except BaseException as error:
        status = error.exit_status if isinstance(error, MarlBenchError) else 1
        raise
    finally:
        try:
            world.on_main("next job", lambda: _End(status))
        except ProcessLostError:
            if not status:
                raise


def follow(world: World, plan: Plan) -> None:
    """Runs the jobs that the first process hands out, until it is at its end.

    Raises:
        ElsewhereError: It ended with an error.
    """
    hand = _Hand(plan, world)
    while True:
        job: Any = world.on_main("next job", lambda: None)
        if isinstance(job, _End):
            if job.exit_status:
                raise ElsewhereError("the first process failed.", exit_status=job.exit_status)
            return
        hand.run(job, lambda _: None)


def check_world(plan: Plan, size: int) -> None:
    """Checks that so many processes can share the batches of a plan.

    Raises:
        ConfigError: A batch cannot be divided, or an arm trains by itself.
    """
    if size == 1:
        return
    config = plan.config
    batches = {"ppo.batch_size": config.ppo.batch_size}
    if "sft" in plan.stages and config.sft.path is None:
        batches["sft.batch_size"] = config.sft.batch_size
    if "reward_model" in plan.stages and config.reward_model.path is None:
        batches["reward_model.batch_size"] = config.reward_model.batch_size
    for arm in plan.arms:
        batches |= {f"arm '{arm.label}': {key}": value for key, value in arm.options.items() if key == "batch_size"}
    for name, rows in batches.items():
        if rows % size:
            below, above = rows // size * size, (rows // size + 1) * size
            nearest = f"{below} or {above}" if below else f"{above}"
            raise ConfigError(
                f"{name}: {rows} rows cannot be divided among {size} processes; the nearest that can are {nearest}, or start fewer processes."
            )


class _Hand:
    """The part of every process in a job."""

    def __init__(self, plan: Plan, world: World) -> None:
        self._plan, self._world = plan, world
        self._stop = StopAsked()
        self._worker: Any = None

    def run(self, job: Job, listener: Callable[[Event], None]) -> Event:
        """Runs a job together with the other processes and returns its last event."""
        try:
            self._world.together("job", lambda: self._run(job, listener))
        except ProcessLostError:
            raise
        except Interrupted:
            return Event(job, "stopped")
        except ElsewhereError as error:
            trace = error.failure.traceback if error.failure else ""
            if error.exit_status == Interrupted.exit_status:
                return Event(job, "stopped")
            return Event(job, "failed", error=str(error), traceback=trace, exit_status=error.exit_status)
        except MarlBenchError as error:
            return Event(
                job, "failed", error=str(error), traceback=traceback.format_exc(), exit_status=error.exit_status
            )
        except Exception as error:  # noqa: BLE001 (one cell's failure must not end the others)
            return Event(job, "failed", error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
        return Event(job, "done")

    def _run(self, job: Job, listener: Callable[[Event], None]) -> None:
        if self._worker is None:
            self._worker = make_worker(self._plan, self._world)
        progress = _Progress(job, listener, self._world, self._stop)
        if job.arm is None:
            self._worker.run_shared(progress)
        else:
            self._worker.run_cell(job.arm, job.seed, progress)


@dataclasses.dataclass(frozen=True)
class _Progress:
    """Tells the listener of steps; a stop is one for all processes, at the same step."""

    job: Job
    listener: Callable[[Event], None]
    world: World
    stop: StopAsked

    def step(self, stage: str, done: int, total: int, **figures: float) -> None:
        self.listener(Event(self.job, "step", stage, done, total, figures))

    def stop_requested(self) -> bool:
        return self.world.any("stop", self.stop.asked)
