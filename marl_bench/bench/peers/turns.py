"""A trainer that makes one PPO update each time it is told to, and says what the update took. For ours and for every peer alike.

Neither trainer is changed: phases are told apart by hooks on the models' forward passes and on torch's optimizers.
"""

import ctypes
import dataclasses
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

PHASES = ("generation", "scoring", "update", "optimizer")
UPDATE, STOP = "update", "stop"


@dataclasses.dataclass
class PhaseUse:
    """What one phase of an update has taken so far.

    Attributes:
        seconds: Of the wall clock.
        cpu_seconds: Of this process's processors.
        peak_mebibytes: Most resident memory.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mebibytes: float = 0.0


class PhaseClock:
    """Time and memory by phase: exactly one phase is running from `begin` to `end`."""

    def __init__(self) -> None:
        """Begins nothing."""
        self.uses: dict[str, PhaseUse] = {}
        self.phase: str | None = None
        self._wall = self._cpu = 0.0

    def begin(self, phase: str) -> None:
        """Ends the phase that is running and begins another."""
        if phase == self.phase:
            return
        self._close()
        self.phase = phase
        _forget_peak()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def end(self) -> dict[str, PhaseUse]:
        """Ends the phase that is running and returns all since the last call."""
        self._close()
        self.phase = None
        uses, self.uses = self.uses, {}
        return uses

    def _close(self) -> None:
        if self.phase is None:
            return
        wall, cpu = time.perf_counter(), time.process_time()
        use = self.uses.setdefault(self.phase, PhaseUse())
        use.seconds += wall - self._wall
        use.cpu_seconds += cpu - self._cpu
        use.peak_mebibytes = max(use.peak_mebibytes, memory()["peak"])


@dataclasses.dataclass
class PassCounts:
    """What went through the models in one update.

    Attributes:
        positions: Of passes over whole texts, padding included.
        decoded: Positions of passes over one new token a row, rows included that have ended.
        largest_logits: Bytes of the largest output of a policy's head.
    """

    positions: int = 0
    decoded: int = 0
    largest_logits: int = 0


class Turns:
    """The worker's end of the pipe."""

    def __init__(self, commands: TextIO, answers: TextIO) -> None:
        """Takes the two ends; `on_standard_streams` makes them of this process's own."""
        self.clock = PhaseClock()
        self._commands, self._answers = commands, answers
        self._counts: PassCounts | None = None

    @classmethod
    def on_standard_streams(cls) -> "Turns":
        """Keeps standard output for the answers; whatever a library prints goes to standard error."""
        answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        return cls(sys.stdin, answers)

    def watch(self, *, policy: Any, reference: Any, critic: Any, reward: Any) -> None:
        """Lays hooks on the models' trunks: who computes, with or without gradients, says which phase it is."""

        def other(*_: Any) -> None:
            self.clock.begin("update" if torch.is_grad_enabled() else "scoring")

        def own(*_: Any) -> None:
            if torch.is_grad_enabled():
                self.clock.begin("update")

        policy.base_model.register_forward_pre_hook(own)
        for model in (reference, critic, reward):
            model.base_model.register_forward_pre_hook(other)
        for model in (policy, reference, critic, reward):
            model.base_model.register_forward_pre_hook(self._count, with_kwargs=True)
        for model in (policy, reference):
            model.register_forward_hook(self._count_logits)
        before: list[str] = []

        def step_begins(*_: Any) -> None:
            before.append(self.clock.phase or "update")
            self.clock.begin("optimizer")

        register_optimizer_step_pre_hook(step_begins)
        register_optimizer_step_post_hook(lambda *_: self.clock.begin(before.pop()))

    def ready(self, **facts: Any) -> None:
        """Says that everything is loaded, and waits for the first command."""
        gc.collect()
        _return_free_memory()
        self._answer({"memory": memory(), "threads": torch.get_num_threads(), **facts})
        self._wait(counting=True)

    def update_done(self, *, response_tokens: int) -> None:
        """Says what the update took, and waits for the next command; raises SystemExit when there will be none.

        Args:
            response_tokens: Of all responses of the update, EOS included.
        """
        uses = self.clock.end()
        counts = None if self._counts is None else dataclasses.asdict(self._counts)
        self._answer(
            {
                "phases": {name: dataclasses.asdict(use) for name, use in uses.items()},
                "response_tokens": response_tokens,
                "counts": counts,
            }
        )
        self._wait(counting=False)

    def _wait(self, *, counting: bool) -> None:
        self._counts = PassCounts() if counting else None
        if self._commands.readline().strip() != UPDATE:  # told to stop, or the parent has gone
            raise SystemExit(0)
        self.clock.begin("generation")

    def _answer(self, content: Mapping[str, Any]) -> None:
        self._answers.write(json.dumps(content) + "\n")
        self._answers.flush()

    def _count(self, _: Any, __: Any, inputs: Mapping[str, Any]) -> None:
        if self._counts is None:
            return
        ids = inputs["input_ids"]
        if ids.shape[1] == 1:
            self._counts.decoded += ids.numel()
        else:
            self._counts.positions += ids.numel()

    def _count_logits(self, _: Any, __: Any, output: Any) -> None:
        if self._counts is not None:
            size = output.logits.numel() * output.logits.element_size()
            self._counts.largest_logits = max(self._counts.largest_logits, size)


def run_worker(work: Callable[[Mapping[str, Any], Turns], None], arguments: Sequence[str]) -> None:
    """Reads the worker's settings from the file that is named on the command line, and works until it is told to stop."""
    settings = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    torch.set_num_threads(settings["threads"])
    work(settings, Turns.on_standard_streams())


def memory() -> dict[str, float]:
    """Returns resident memory of this process and its peak since it was last forgotten, in MiB; Linux."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    sizes = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    return {"resident": int(sizes["VmRSS"]) / 1024, "peak": int(sizes["VmHWM"]) / 1024}


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _return_free_memory() -> None:
    """Gives what loading left behind back to the system, so that an update cannot hide in it; where the C library has no such call, not."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
