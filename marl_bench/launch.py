"""What torchrun or `accelerate launch` tells a process that it starts, and the connection between such processes."""

import ctypes
import dataclasses
import datetime
import os
import signal
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from marl_bench.errors import ConfigError, ElsewhereError, ProcessLostError
from marl_bench.world import ALONE, World

if TYPE_CHECKING:
    import torch

_TELLS_ALL = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_ALSO_SET = ("LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK", "ROLE_WORLD_SIZE")
_SHARDING = {"ACCELERATE_USE_FSDP": "FSDP", "ACCELERATE_USE_DEEPSPEED": "DeepSpeed"}
_LONGEST_WAIT = datetime.timedelta(days=14)
"""Of a process for one that works alone, for example on metrics; one that has died is noticed at once."""
_LONGEST_SUM = datetime.timedelta(minutes=30)
"""Of a process for the others in a sum of gradients, where all come at nearly the same time."""

_LOST = (
    "another process of this run has ended without a word, killed perhaps for want of memory; the same command again goes on from what is "
    "finished."
)


@dataclasses.dataclass(frozen=True)
class Launch:
    """Which of how many processes this one is.

    Attributes:
        rank: From 0.
        local_rank: Among those of this machine, from 0; the number of its device.
        size: How many there are.
    """

    rank: int
    local_rank: int
    size: int


def read_launch(environment: Mapping[str, str]) -> Launch | None:
    """Returns what the environment says, or None for a process on its own.

    Raises:
        ConfigError: It says something impossible, or not all.
    """
    if environment.get("WORLD_SIZE", "1") == "1":
        return None
    for name, library in _SHARDING.items():
        if environment.get(name, "").lower() in ("true", "1"):
            raise ConfigError(
                f"accelerate launch: its configuration asks for {library} ({name}), which is not how models are divided here. "
                "Use a configuration of type MULTI_GPU, or torchrun, with --set memory.shard=true, which is FSDP2."
            )
    how = "start with torchrun --nproc_per_node N -m marl_bench run ..., or unset WORLD_SIZE for one process"
    missing = [name for name in _TELLS_ALL if not environment.get(name)]
    if missing:
        raise ConfigError(
            f"environment: WORLD_SIZE is {environment['WORLD_SIZE']} but {', '.join(missing)} is not set; {how}."
        )
    numbers = {name: environment[name] for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT")}
    for name, text in numbers.items():
        if not text.isdecimal():
            raise ConfigError(f"environment: {name} is '{text}', should be a whole number; {how}.")
    launch = Launch(int(numbers["RANK"]), int(numbers["LOCAL_RANK"]), int(numbers["WORLD_SIZE"]))
    if not launch.rank < launch.size:
        raise ConfigError(f"environment: RANK is {launch.rank}, should be below WORLD_SIZE {launch.size}; {how}.")
    return launch


def forget_launch(environment: MutableMapping[str, str]) -> None:
    """Takes out what a launcher of one process has set: worker processes would believe to be that one."""
    for name in (*_TELLS_ALL, *_ALSO_SET, *(key for key in environment if key.startswith("TORCHELASTIC_"))):
        environment.pop(name, None)


@contextmanager
def joined(launch: Launch | None) -> Iterator[World]:
    """Gives the processes that were started together, connected; one that was started alone is alone.

    Raises:
        ProcessLostError: Another process has gone.
    """
    if launch is None:
        yield ALONE
        return
    _prepare_process()
    import torch
    import torch.distributed as distributed

    on_gpu = torch.cuda.is_available()
    if on_gpu:
        if launch.local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f"torchrun: process {launch.local_rank + 1} of this machine has no GPU of its own, there are "
                f"{torch.cuda.device_count()}; set --nproc_per_node to that."
            )
        torch.cuda.set_device(launch.local_rank)  # "cuda" means this one from here on
    try:
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            timeout=_LONGEST_SUM,
            device_id=torch.device("cuda", launch.local_rank) if on_gpu else None,
        )
        channel = _Channel(distributed.new_group(backend="gloo", timeout=_LONGEST_WAIT), launch.size)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"torchrun: the {launch.size} processes do not find each other ({error}).") from error
    try:
        yield World(launch.rank, launch.size, channel)
    except ProcessLostError as error:
        if channel.first_to_tell():
            raise
        raise ElsewhereError(str(error)) from error
    # Only at a good end: after an error the others may be anywhere, and ending the process ends its connections.
    distributed.destroy_process_group()


class StopAsked:
    """Takes notice of Ctrl-C and of the signal with which torchrun ends its processes, in place of dying of it.

    torchrun sends the signal to the survivors when one process has gone, and kills what is left half a minute later: time to say what happened.
    """

    def __init__(self) -> None:
        """Begins to listen."""
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take)

    def _take(self, *_: object) -> None:
        self.asked = True


@dataclasses.dataclass(frozen=True)
class _Channel:
    """torch.distributed: messages through gloo, tensors through the backend of their device."""

    group: Any
    size: int

    def gather(self, message: Any) -> list[Any]:
        import torch.distributed as distributed

        messages: list[Any] = [None] * self.size
        with _losses_named():
            distributed.all_gather_object(messages, message, group=self.group)
        return messages

    def first_to_tell(self) -> bool:
        """Returns True on one process alone: the one that says why the run ends, where several of them notice."""
        from torch.distributed.distributed_c10d import _get_default_store

        try:
            return bool(_get_default_store().add("told", 1) == 1)
        except RuntimeError:
            return True  # the process that kept the store is the one that has gone

    def end_process(self, error: Exception) -> NoReturn:
        if self.first_to_tell():
            text = _LOST if says_process_is_gone(error) else f"{type(error).__name__}: {error}"
            print(f"marl-bench: {text}", file=sys.stderr, flush=True)  # noqa: T201 (nobody else will)
        os._exit(1)

    def add_up(self, tensor: "torch.Tensor") -> None:
        import torch.distributed as distributed

        with _losses_named():
            distributed.all_reduce(tensor)


@contextmanager
def _losses_named() -> Iterator[None]:
    """Turns the libraries' words for a peer that has gone into ours."""
    try:
        yield
    except RuntimeError as error:
        if not says_process_is_gone(error):
            raise
        raise ProcessLostError(_LOST) from error


def says_process_is_gone(error: BaseException) -> bool:
    """Returns True for the errors of gloo and NCCL about a peer or its connection."""
    text = f"{type(error).__name__} {error}"
    return any(word in text for word in ("gloo", "Gloo", "DistBackendError", "DistNetworkError", "closed by peer"))


def _prepare_process() -> None:
    """Does for this process what the pool of workers does for its own."""
    os.environ.update(WORKER_ENVIRONMENT)
    os.environ.setdefault(
        "TORCH_CPP_LOG_LEVEL", "ERROR"
    )  # DDP advises, from every process, on a setting of the trainers
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL("libc.so.6")
            for option, value in MALLOC_OPTIONS.items():
                library.mallopt(option, value)


WORKER_ENVIRONMENT: Mapping[str, str] = {
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "ACCELERATE_MIXED_PRECISION": "no",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1",
    "ACCELERATE_DYNAMO_BACKEND": "no",
}
"""For every process that trains. What `accelerate launch` sets would change types and losses behind the settings that the record shows."""

MALLOC_OPTIONS: Mapping[int, int] = {-3: 2_000_000_000, -1: 2_000_000_000, -2: 64 * 1024 * 1024}
"""glibc's M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD: memory of tensors is kept for the next ones."""
