"""In which settings the runs of a comparison differ: configuration, data and models, versions, the machine."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from marl_bench.reporting.sides import Side

_SHOWN_ANYWAY = {"arms", "seeds", "config_hash"}
NONE = "–"


def settings_that_differ(sides: Sequence[Side]) -> list[tuple[str, list[str]]]:
    """Returns the name of each differing setting with its value on every side; empty for arms of one run."""
    found = [dict(_settings(side)) for side in sides]
    names = list(dict.fromkeys(name for settings in found for name in settings))
    rows = [(name, [settings.get(name, NONE) for settings in found]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def _settings(side: Side) -> Iterator[tuple[str, str]]:
    records = [cell.record for cell in side.cells]
    yield "configuration", _joined(record.config_hash[:12] for record in records)
    yield "task version", _joined(str(record.task["version"]) for record in records)
    for name, value in _flat(side.config):
        if name.partition(".")[0] not in _SHOWN_ANYWAY:
            yield name, value
    for name in sorted({name for record in records for name in record.digests}):
        yield f"{name} digest", _joined(str(record.digests.get(name, NONE))[:12] for record in records)
    for name in sorted({name for record in records for name in record.environment}):
        values = [dict(_flat({name: record.environment.get(name)})) for record in records]
        for item in sorted({item for value in values for item in value}):
            yield (
                item.replace("packages.", "package ").replace("_", " "),
                _joined(value.get(item, NONE) for value in values),
            )


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _joined(values: Iterator[str]) -> str:
    return " | ".join(sorted(set(values)))
