"""Reads a `check(candidate)` that only compares calls with literals, so that the parent can compare and no second process is needed."""

import ast
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class PlainCall:
    """One assertion: what a call with these arguments returns equals `expected`.

    Attributes:
        arguments: Positional arguments.
        named: Named arguments.
        expected: Value it should have under Python's `==`.
    """

    arguments: Sequence[Any]
    named: Mapping[str, Any]
    expected: Any


def plain_calls(code: str) -> tuple[PlainCall, ...] | None:
    """Returns the calls that a check compares, in order, or None if it does anything else.

    Taken are `assert candidate(...) == literal`, the same with its sides exchanged, and assertions of a true constant, which assert nothing.
    """
    checks = [
        statement
        for statement in ast.parse(code).body
        if isinstance(statement, ast.FunctionDef) and statement.name == "check" and len(statement.args.args) == 1
    ]
    if len(checks) != 1:
        return None
    name = checks[0].args.args[0].arg
    calls = []
    for statement in checks[0].body:
        if isinstance(statement, ast.Assert) and isinstance(statement.test, ast.Constant) and statement.test.value:
            continue
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a docstring
        call = _plain_call(statement, name)
        if call is None:
            return None
        calls.append(call)
    return tuple(calls) or None


def _plain_call(statement: ast.stmt, name: str) -> PlainCall | None:
    test = statement.test if isinstance(statement, ast.Assert) else None
    if not (isinstance(test, ast.Compare) and [type(op) for op in test.ops] == [ast.Eq]):
        return None
    for call, other in ((test.left, test.comparators[0]), (test.comparators[0], test.left)):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == name:
            named = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}
            if len(named) < len(call.keywords):
                return None  # `**mapping`
            try:
                return PlainCall(
                    [ast.literal_eval(argument) for argument in call.args],
                    {key: ast.literal_eval(value) for key, value in named.items()},
                    ast.literal_eval(other),
                )
            except ValueError:
                return None
    return None
