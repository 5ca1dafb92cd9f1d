"""Definitions of termination rules: what there is to know of one, and what changed between two. No torch of its own."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from marl_bench.arms import parse_rule
from marl_bench.errors import ConfigError, RecordError
from marl_bench.planning import Rule, build_rule, plan_rule
from marl_bench.plugins import Registry
from marl_bench.run_dir import read_record

NONE = "–"
"""Stands where one of two definitions has nothing."""


def read_definition(text: str, registry: Registry) -> Rule:
    """Returns the definition that a rule text has here, or, for the path of a `record.json`, the one with which that cell was made.

    Raises:
        UnknownNameError: The rule or a parameter does not exist.
        ConfigError: A parameter has a wrong type or value, or the cell has no termination rule.
        RecordError: The record cannot be read.
    """
    if not text.endswith(".json"):
        return plan_rule(text, registry)
    path = Path(text)
    record = read_record(path.parent) if path.name == "record.json" else None
    if record is None:
        raise RecordError(f"{path}: no record of a cell there; give a rule, or the path of a cell's record.json.")
    if record.arm["rule"] is None:
        raise ConfigError(f"{path}: its arm {record.arm['label']} has no termination rule.")
    parsed = parse_rule(record.arm["rule"])
    return Rule(parsed.id, record.arm["rule_version"], parsed.kwargs, record.arm["rule"], record.arm["rule_hash"])


def describe_rule(rule: Rule, registry: Registry) -> Iterator[tuple[str, str]]:
    """Yields (what, value) of a rule of this program: definition, parameters with their meaning, what it reads.

    Raises:
        ConfigError: A parser that it needs is not installed.
    """
    spec = registry.termination(rule.id)
    built = build_rule(rule, registry)
    yield "rule", rule.text
    yield "summary", spec.summary
    yield "version", rule.version
    yield "hash", rule.hash
    for name, field in spec.parameters.model_fields.items():
        default = "" if field.is_required() else f"; default {_shown(field.default)}"
        meaning = f"  ({field.description or 'no description'}{default})"
        yield f"parameter {name}", f"{_shown(rule.parameters[name])}{meaning}"
    yield "reads", ", ".join(sorted(built.needs)) or "the tokens alone"
    length = built.nominal_length
    yield "macro length", "depends on the response" if length is None else f"{length:g} tokens"


def differences(first: Rule, second: Rule) -> list[tuple[str, str, str]]:
    """Returns (what, in the first, in the second) for id, version, every parameter and hash, where they differ."""
    rows = [("id", first.id, second.id), ("version", first.version, second.version)]
    for name in dict.fromkeys([*first.parameters, *second.parameters]):
        rows.append((f"parameter {name}", _parameter(first.parameters, name), _parameter(second.parameters, name)))
    rows.append(("hash", first.hash, second.hash))
    return [row for row in rows if row[1] != row[2]]


def _parameter(parameters: Mapping[str, Any], name: str) -> str:
    return _shown(parameters[name]) if name in parameters else NONE


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
