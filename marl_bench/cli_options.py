"""Options and output that several verbs share."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from marl_bench.reporting.tables import Table

REFERENCE_DIR = Path("results") / "reference"

ReferenceDir = Annotated[Path, typer.Option(metavar="FOLDER", help="Where named references lie.")]
Strict = Annotated[bool, typer.Option("--strict", help="Fail unless every margin is shown to be kept.")]
MaxUnscored = Annotated[
    float,
    typer.Option(
        metavar="SHARE", min=0, max=1, help="Largest share without a score (or partner) that a margin allows."
    ),
]


def show_table(table: "Table") -> None:
    """Prints a table and its note: for a terminal, or a line a row for pipes."""
    from marl_bench.reporting.rendering import as_plain_text, as_rich_table

    if sys.stdout.isatty():
        from rich.console import Console

        console = Console()
        console.print(as_rich_table(table))
        if table.note:
            console.print(table.note, style="dim", highlight=False, markup=False)
    else:
        typer.echo(as_plain_text(table))
        if table.note:
            typer.echo(f"Note | {table.title}: {table.note}")
