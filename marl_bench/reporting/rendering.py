"""One table in three looks: Markdown, plain text, rich."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from marl_bench.reporting.tables import Table

if TYPE_CHECKING:
    import rich.table


def as_markdown(table: Table) -> str:
    """Returns the table as GitHub Markdown with its note below; the title is the caller's heading."""
    lines = [
        _markdown_row(table.columns),
        _markdown_row("---" if index < table.text_columns else "---:" for index in range(len(table.columns))),
        *(_markdown_row([_markdown_cell(cell) for cell in row]) for row in table.rows),
    ]
    return "\n".join(lines) + (f"\n\n{table.note}" if table.note else "")


def as_plain_text(table: Table) -> str:
    """Returns the table for pipes: a line a row, each starting with the title, no box drawing."""
    lines = []
    for row in table.rows:
        items = (
            f"{head.lower() if head[1:].islower() else head}: {cell}"
            for head, cell in zip(table.columns, row, strict=True)
        )
        lines.append(f"{table.title} | " + " | ".join(items))
    return "\n".join(lines)


def as_rich_table(table: Table) -> "rich.table.Table":
    """Returns the table for the terminal."""
    import rich.box
    import rich.table
    import rich.text

    rendered = rich.table.Table(title=table.title, title_justify="left", title_style="bold", box=rich.box.SIMPLE_HEAD)
    for index, head in enumerate(table.columns):
        is_text = index < table.text_columns
        # Only text may be broken over lines: half an interval is no number.
        rendered.add_column(
            rich.text.Text(head), justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text
        )
    for row in table.rows:
        # Text, not str: an interval in square brackets would be read as markup.
        rendered.add_row(*(rich.text.Text(cell) for cell in row))
    return rendered


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def markdown_text(text: str) -> str:
    """Returns one line of Markdown in which a record's own text (`<pad>`) does not turn into HTML."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", " ".join(text.split()))


def _markdown_cell(cell: str) -> str:
    return markdown_text(cell).replace("|", "\\|")
