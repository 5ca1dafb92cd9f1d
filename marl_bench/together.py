"""Runs jobs one after another, each on all processes that torchrun started. The first process decides, writes and prints; the others follow."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from marl_bench.config import RunConfig
from marl_bench.errors import ConfigError, DiskFullError, ElsewhereError, Interrupted, MarlBenchError, ProcessLostError
from marl_bench.executors import Event, Job, last_event, make_worker, run_job
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
            Interrupted: Ctrl-C or SIGTERM, or a process has gone.
            DiskFullError: The disk is full.
        """
        failures = []
        for job in jobs:
            self._listener(Event(job, "started"))
            self._world.on_main("next job", functools.partial(Job, job.arm, job.seed))
            event = self._hand.run(job, self._listener)
            self._listener(event)
            if event.kind == "failed":
                failures.append(event)
            if event.disk_full:
                raise DiskFullError(event.error)
            if event.kind == "stopped":
                raise Interrupted("stopped; the same command again goes on from here.")
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
        ConfigError: A batch cannot be divided.
    """
    if size == 1:
        return
    config = plan.config
    check_shards(config, size)
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


def check_shards(config: RunConfig, size: int) -> None:
    """Checks that models can be divided over so many processes where that was asked for.

    Raises:
        ConfigError: They cannot.
    """
    if not config.memory.shard:
        return
    if size == 1:
        raise ConfigError(
            "memory.shard: this run is one process, so there is nobody to divide with; start it with "
            "torchrun --nproc_per_node N -m marl_bench run ..., or set memory.shard to false."
        )
    refused = {
        "lora.rank": config.lora.rank is not None,
        "sampler.backend=vllm": config.sampler.backend == "vllm",
        "memory.offload": config.memory.offload,
        "speed.cpu_matmul": config.speed.cpu_matmul != "torch",
    }
    found = [name for name, given in refused.items() if given]
    if found:
        raise ConfigError(
            f"memory.shard: divided models do not go together with {', '.join(found)}; take that out, or set memory.shard to false."
        )


class _Hand:
    """The part of every process in a job."""

    def __init__(self, plan: Plan, world: World) -> None:
        self._plan, self._world = plan, world
        self._stop = StopAsked()
        self._worker: Any = None

    def run(self, job: Job, listener: Callable[[Event], None]) -> Event:
        """Runs a job together with the other processes and returns its last event."""
        return last_event(job, lambda: self._world.together("job", lambda: self._run(job, listener)))

    def _run(self, job: Job, listener: Callable[[Event], None]) -> None:
        if self._worker is None:
            self._worker = make_worker(self._plan, self._world)
        run_job(self._worker, job, _Progress(job, listener, self._world, self._stop))


@dataclasses.dataclass(frozen=True)
class _Progress:
    """Tells the listener of steps; a stop is one for all processes, at the same step."""

    job: Job
    listener: Callable[[Event], None]
    world: World
    stop: StopAsked

    def step(self, stage: str, done: int, total: int, **figures: float) -> None:
        self.listener(Event(self.job, "step", stage, done, total, figures))

    def resumed(self, stage: str, done: int, total: int) -> None:
        self.listener(Event(self.job, "resumed", stage, done, total))

    def note(self, text: str) -> None:
        self.listener(Event(self.job, "note", text=text))

    def stop_requested(self) -> bool:
        return self.world.any("stop", self.stop.asked)
