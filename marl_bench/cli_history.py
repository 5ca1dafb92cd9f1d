"""The verb `marl-bench history`: parse, call one function, print."""

from pathlib import Path
from typing import Annotated

import typer

from marl_bench.cli_options import show_table
from marl_bench.errors import ConfigError


def history(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN_OR_FOLDER ...]",
            help="Runs, references, or folders that hold some.  [default: results]",
            show_default=False,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC", help="Metrics to show (repeatable).  [default: primary metric and oracle]"),
    ] = None,
    across: Annotated[
        bool, typer.Option("--across", help="Follow a task's arm over all configurations, not each by itself.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw it: .png or .svg.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the lines as CSV.")] = None,
) -> None:
    """Show how stored results of the same task, arm and configuration moved over versions, commits and dates."""
    from marl_bench.reporting.history import history_of
    from marl_bench.reporting.history_table import history_csv, history_plot, history_table
    from marl_bench.run_dir import write_bytes_atomically

    found = history_of(folders or [Path("results")], metrics=metric or [], across=across)
    for problem in found.problems:
        typer.echo(f"Warning | left out: {problem}")
    files = [(plot, "--plot", history_plot(found, path=plot))] if plot else []
    files += [(csv, "--csv", history_csv(found).encode())] if csv else []
    show_table(history_table(found))
    for path, option, data in files:
        try:
            write_bytes_atomically(path, data)
        except OSError as error:
            raise ConfigError(f"{option} {path}: cannot be written ({error.strerror or error}).") from error
        typer.echo(f"Written: {path}")
