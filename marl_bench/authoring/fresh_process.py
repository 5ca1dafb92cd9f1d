"""Loads a task's data in a fresh process with another hash seed: what depends on the order of a set comes out otherwise there.

python -m marl_bench.authoring.fresh_process < request.json
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from marl_bench.authoring.stages import digest_of_data
from marl_bench.config import RunConfig
from marl_bench.errors import DataError
from marl_bench.planning import task_options
from marl_bench.plugins import Registry
from marl_bench.task_data import load_data


def fresh_digest(config: RunConfig, plugin_paths: Sequence[Path]) -> str:
    """Returns the digest of a task's data as a fresh process loads them.

    Raises:
        DataError: It cannot load them.
    """
    request = {"config": config.model_dump(mode="json"), "plugins": [str(path) for path in plugin_paths]}
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": seed},
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(f"loading in a fresh process fails ({last})")
    return done.stdout.split()[-1]


def main() -> None:
    """Reads a request from standard input and prints the digest."""
    request = json.load(sys.stdin)
    config = RunConfig.model_validate(request["config"])
    spec = Registry([Path(path) for path in request["plugins"]]).task(config.task)
    sys.stdout.write(digest_of_data(load_data(spec.build(task_options(spec, config)), config)) + "\n")


if __name__ == "__main__":
    main()
