"""Worker processes that make one PPO update when they are told to; the parent sees to it that only one is ever busy."""

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from marl_bench import bench
from marl_bench.bench.peers.turns import STOP, UPDATE
from marl_bench.errors import MarlBenchError

PEER_MODULES: Mapping[str, str] = {"trl": "marl_bench.bench.peers.trl_ppo"}
OWN_MODULE = "marl_bench.bench.ppo_worker"


@dataclasses.dataclass(frozen=True)
class Update:
    """What one update took.

    Attributes:
        phases: Name to `seconds`, `cpu_seconds` and `peak_mebibytes`.
        response_tokens: Tokens of all responses, EOS included.
        counts: What went through the models, of the first update only.
    """

    phases: Mapping[str, Mapping[str, float]]
    response_tokens: int
    counts: Mapping[str, int] | None

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all phases."""
        return sum(use["cpu_seconds"] for use in self.phases.values())

    @property
    def seconds(self) -> float:
        """Wall-clock time of all phases."""
        return sum(use["seconds"] for use in self.phases.values())

    @property
    def peak_mebibytes(self) -> float:
        """Most resident memory."""
        return max(use["peak_mebibytes"] for use in self.phases.values())


class Worker:
    """One contender's process."""

    def __init__(self, name: str, process: "subprocess.Popen[str]", errors: Path) -> None:
        """Takes a started process; `started` starts one."""
        self.name, self._process, self._errors = name, process, errors
        self.loaded = self._answer()

    def update(self) -> Update:
        """Has the worker make one update.

        Raises:
            MarlBenchError: It has died.
        """
        assert self._process.stdin is not None  # a pipe
        with contextlib.suppress(BrokenPipeError):  # the answer says what has happened
            self._process.stdin.write(UPDATE + "\n")
            self._process.stdin.flush()
        answer = self._answer()
        return Update(answer["phases"], answer["response_tokens"], answer["counts"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # a pipe
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            tail = "\n".join(self._errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-8:])
            raise MarlBenchError(f"bench ppo: the worker of {self.name} ended with exit status {code}:\n{tail}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def started(name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[Worker]:
    """Starts a worker and ends it at the end.

    Args:
        name: In errors.
        command: The process.
        environment: Of the process.
        folder: Where what it prints goes.
    """
    errors = folder / f"{name}.stderr"
    with (
        errors.open("w", encoding="utf-8") as stream,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True, env=dict(environment)
        ) as process,
    ):
        try:
            yield Worker(name, process, errors)
        finally:
            assert process.stdin is not None  # a pipe
            with contextlib.suppress(OSError):
                process.stdin.write(STOP + "\n")
                process.stdin.close()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def own_command(settings: Mapping[str, Any], folder: Path, *, name: str) -> tuple[list[str], dict[str, str]]:
    """Returns command and environment of a worker of this package's."""
    path = _written(settings, folder / f"{name}.json")
    return [sys.executable, "-m", OWN_MODULE, str(path)], _environment(settings, {})


def peer_command(
    peer: str, python: Path, settings: Mapping[str, Any], folder: Path
) -> tuple[list[str], dict[str, str]]:
    """Returns command and environment of a peer's worker; of this package its interpreter sees the peers' folder alone.

    This package's parent folder may be a whole environment, so it must not be on the peer's path.
    """
    here, root = Path(bench.__file__).parent, folder / "path" / "marl_bench"
    if not root.exists():
        shutil.copytree(here / "peers", root / "bench" / "peers", ignore=shutil.ignore_patterns("__pycache__"))
        for package in (root, root / "bench"):
            (package / "__init__.py").touch()
    path = _written(settings, folder / f"{peer}.json")
    return [str(python), "-m", PEER_MODULES[peer], str(path)], _environment(settings, {"PYTHONPATH": str(root.parent)})


def _written(settings: Mapping[str, Any], path: Path) -> Path:
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def _environment(settings: Mapping[str, Any], further: Mapping[str, str]) -> dict[str, str]:
    """Returns this process's environment, offline, with the number of threads in place before torch is loaded."""
    threads = str(settings["threads"])
    fixed = {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "CUDA_VISIBLE_DEVICES": "",
    }
    return {**os.environ, **fixed, **further}
