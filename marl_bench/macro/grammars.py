"""Statement ends of Python programs from tree-sitter's grammar; optional, imported when asked for."""

from collections.abc import Callable, Iterator
from typing import Any

from marl_bench.errors import ConfigError

_BODIES = frozenset({"module", "block"})
_CLAUSES = frozenset(
    {"elif_clause", "else_clause", "except_clause", "except_group_clause", "finally_clause", "case_clause"}
)


def tree_sitter_statement_ends() -> Callable[[str], list[int] | None]:
    """Returns a function that does what `syntax.statement_ends` does, but for the end behind the last statement.

    Raises:
        ConfigError: tree-sitter or its Python grammar is not installed.
    """
    try:
        import tree_sitter
        import tree_sitter_python
    except ImportError as error:
        raise ConfigError(
            "termination rule 'syntax': grammar=tree_sitter needs tree-sitter, which is not installed; install marl-bench[tree-sitter]."
        ) from error
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_python.language()))

    def ends(program: str) -> list[int] | None:
        encoded = program.encode()
        root = parser.parse(encoded).root_node
        if root.has_error or not root.children:
            return None
        nodes = [node for node in _walk(root) if node.type != "comment"]
        starts = sorted({node.start_byte for node in nodes if _begins_statement(node)})
        leaves = sorted((node.end_byte, node.type) for node in nodes if not node.children)
        found = set()
        for start in starts[1:]:
            end, kind = max(leaf for leaf in leaves if leaf[0] <= start)
            newline = encoded.find(b"\n", end)
            if kind == ";":
                found.add(end)
            if kind != ";" or 0 <= newline < start:  # the rest of the line, a comment perhaps, belongs to the statement
                found.add(newline + 1 if newline >= 0 else len(encoded))
        return sorted(len(encoded[:end].decode()) for end in found)

    return ends


def _walk(node: Any) -> Iterator[Any]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _begins_statement(node: Any) -> bool:
    parent = node.parent
    if parent is None or not node.is_named:
        return False
    return node.type in _CLAUSES or parent.type in _BODIES or parent.type == "decorated_definition"
