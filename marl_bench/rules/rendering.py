"""Cut responses in three looks: coloured for a terminal, with separators for pipes, and as one HTML file."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from marl_bench.reporting.rendering import as_plain_text, as_rich_table
from marl_bench.rules.segments import SegmentView

if TYPE_CHECKING:
    import rich.console
    import rich.text

SEPARATOR = "|"
_NEWLINE = "⏎"
_EMPTY = "∅"
"""Stands for a macro action without characters of its own."""
_STYLES = ("black on #bfdbfe", "black on #fde68a")
_NARROWEST_COLUMN = 30

_HTML_STYLE = (
    "body{font:15px/1.6 system-ui,sans-serif;margin:2em;color:#111;background:#fff}"
    "table{border-collapse:collapse;margin:1em 0}th,td{border:1px solid #ccc;padding:.4em .7em;text-align:left;vertical-align:top}"
    "td.number{text-align:right}.cut{white-space:pre-wrap}.a{background:#bfdbfe}.b{background:#fde68a}.a,.b{padding:1px 0}"
)


def as_text(view: SegmentView) -> str:
    """Returns the view for pipes: a line for each response and rule, macro actions apart by `|` (a `|` of the text is `\\|`)."""
    lines = [f"Note | {note}" for note in view.notes]
    for response in view.responses:
        for rule in view.rules:
            pieces = (_visible(piece).replace(SEPARATOR, f"\\{SEPARATOR}") for piece in response.pieces[rule])
            lines.append(f"{response.label}\t{rule}\t{SEPARATOR.join(pieces)}")
    return "\n".join([*lines, as_plain_text(view.lengths)])


def for_terminal(view: SegmentView, *, width: int) -> "rich.console.RenderableType":
    """Returns the view in colours: a column a rule where the width allows it, else a row."""
    import rich.box
    import rich.console
    import rich.table
    import rich.text

    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, show_lines=True)
    side_by_side = width >= _NARROWEST_COLUMN * len(view.rules)
    for head in ["", *view.rules] if side_by_side else ["", "Rule", "Cut"]:
        table.add_column(rich.text.Text(head), overflow="fold")
    for response in view.responses:
        cut = [_coloured(response.pieces[rule]) for rule in view.rules]
        label = rich.text.Text(response.label)
        if side_by_side:
            table.add_row(label, *cut)
            continue
        for index, (rule, text) in enumerate(zip(view.rules, cut, strict=True)):
            table.add_row(label if index == 0 else "", rich.text.Text(rule), text)
    notes = [rich.text.Text(f"Note: {note}", style="dim") for note in view.notes]
    return rich.console.Group(*notes, table, as_rich_table(view.lengths))


def as_html(view: SegmentView) -> str:
    """Returns one self-contained page; all texts are escaped."""
    heads = "".join(f"<th>{html.escape(rule)}</th>" for rule in view.rules)
    rows = "".join(
        f"<tr><th>{html.escape(response.label)}</th>"
        + "".join(f'<td class="cut">{_spans(response.pieces[rule])}</td>' for rule in view.rules)
        + "</tr>\n"
        for response in view.responses
    )
    lengths = view.lengths
    columns = "".join(f"<th>{html.escape(head)}</th>" for head in lengths.columns)
    statistics = "".join(
        f"<tr><th>{html.escape(row[0])}</th>"
        + "".join(f'<td class="number">{html.escape(cell)}</td>' for cell in row[1:])
        + "</tr>\n"
        for row in lengths.rows
    )
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in view.notes)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Macro actions</title>'
        f"<style>{_HTML_STYLE}</style></head><body>\n<h1>Macro actions</h1>\n<ul>{notes}</ul>\n"
        f"<table><tr><th></th>{heads}</tr>\n{rows}</table>\n"
        f"<h2>{html.escape(lengths.title)}</h2>\n<table><tr>{columns}</tr>\n{statistics}</table>\n</body></html>\n"
    )


def _coloured(pieces: Sequence[str]) -> "rich.text.Text":
    import rich.text

    text = rich.text.Text()
    for index, piece in enumerate(pieces):
        text.append(_visible(piece), style=_STYLES[index % 2])
    return text


def _spans(pieces: Sequence[str]) -> str:
    return "".join(
        f'<span class="{"ab"[index % 2]}">{html.escape(_visible(piece))}</span>' for index, piece in enumerate(pieces)
    )


def _visible(piece: str) -> str:
    return piece.replace("\n", _NEWLINE) or _EMPTY
