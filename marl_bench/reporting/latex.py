"""Tables as LaTeX (booktabs): one file a table for `\\input`, and a document that shows them all."""

import re
from collections.abc import Iterable, Sequence

from marl_bench.reporting.sections import NamedTable
from marl_bench.reporting.tables import Table

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",
    "—": "---",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": r"$-$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "\u00a0": "~",
}

_MINUS = re.compile(r"(?<![\w.)\]])-(?=\d)")
_CHARACTERS_ON_A_LINE = 95
"""Wider tables are scaled down to the width of the text."""

_WITH_A_GLYPH = frozenset(_ESCAPES) | {chr(code) for code in range(0xA1, 0x100)}
"""Characters that pdfLaTeX knows with T1 fonts."""


def escaped(text: str) -> str:
    """Returns one line of text in which nothing is a command; a minus sign before a number is one."""
    line = " ".join(text.split())
    parts = []
    last = 0
    for found in _MINUS.finditer(line):
        parts += [_escaped(line[last : found.start()]), "$-$"]
        last = found.end()
    return "".join([*parts, _escaped(line[last:])])


def as_latex(named: NamedTable) -> str:
    """Returns a `table` environment with caption, label `tab:NAME` and the note below; needs booktabs and graphicx."""
    table = named.table
    body = _tabular(table)
    if _width(table) > _CHARACTERS_ON_A_LINE:
        body = f"\\resizebox{{\\linewidth}}{{!}}{{%\n{body}%\n}}"
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escaped(table.title)}}}",
        rf"\label{{tab:{named.name.replace('_', '-')}}}",
        body,
    ]
    if table.note:
        lines += [
            r"\par\smallskip",
            rf"\begin{{minipage}}{{\linewidth}}\footnotesize {escaped(table.note)}\end{{minipage}}",
        ]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def document(title: str, tables: Sequence[NamedTable], *, folder: str) -> str:
    """Returns a document that shows all tables; compiles with pdfLaTeX, XeLaTeX and LuaLaTeX.

    Args:
        title: Its title.
        tables: The tables.
        folder: Where their files stand, as seen from the document.
    """
    used = sorted(_without_glyph([title, *(text for named in tables for text in _texts(named.table))]))
    declared = [
        # pdfLaTeX stops at a character that it does not know; the others have it, or leave it out with a warning.
        rf"\DeclareUnicodeCharacter{{{ord(character):04X}}}{{\texttt{{U+{ord(character):04X}}}}}"
        for character in used
    ]
    guarded = ["\\ifpdftex", *declared, "\\fi"] if declared else []
    return "\n".join(
        [
            r"\documentclass[a4paper]{article}",
            r"\usepackage{iftex}",
            r"\ifpdftex",
            r"\usepackage[T1]{fontenc}",
            r"\usepackage{textcomp}",
            r"\fi",
            *guarded,
            r"\usepackage[margin=2cm]{geometry}",
            r"\usepackage{booktabs}",
            r"\usepackage{graphicx}",
            rf"\title{{{escaped(title)}}}",
            r"\date{}",
            r"\begin{document}",
            r"\maketitle",
            *(rf"\input{{{folder}/{named.name}}}" for named in tables),
            r"\end{document}",
            "",
        ]
    )


def _tabular(table: Table) -> str:
    columns = "".join("l" if index < table.text_columns else "r" for index in range(len(table.columns)))
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _row(table.columns),
            r"\midrule",
            *(_row(row) for row in table.rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _row(cells: Iterable[str]) -> str:
    # In braces: a line break before `[0.1, 0.2]` would read the interval as its own option.
    return " & ".join(f"{{{escaped(cell)}}}" for cell in cells) + r" \\"


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)


def _width(table: Table) -> int:
    rows = [table.columns, *table.rows]
    return sum(max(len(row[index]) for row in rows) + 2 for index in range(len(table.columns)))


def _texts(table: Table) -> Iterable[str]:
    yield from (table.title, table.note, *table.columns)
    for row in table.rows:
        yield from row


def _without_glyph(texts: Iterable[str]) -> set[str]:
    found = {character for text in texts for character in text}
    return {character for character in found if not character.isascii() and character not in _WITH_A_GLYPH}
