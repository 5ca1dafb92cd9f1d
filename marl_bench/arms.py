"""Arm texts: `BASELINE[:RULE(args)][@option=value,...]` and rule texts `RULE(args)`. No torch."""

import ast
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from marl_bench.errors import ConfigError
from marl_bench.yaml_text import parse_yaml

ARM_FORM = "BASELINE[:RULE(args)][@option=value,...], for example macro_ppo:fixed(n=5)@gae_lambda=1"


@dataclasses.dataclass(frozen=True)
class RuleText:
    """A parsed rule text, its parameters not yet checked against the rule's type."""

    id: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class ArmText:
    """A parsed arm text.

    Attributes:
        baseline: Id of the baseline.
        rule: Text of the termination rule, or None for the baseline's default.
        options: Keys of the `ppo` section with the arm's own values.
    """

    baseline: str
    rule: str | None
    options: Mapping[str, Any]


def parse_arm(text: str) -> ArmText:
    """Parses an arm text.

    Raises:
        ConfigError: The text has not the form of an arm.
    """
    head, _, tail = text.strip().partition("@")
    baseline, separator, rule = head.partition(":")
    if not re.fullmatch(r"[A-Za-z_]\w*", baseline) or (separator and not rule):
        raise ConfigError(f"arm '{text}': should be {ARM_FORM}.")
    options: dict[str, Any] = {}
    for part in filter(None, tail.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"arm '{text}': option '{part}' should be option=value, the arm {ARM_FORM}.")
        options[key.strip()] = parse_yaml(value, where=f"arm '{text}'")
    return ArmText(baseline, rule or None, options)


def parse_rule(text: str) -> RuleText:
    """Parses a rule text; bare words in it are strings, so `perplexity(rule=macro)` needs no quotes.

    Raises:
        ConfigError: The text is not a name with plain arguments.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if isinstance(tree, ast.Name):
            return RuleText(tree.id, (), {})
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
            kwargs = {str(keyword.arg): _value(keyword.value) for keyword in tree.keywords if keyword.arg}
            if len(kwargs) == len(tree.keywords):
                return RuleText(tree.func.id, tuple(_value(argument) for argument in tree.args), kwargs)
    except (SyntaxError, ValueError):
        pass
    raise ConfigError(
        f"termination rule '{text}': should be NAME or NAME(argument, key=value), for example fixed(n=5)."
    )


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(element) for element in node.elts]
    return ast.literal_eval(node)


def canonical_rule(rule_id: str, parameters: Mapping[str, Any]) -> str:
    """Returns the one text of a rule: all parameters by name, in the order of their definition."""
    if not parameters:
        return rule_id
    return f"{rule_id}({', '.join(f'{key}={_text(value)}' for key, value in parameters.items())})"


def folder_name(baseline: str, rule: str | None, options: Mapping[str, Any]) -> str:
    """Returns a readable folder name: `macro_ppo-fixed_n5`, `token_ppo-gae_lambda0.99`."""
    parts = [baseline]
    if rule is not None:
        parts.append(re.sub(r"[^\w.+-]+", "_", re.sub(r"[=\s'\"]", "", rule)).strip("_"))
    parts += [re.sub(r"[^\w.+-]+", "_", f"{key}{_text(value)}") for key, value in options.items()]
    return "-".join(parts)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(_text(element) for element in value)}]"
    # Bare words are strings in rule texts; what is no word needs its quotes to be read again.
    return repr(value) if isinstance(value, str) and not value.isidentifier() else str(value)
