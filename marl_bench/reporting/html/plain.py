"""A page that holds tables and nothing else: no script, no network."""

import importlib.resources
from collections.abc import Sequence

from marl_bench.reporting.html.markup import escaped, prose, sentence_list, table_html
from marl_bench.reporting.html.page import content_hash
from marl_bench.reporting.tables import Table


def plain_page(table: Table, *, warnings: Sequence[str] = ()) -> str:
    """Returns the page of one table, in the look of the reports."""
    assets = importlib.resources.files("marl_bench.reporting.html") / "assets"
    style = (assets / "report.css").read_text(encoding="utf-8")
    policy = f"default-src 'none'; style-src '{content_hash(style)}'; base-uri 'none'; form-action 'none'"
    title = escaped(table.title)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
        f'<div class="column">\n<h1>{title}</h1>\n{sentence_list(warnings, kind="warnings")}{table_html(table)}\n'
        f'<p class="note">{prose(table.note)}</p>\n</div>\n</main>\n</body>\n</html>\n'
    )
