"""Texts, facts and tables as HTML; every text is escaped here and nowhere else."""

import html
import re
from collections.abc import Iterable, Sequence

from marl_bench.reporting.formatting import NONE
from marl_bench.reporting.sections import Section
from marl_bench.reporting.tables import Table

_NUMBER = re.compile(r"[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?", re.IGNORECASE)
_UNBROKEN = 16
_CODE = re.compile(r"`([^`]+)`")
_MANY_COLUMNS = 11
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


def prose(text: str) -> str:
    """Returns escaped text with true minus signs, and `code` between backticks as code."""
    return _CODE.sub(r"<code>\1</code>", _MINUS.sub("−", escaped(text)))


def anchors(titles: Sequence[str], *, kind: str = "") -> list[str]:
    """Returns an id for each title, with a number where an earlier one has the same."""
    names = [f"{kind}{anchor(title)}" for title in titles]
    counts = [names[:place].count(name) for place, name in enumerate(names)]
    return [f"{name}-{count + 1}" if count else name for name, count in zip(names, counts, strict=True)]


def link_list(titles: Sequence[str], names: Sequence[str], *, label: str) -> str:
    """Returns links to headings by their ids; empty for fewer than two."""
    if len(titles) < 2:
        return ""
    items = "".join(
        f'<li><a href="#{name}">{breakable(title)}</a></li>' for title, name in zip(titles, names, strict=True)
    )
    return f'<nav class="contents" aria-label="{escaped(label)}"><ul>{items}</ul></nav>\n'


def section_html(section: Section, name: str) -> str:
    """Returns a section with its warnings, sentences and tables; a table scrolls sideways by itself.

    Args:
        section: The section.
        name: Id of its heading.
    """
    tables = "".join(
        ("" if named.table.title == section.title else f"<h4>{escaped(named.table.title)}</h4>")
        + _noted_table(named.table)
        for named in section.tables
    )
    return (
        f'<section class="table-section" aria-labelledby="{name}"><h3 id="{name}">{escaped(section.title)}</h3>\n'
        f"{sentence_list(section.warnings, kind='warnings')}{sentence_list(section.before, kind='notes')}{tables}"
        f"{sentence_list(section.after, kind='notes')}</section>\n"
    )


def _noted_table(table: Table) -> str:
    note = f'<p class="note">{prose(table.note)}</p>' if table.note else ""
    return f'<div class="noted">{table_html(table)}{note}</div>\n'


def table_html(table: Table) -> str:
    """Returns a table whose number cells carry the number to sort by as `data-value`."""
    heads = "".join(
        f'<th scope="col"{_kind(table, index)}>{escaped(head)}</th>' for index, head in enumerate(table.columns)
    )
    rows = "".join(f"<tr>{''.join(_cells(table, row))}</tr>\n" for row in table.rows)
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escaped(table.title)}, table">'
        f'<table class="sortable{_width(table)}"><thead><tr>{heads}</tr></thead>\n<tbody>{rows}</tbody></table></div>'
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


def _width(table: Table) -> str:
    """Returns a class for tables that would be wider than the page, and for those that need little of it."""
    return " dense" if len(table.columns) >= _MANY_COLUMNS else " narrow" if len(table.columns) == 2 else ""


def _kind(table: Table, index: int) -> str:
    return "" if index < table.text_columns else ' class="number"'


def sentence_list(sentences: Iterable[str], *, kind: str = "") -> str:
    """Returns sentences as a list; empty for none."""
    items = "".join(f"<li>{prose(sentence)}</li>\n" for sentence in sentences)
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
