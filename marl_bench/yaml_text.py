"""YAML as people write it. No torch."""

import re
from typing import Any

import yaml

from marl_bench.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads `1e-4` as text; a learning rate written so is a number to everybody else."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)$"),
    list("-+0123456789."),
)


def parse_yaml(text: str, *, where: str) -> Any:
    """Parses YAML with floats as people write them.

    Raises:
        ConfigError: The text is not YAML; `where` names it.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML ({error}).") from error
