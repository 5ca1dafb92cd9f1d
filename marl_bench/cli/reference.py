"""The verbs of `marl-bench reference`: parse, call one function, print."""

import re
from collections import Counter
from typing import Annotated

import typer

from marl_bench.cli.shared import REFERENCE_DIR, MaxUnscored, ReferenceDir, Strict, show_table
from marl_bench.errors import ConfigError, RegressionError

app = typer.Typer(
    help="Named reference results, and tests of new runs against them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Run = Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished experiment.", show_default=False)]


@app.command(epilog="Example: marl-bench reference save results/tldr-tiny-1a2b3c4d --name tldr-tiny")
def save(
    run: Run,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the reference.  [default: the run's folder]")
    ] = None,
    reference_dir: ReferenceDir = REFERENCE_DIR,
    force: Annotated[bool, typer.Option("--force", help="Replace another reference of that name.")] = False,
) -> None:
    """Keep the scores of a run by prompt, seed, arm and metric: small, without dates, the same bytes every time."""
    from marl_bench.reporting.references import save_reference
    from marl_bench.reporting.sides import open_side

    side = open_side(run, reference_dir=reference_dir)
    chosen = name or side.name
    if not re.fullmatch(r"[\w.-]*\w[\w.-]*", chosen):
        raise ConfigError(f"--name '{chosen}': should be the name of a folder: letters, digits, and . _ - only.")
    for cell in side.open_cells:
        typer.echo(
            f"Warning: {cell.record.arm['name']} seed {cell.record.seed} is {cell.record.status}; not in the reference.",
            err=True,
        )
    path = save_reference(side.cells, side.config, name=chosen, reference_dir=reference_dir, force=force)
    typer.echo(f"Reference: {path}")


@app.command(epilog="Example: marl-bench reference check results/tldr-tiny-1a2b3c4d --margin oracle:0.05")
def check(
    run: Run,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of the reference.  [default: the run's name, else its configuration]"),
    ] = None,
    margin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC:MARGIN",
            help="Metric to test and how much worse it may be (repeatable).  [default: primary metric and oracle, 1e-06]",
        ),
    ] = None,
    strict: Strict = False,
    max_unscored: MaxUnscored = 0.02,
    reference_dir: ReferenceDir = REFERENCE_DIR,
) -> None:
    """Test a run against its reference; exit status 1 if a tested metric regressed."""
    from marl_bench.reporting.reference_check import check_reference, check_table
    from marl_bench.reporting.regression import parse_margin

    margins = [parse_margin(text, option="--margin") for text in margin or []]
    found = check_reference(run, margins, name=name, reference_dir=reference_dir, max_unscored=max_unscored)
    for note in found.notes:
        typer.echo(f"Note | {note}")
    for setting, values in found.settings:
        typer.echo(f"Setting that differs | {setting} | reference: {values[0]} | run: {values[1]}")
    show_table(check_table(found))
    counts = Counter(row.status for row in found.rows)
    typer.echo("Result | " + ", ".join(f"{status}: {count}" for status, count in counts.items()))
    failed = found.failed(strict=strict)
    if failed:
        named = "; ".join(f"{row.arm}, {row.metric}: {row.status}" for row in failed)
        raise RegressionError(f"{found.run} against the reference {found.reference}: {named}.")


@app.command("list", epilog="Example: marl-bench reference list")
def list_(reference_dir: ReferenceDir = REFERENCE_DIR) -> None:
    """List the references: what each keeps, of which task, configuration and version."""
    from marl_bench.reporting.reference_listing import listing_table

    table = listing_table(reference_dir)
    if not table.rows:
        typer.echo(f"No reference in {reference_dir}.")
        return
    show_table(table)
