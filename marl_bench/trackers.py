"""Trackers that `--track` may name, and a look whether they are installed. No torch."""

import importlib.util
from collections.abc import Mapping, Sequence

from marl_bench.errors import ConfigError, UnknownNameError

PACKAGES: Mapping[str, str] = {
    "mlflow": "mlflow",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
    "wandb": "wandb",
}
"""Name of the tracker to the package that it needs, which is imported and installed by the same name."""


def check_trackers(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the names, each once.

    Raises:
        UnknownNameError: There is no such tracker.
        ConfigError: Its package is not installed.
    """
    for name in names:
        if name not in PACKAGES:
            raise UnknownNameError("tracker", name, PACKAGES)
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise ConfigError(f"--track {name}: needs the package {PACKAGES[name]}: pip install {PACKAGES[name]}.")
    return tuple(dict.fromkeys(names))
