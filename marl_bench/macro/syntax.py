"""The termination rule `syntax`: the statements of a Python program are macro actions."""

import ast
import bisect
import functools
import io
import itertools
import tokenize
import warnings
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field

from marl_bench.config import Section
from marl_bench.interfaces import TerminationSpec
from marl_bench.macro.grammars import tree_sitter_statement_ends
from marl_bench.macro.parsed import Offsets, ParsedRule


def statement_ends(program: str) -> list[int] | None:
    """Returns the characters behind which a statement of a Python program ends, or None if Python cannot parse it.

    A statement ends with its logical line, newline included, or with a semicolon; the head of a compound statement (`for`, `else`, `def`) is
    one of its own. Comments and blank lines belong to what follows. `if a:\\n  b = [1,\\n  2]; c()\\n` ends at characters 6, 21 and 26: behind
    the head, behind the semicolon, behind the last line.

    Args:
        program: The text; spaces before the first statement are not part of it.
    """
    first = len(program) - len(program.lstrip(" "))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a sampled program is not our user's mistake
            ast.parse(program[first:])
            tokens = [*tokenize.generate_tokens(io.StringIO(program[first:]).readline)]
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return None
    lines = [first, *itertools.accumulate(map(len, io.StringIO(program[first:])), initial=first)][1:]
    found = (
        token
        for token in tokens
        if token.type == tokenize.NEWLINE or (token.type == tokenize.OP and token.string == ";")
    )
    return [min(lines[token.end[0] - 1] + token.end[1], len(program)) for token in found]


class SyntaxParameters(Section):
    """Parameters of `syntax`."""

    grammar: Literal["python", "tree_sitter"] = Field(
        "python",
        description="Python's own parser, or tree-sitter's grammar of Python, which needs marl-bench[tree-sitter]",
    )


def statement_starts(
    text: str, spans: Offsets, *, ends_of: Callable[[str], list[int] | None] = statement_ends
) -> Sequence[int] | None:
    """Returns the tokens behind those that hold the last character of a statement, or None if the text is no Python program.

    What stands behind the last statement (blank lines, EOS) belongs to it.
    """
    ends = ends_of(text)
    if ends is None:
        return None
    last = len(text.rstrip())
    token_ends = [end for _, end in spans]
    return [bisect.bisect_left(token_ends, end) + 1 for end in ends if end < last]


def _build(parameters: SyntaxParameters) -> ParsedRule:
    ends_of = tree_sitter_statement_ends() if parameters.grammar == "tree_sitter" else statement_ends
    return ParsedRule(functools.partial(statement_starts, ends_of=ends_of))


SYNTAX = TerminationSpec(
    "syntax",
    "1",
    "a statement of a Python program is a macro action; fixed(5) where it does not parse",
    _build,
    SyntaxParameters,
)
