"""Texts, facts and tables as HTML; every text is escaped here and nowhere else."""

import html
import re
from collections.abc import Iterable, Sequence

from marl_bench.reporting.formatting import NONE
from marl_bench.reporting.tables import Table

_NUMBER = re.compile(r"[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?", re.IGNORECASE)
_UNBROKEN = 16
_MINUS = re.compile(r"(?<![\w.])-(?=\d)")


def escaped(text: str) -> str:
    """Returns the text with HTML's characters as entities, quotes too."""
    return html.escape(text, quote=True)


def breakable(text: str) -> str:
    """Returns escaped text in which a narrow column may break a long name of an arm after its joints."""
    if len(text) <= _UNBROKEN:
        return escaped(text)
    return re.sub(r"([_:,])(?=\S)", r"\1<wbr>", escaped(text))


def anchor(title: str) -> str:
    """Returns a title as an id: lower case, hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def sort_value(cell: str) -> float | None:
    """Returns the number by which a cell is sorted: its first one; None for a cell without any.

    `< 0.001` sorts just below 0.001; of `[-0.1, 0.3]`, `12.5 (12, 13)` and `134 / 20 / 102` the first number counts.
    """
    found = _NUMBER.search(cell)
    if cell == NONE or found is None:
        return None
    value = float(found[0].replace(",", "").replace("−", "-"))
    return value * 0.999 if cell.lstrip().startswith("<") else value


def table_section(table: Table) -> str:
    """Returns a table with heading and note as a section that scrolls sideways by itself."""
    name = anchor(table.title)
    note = f'<p class="note">{escaped(table.note)}</p>' if table.note else ""
    return (
        f'<section class="table-section" aria-labelledby="{name}"><h3 id="{name}">{escaped(table.title)}</h3>'
        f"{table_html(table)}{note}</section>\n"
    )


def table_html(table: Table) -> str:
    """Returns a table whose number cells carry the number to sort by as `data-value`."""
    heads = "".join(
        f'<th scope="col"{_kind(table, index)}>{escaped(head)}</th>' for index, head in enumerate(table.columns)
    )
    rows = "".join(f"<tr>{''.join(_cells(table, row))}</tr>\n" for row in table.rows)
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escaped(table.title)}, table">'
        f'<table class="sortable"><thead><tr>{heads}</tr></thead>\n<tbody>{rows}</tbody></table></div>'
    )


def _cells(table: Table, row: Sequence[str]) -> Iterable[str]:
    for index, cell in enumerate(row):
        if index == 0:
            yield f'<th scope="row">{breakable(cell)}</th>'
        elif index < table.text_columns:
            yield f"<td>{breakable(cell)}</td>"
        else:
            value = sort_value(cell)
            known = "" if value is None else f' data-value="{value!r}"'
            # A true minus sign is as wide as the plus sign above it.
            yield f'<td class="number"{known}>{_MINUS.sub("−", escaped(cell))}</td>'


def _kind(table: Table, index: int) -> str:
    return "" if index < table.text_columns else ' class="number"'


def sentence_list(sentences: Iterable[str], *, kind: str = "") -> str:
    """Returns sentences as a list; empty for none."""
    items = "".join(f"<li>{_MINUS.sub('−', escaped(sentence))}</li>\n" for sentence in sentences)
    return f'<ul class="{kind}">{items}</ul>\n' if items else ""


def fact_list(facts: Iterable[tuple[str, str]]) -> str:
    """Returns names and texts as a description list; texts of one name stand together."""
    grouped: dict[str, list[str]] = {}
    for name, text in facts:
        grouped.setdefault(name, []).append(text)
    items = "".join(
        f"<dt>{escaped(name)}</dt>" + "".join(f"<dd>{escaped(text)}</dd>" for text in texts) + "\n"
        for name, texts in grouped.items()
    )
    return f'<dl class="facts">{items}</dl>\n' if items else ""
