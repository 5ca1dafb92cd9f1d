"""The verb `marl-bench clean`: parse, call one function, print."""

from pathlib import Path
from typing import Annotated

import typer

from marl_bench.cli.shared import show_table
from marl_bench.errors import RunFolderError


def clean(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN_OR_FOLDER ...]",
            help="Runs, or folders that hold some.  [default: results]",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        bool,
        typer.Option(
            "--weights",
            help="Also policies and critics of finished cells: reports stay, evaluate and best-of-n need them.",
        ),
    ] = False,
    older_than: Annotated[
        float, typer.Option(metavar="DAYS", min=0, help="Only what was written so many days ago.")
    ] = 0.0,
    larger_than: Annotated[float, typer.Option(metavar="MIB", min=0, help="Only what is that large.")] = 0.0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would go; remove nothing.")] = False,
) -> None:
    """Remove what finished experiments no longer need: checkpoints, half-written files, on request weights. Asks first."""
    from marl_bench.housekeeping import removables, remove
    from marl_bench.reporting.tables import Table

    found = removables(
        folders or [Path("results")],
        weights=weights,
        older_than_days=older_than,
        larger_than_bytes=round(larger_than * 2**20),
    )
    if not found:
        typer.echo("Nothing to remove.")
        return
    rows = [[str(item.path), item.kind, f"{item.size_bytes / 2**20:,.1f}", f"{item.days:.1f}"] for item in found]
    total = f"{sum(item.size_bytes for item in found) / 2**20:,.1f} MiB"
    show_table(Table("Can go", ["Path", "What it is", "MiB", "Days old"], rows, f"{total} in all.", text_columns=2))
    if dry_run:
        return
    if not yes:
        typer.confirm(f"Remove {len(found)} items ({total})?", abort=True)
    busy = remove(found)
    if busy:
        raise RunFolderError(" ".join(busy))
    typer.echo(f"Removed: {total}")
