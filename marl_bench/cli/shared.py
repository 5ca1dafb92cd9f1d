"""Options and output that several verbs share."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from marl_bench.reporting.comparison import Comparison
    from marl_bench.reporting.report import ReportFiles
    from marl_bench.reporting.tables import Table

REFERENCE_DIR = Path("results") / "reference"

PluginPaths = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="PATH", help="File or folder with further plugins (repeatable)."),
]
ReferenceDir = Annotated[Path, typer.Option(metavar="FOLDER", help="Where named references lie.")]
Strict = Annotated[bool, typer.Option("--strict", help="Fail unless every margin is shown to be kept.")]
MaxUnscored = Annotated[
    float,
    typer.Option(
        metavar="SHARE", min=0, max=1, help="Largest share without a score (or partner) that a margin allows."
    ),
]


def show_comparison(comparison: "Comparison") -> None:
    """Prints the summary of a comparison: tables for a terminal, or an item a line for pipes."""
    from marl_bench.reporting.terminal import summary_as_text, summary_for_terminal

    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(summary_for_terminal(comparison))
    else:
        typer.echo(summary_as_text(comparison))


def show_files(files: "ReportFiles") -> None:
    """Says where the page with every response is, and last the file to open first."""
    if files.page is not None and files.page != files.report:
        typer.echo(f"Page: {files.page}")
    typer.echo(f"Report: {files.report}")


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
