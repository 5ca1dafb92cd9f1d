"""The environment of its own that a peer runs in: made once, in a cache folder, or by hand."""

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from marl_bench.errors import ConfigError, MarlBenchError

PEERS: Mapping[str, str] = {"trl": "trl==1.12.0"}
"""Peer to what has to be installed: 1.12.0 is TRL's last release with a PPO trainer."""
_SHARED = ("torch", "transformers", "accelerate", "numpy")
"""Packages of which the peer gets this environment's versions, so that only the trainers differ."""


def cached_python(peer: str) -> Path:
    """Returns where the interpreter of a peer's cached environment is or would be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = PEERS[peer].replace("==", "-")
    return cache / "marl-bench" / "peers" / name / ("Scripts" if os.name == "nt" else "bin") / "python"


def commands(peer: str, python: Path) -> list[list[str]]:
    """Returns the two commands that make a peer's environment."""
    versions = [f"{name}=={importlib.metadata.version(name).split('+')[0]}" for name in _SHARED]
    return [
        [sys.executable, "-m", "venv", str(python.parent.parent)],
        [str(python), "-m", "pip", "install", PEERS[peer], *versions],
    ]


def find_python(peer: str, given: Path | None, *, install: bool) -> Path:
    """Returns the peer's interpreter: as given, from the cache, or after installing it there.

    Raises:
        ConfigError: It does not exist, or has not the peer's version.
        MarlBenchError: The installation failed.
    """
    python = cached_python(peer) if given is None else given.expanduser()
    if given is None and install and not python.exists():
        for command in commands(peer, python):
            _run(command)
    if not python.exists():
        option = f"--peer-python {python}: no such file" if given is not None else f"--against {peer}: is not installed"
        both = "\n".join(f"  {_shown(command)}" for command in commands(peer, python))
        raise ConfigError(
            f"{option}; give --install-peer, or make its environment yourself and name it by --peer-python:\n{both}"
        )
    _check_version(peer, python)
    return python


def _check_version(peer: str, python: Path) -> None:
    name, _, wanted = PEERS[peer].partition("==")
    program = f"import importlib.metadata; print(importlib.metadata.version({name!r}))"
    try:
        done = subprocess.run([str(python), "-c", program], capture_output=True, text=True, check=False)
        found = done.stdout.strip() if done.returncode == 0 else "not installed there"
    except OSError as error:
        found = f"not readable ({error.strerror})"
    if found != wanted:
        install = _shown(commands(peer, python)[1])
        raise ConfigError(
            f"--peer-python {python}: needs {name} {wanted}, which is {found}; install it with\n  {install}"
        )


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise MarlBenchError(f"--install-peer: `{_shown(command)}` failed:\n{tail}")


def _shown(command: Sequence[str]) -> str:
    import shlex

    return shlex.join(command)
