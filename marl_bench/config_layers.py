"""Makes a run configuration from its layers. No torch.

Layers, each over the one before: defaults of the fields, preset, the task's own part of the preset, configuration file, command-line options,
dotted `--set` overrides. `resolve` remembers which layer gave each value.
"""

import dataclasses
import importlib.resources
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from marl_bench.config import RunConfig
from marl_bench.errors import ConfigError, UnknownNameError
from marl_bench.yaml_text import parse_yaml


@dataclasses.dataclass(frozen=True)
class ResolvedConfig:
    """A configuration with the layer each value came from.

    Attributes:
        config: The configuration.
        preset: Name of its preset.
        origins: Dotted key to layer, for the keys that a layer over the defaults gave.
    """

    config: RunConfig
    preset: str
    origins: Mapping[str, str]


def preset_names() -> list[str]:
    """Returns the names of the shipped presets."""
    folder = importlib.resources.files("marl_bench") / "presets"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_preset(name: str) -> dict[str, Any]:
    """Reads a shipped preset: configuration keys and `summary`.

    Raises:
        UnknownNameError: No preset has that name.
    """
    known = preset_names()
    if name not in known:
        raise UnknownNameError("preset", name, known)
    text = (importlib.resources.files("marl_bench") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = parse_yaml(text, where=f"preset {name}")
    return data


def read_config_file(path: Path) -> dict[str, Any]:
    """Reads a configuration file; `preset` in it names the preset it stands on.

    Raises:
        ConfigError: The file is missing or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    data = parse_yaml(text, where=str(path)) or {}
    if not isinstance(data, dict):
        raise ConfigError(f"--config {path}: holds {type(data).__name__}, should be a mapping of configuration keys.")
    data.pop("config_hash", None)  # so that the config.yaml of an experiment can be used as it is
    return data


def parse_override(text: str) -> tuple[str, Any]:
    """Splits `ppo.kl_coef=0.1` into the dotted key and the parsed value.

    Raises:
        ConfigError: There is no `=`.
    """
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {text}: should be KEY=VALUE, for example --set ppo.kl_coef=0.1.")
    return key.strip(), parse_yaml(value, where=f"--set {text}")


def resolve(
    *,
    preset: str,
    layers: Sequence[tuple[str, Mapping[str, Any]]] = (),
    overrides: Sequence[tuple[str, Any]] = (),
    task_settings: Callable[[str, str], Mapping[str, Any]] = lambda _task, _preset: {},
) -> ResolvedConfig:
    """Merges preset, named layers (nested mappings) and dotted overrides into a checked configuration.

    Args:
        preset: Name of the preset.
        layers: Name and keys of each layer over it.
        overrides: Dotted keys with their values, over all layers.
        task_settings: Gives what a task (by id) puts over a preset (by name).

    Raises:
        UnknownNameError: An unknown preset or key; the nearest one is named.
        ConfigError: A value of a wrong type or out of range.
    """
    base = load_preset(preset)
    base.pop("summary", None)
    task = base.get("task", RunConfig.model_fields["task"].default)
    for _, layer in layers:
        task = layer.get("task", task)
    task = dict(overrides).get("task", task)
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    dotted = [(f"--set {key}", nested(key, value)) for key, value in overrides]
    for name, layer in [(f"preset {preset}", base), (f"task {task}", task_settings(task, preset)), *layers, *dotted]:
        for key, value in flat_settings(layer):
            _check_key(key, where=name)
            _assign(merged, key, value)
            origins[key] = "--set" if name.startswith("--set") else name
    try:
        config = RunConfig.model_validate(merged)
    except ValidationError as error:
        raise _as_config_error(error, origins) from error
    return ResolvedConfig(config, preset, origins)


def with_overrides(config: RunConfig, overrides: Sequence[tuple[str, Any]]) -> RunConfig:
    """Returns a configuration with dotted overrides put over it; raises as `resolve`."""
    merged = config.model_dump(mode="json")
    origins = dict.fromkeys((key for key, _ in overrides), "--set")
    for key, value in overrides:
        _check_key(key, where=f"--set {key}")
        _assign(merged, key, value)
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        raise _as_config_error(error, origins) from error


def describe(resolved: ResolvedConfig) -> Iterator[tuple[str, Any, str]]:
    """Yields each dotted key with its value and the layer it came from."""
    for key, value in flat_settings(resolved.config.model_dump(mode="json")):
        yield key, value, resolved.origins.get(key, "default")


def nested(key: str, value: Any) -> dict[str, Any]:
    """Returns the mapping of mappings in which the dotted key has this value."""
    *parents, last = key.split(".")
    result = {last: value}
    for part in reversed(parents):
        result = {part: result}
    return result


def flat_settings(layer: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields each dotted key of nested settings with its value."""
    for name, value in layer.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key != "task_options":
            yield from flat_settings(value, f"{key}.")
        elif isinstance(value, Mapping):
            yield from ((f"{key}.{option}", given) for option, given in value.items())
        else:
            yield key, value


def known_keys(section: type[BaseModel] = RunConfig, prefix: str = "") -> Iterator[str]:
    """Yields every dotted key of the configuration."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from known_keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _check_key(key: str, *, where: str) -> None:
    if key.startswith("task_options."):
        return  # checked by the task's own config type
    known = list(known_keys())
    if any(name.startswith(f"{key}.") for name in known):
        raise ConfigError(
            f"configuration key '{key}' ({where.removesuffix(' ' + key)}): is a section; give one of its keys."
        )
    if key not in known:
        raise UnknownNameError(f"configuration key ({where.removesuffix(' ' + key)})", key, known)


def _assign(target: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        target = target.setdefault(parent, {})
    target[last] = value


def _as_config_error(error: ValidationError, origins: Mapping[str, str]) -> ConfigError:
    lines = []
    for problem in error.errors():
        if not problem["loc"]:  # of several sections together: the text names their keys and values itself
            lines.append(f"{problem['msg'].removeprefix('Value error, ')}.")
            continue
        key = ".".join(str(part) for part in problem["loc"] if not str(part).startswith(("function-", "list[")))
        origin = next((origins[known] for known in origins if key == known or key.startswith(f"{known}.")), "default")
        text = problem["msg"].removeprefix("Value error, ")
        if (
            isinstance(problem["input"], Mapping) and text != problem["msg"]
        ):  # of keys of a section together: it names them
            lines.append(f"{key}: {text.rstrip('.')}.")
        else:
            lines.append(f"{key} ({origin}): {text.rstrip('.')}; given: {problem['input']!r}.")
    return ConfigError(" ".join(lines))
