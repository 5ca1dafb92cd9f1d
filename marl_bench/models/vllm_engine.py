"""Engines that sample in the policy's place, and the one that this process starts and owns."""

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from marl_bench.errors import SamplerError

if TYPE_CHECKING:
    from marl_bench.models.sampling import SamplingSettings

GO_ON = "the same command again goes on from what is finished."
_LOOK_EVERY_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Generated:
    """One response of an engine.

    Attributes:
        token_ids: The response, with the token that ended it.
        log_probs: One a token.
        finished: False where it was cut at the limit.
    """

    token_ids: Sequence[int]
    log_probs: Sequence[float]
    finished: bool


class Engine(Protocol):
    """Samples token ids from token ids with weights that it is handed."""

    def load(self, folder: Path) -> None:
        """Takes the weights of a folder and forgets what it kept of earlier ones; wakes up if it slept."""
        ...

    def generate(self, prompts: Sequence[Sequence[int]], fields: Sequence[Mapping[str, Any]]) -> list[Generated]:
        """Returns one response a prompt, each by its own `sampling_fields`."""
        ...

    def prompt_log_probs(self, prompt: Sequence[int]) -> list[float]:
        """Returns the log-probs at temperature 1 of all tokens of a text but the first."""
        ...

    def sleep(self) -> None:
        """Frees memory of the device until the next `load`."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


def sampling_fields(settings: "SamplingSettings", *, seed: int, eos_id: int) -> dict[str, Any]:
    """Returns every field of vLLM's sampling parameters that changes a response, so that no default of a server or model folder does."""
    return {
        "n": 1,
        "max_tokens": settings.max_response_tokens,
        "min_tokens": 0,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "top_k": settings.top_k or 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": seed,
        "stop": [],
        "stop_token_ids": [eos_id, *settings.further_ends],
        "ignore_eos": True,  # the ends are those above, not whatever else the model's folder calls EOS
        "include_stop_str_in_output": True,
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
        "logprobs": 0,  # that of the sampled token alone
    }


class ColocatedEngine:
    """vLLM in a child process on the same device. Talks in plain Python objects, so that neither side can harm the other's torch."""

    def __init__(self, arguments: Mapping[str, Any], *, log: Path, timeout_seconds: float) -> None:
        """Starts it, which takes a minute or two.

        Args:
            arguments: Of `vllm.LLM`.
            log: Where all that vLLM prints goes.
            timeout_seconds: Longest wait for an answer.

        Raises:
            SamplerError: It does not start.
        """
        self._log, self.timeout_seconds = log, timeout_seconds
        ours, theirs = Pipe()
        self._connection = ours
        environment = {
            **os.environ,
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the child is the engine: one process to watch
            "VLLM_NO_USAGE_STATS": "1",
            "PYTHONUNBUFFERED": "1",  # what it said last is in the log, however it ends
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        environment.setdefault(
            "VLLM_CPU_OMP_THREADS_BIND", "nobind"
        )  # workers side by side would all take the first cores
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "marl_bench.models.vllm_host", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
                start_new_session=True,  # Ctrl-C at the terminal is for the parent, which ends the job in order
            )
        theirs.close()
        try:
            self._call("start", dict(arguments))
        except BaseException:
            self.close()
            raise

    @property
    def process_id(self) -> int:
        """Of the child."""
        return self._process.pid

    def load(self, folder: Path) -> None:
        """Takes the weights of a folder."""
        self._call("load", str(folder))

    def generate(self, prompts: Sequence[Sequence[int]], fields: Sequence[Mapping[str, Any]]) -> list[Generated]:
        """Returns one response a prompt."""
        found = self._call("generate", [list(prompt) for prompt in prompts], [dict(each) for each in fields])
        return [Generated(*row) for row in found]

    def prompt_log_probs(self, prompt: Sequence[int]) -> list[float]:
        """Returns the log-probs of a text's tokens but the first."""
        found: list[float] = self._call("prompt_log_probs", list(prompt))
        return found

    def sleep(self) -> None:
        """Frees memory of the device."""
        self._call("sleep")

    def close(self) -> None:
        """Ends the child."""
        self._connection.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            self._connection.send((name, arguments))
            self._wait(name)
            kind, content = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._dead(name) from error
        if kind == "error":
            raise SamplerError(f"vLLM engine: {name} failed ({content}); see {self._log.name}; {GO_ON}")
        return content

    def _wait(self, name: str) -> None:
        began = time.monotonic()
        while not self._connection.poll(_LOOK_EVERY_SECONDS):
            if self._process.poll() is not None and not self._connection.poll():
                raise EOFError
            if time.monotonic() - began > self.timeout_seconds:
                self._process.kill()
                raise SamplerError(
                    f"vLLM engine: no answer to {name} within sampler.timeout_seconds={self.timeout_seconds:g}; it was ended; {GO_ON}"
                )

    def _dead(self, name: str) -> SamplerError:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:  # it closed its end and hangs
            self._process.kill()
            code = self._process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit status {code}"
        return SamplerError(f"vLLM engine: {how} during {name}; its last words are in {self._log.name}; {GO_ON}")
