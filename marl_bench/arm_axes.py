"""Axes of a sweep: several values of one setting of the trainer, each put on every arm. No torch."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from marl_bench.arms import parse_arm
from marl_bench.config import PpoConfig
from marl_bench.errors import ConfigError, UnknownNameError
from marl_bench.plugins import Registry
from marl_bench.yaml_text import parse_yaml

_PREFIX = "ppo."


@dataclasses.dataclass(frozen=True)
class Axis:
    """A key of the `ppo` section with the values that it takes in turn."""

    key: str
    values: Sequence[Any]


def parse_axes(texts: Sequence[str]) -> tuple[list[Axis], list[str]]:
    """Returns the axes among the texts `KEY=VALUE[,VALUE...]`, and the texts with one value, which hold for the whole sweep.

    Raises:
        ConfigError: A text has not that form, a value stands twice, or several values are given of a setting that all cells must share.
        UnknownNameError: The key does not exist.
    """
    axes: list[Axis] = []
    common: list[str] = []
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key or not value.strip():
            raise ConfigError(f"--set {text}: should be KEY=VALUE[,VALUE...], for example --set ppo.kl_coef=0.02,0.05.")
        values = parse_yaml(f"[{value}]", where=f"--set {text}")
        if len(values) < 2:
            common.append(text)
            continue
        if not key.startswith(_PREFIX):
            raise ConfigError(
                f"--set {text}: several values can be given of keys of the ppo section alone; the cells of a sweep share data, sampling, SFT "
                "and reward model. Run one sweep a value, and set their reports side by side with marl-bench report or leaderboard."
            )
        name = key.removeprefix(_PREFIX)
        if name not in PpoConfig.model_fields:
            raise UnknownNameError("axis", key, [f"{_PREFIX}{field}" for field in PpoConfig.model_fields])
        if any(values.count(each) > 1 for each in values):
            raise ConfigError(f"--set {text}: a value stands twice; every cell needs settings of its own.")
        if name in {axis.key for axis in axes}:
            raise ConfigError(f"--set {text}: {key} is an axis already; give all its values at once.")
        axes.append(Axis(name, values))
    return axes, common


def with_axes(arms: Sequence[str], axes: Sequence[Axis], registry: Registry) -> list[str]:
    """Returns the arms once for every combination of the axes' values; the start of all arms (SFT) has no settings and stands once.

    Raises:
        ConfigError: An arm has a value of its own on an axis.
    """
    expanded = list(arms)
    for axis in axes:
        expanded = [
            text if registry.baseline(parse_arm(text).baseline).role == "start" else _on_axis(text, axis, value)
            for text in expanded
            for value in (axis.values if registry.baseline(parse_arm(text).baseline).role != "start" else [None])
        ]
    return expanded


def _on_axis(text: str, axis: Axis, value: Any) -> str:
    if axis.key in parse_arm(text).options:
        raise ConfigError(f"arm '{text}': has a {axis.key} of its own, which is an axis of the sweep as well.")
    return f"{text}{',' if '@' in text else '@'}{axis.key}={str(value).lower() if isinstance(value, bool) else value}"
