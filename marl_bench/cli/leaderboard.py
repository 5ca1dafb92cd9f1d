"""The verb `marl-bench leaderboard`: parse, call one function, print."""

from pathlib import Path
from typing import Annotated

import typer

from marl_bench.cli.shared import show_table
from marl_bench.errors import ConfigError


def leaderboard(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN_OR_FOLDER ...]",
            help="Runs, references, or folders that hold some.  [default: results]",
            show_default=False,
        ),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="METRIC", help="Metric of every task.  [default: each task's primary metric]")
    ] = None,
    against: Annotated[str, typer.Option(metavar="ARM", help="Arm that the others are held against.")] = "token_ppo",
    out: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Also write it: .md or .html (repeatable).")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Show runs that are not comparable side by side, with a warning.")
    ] = False,
) -> None:
    """Rank arms over tasks: scores with intervals, mean rank, the chance to be better than one arm."""
    from marl_bench.reporting.leaderboard import leaderboard as make
    from marl_bench.reporting.leaderboard_table import leaderboard_markdown, leaderboard_page, leaderboard_table
    from marl_bench.run_dir import write_text_atomically

    writers = {".md": leaderboard_markdown, ".html": leaderboard_page}
    for path in out or []:
        if path.suffix not in writers:
            raise ConfigError(f"--out {path}: ends in '{path.suffix}'; give a file that ends in .md or .html.")
    found = make(folders or [Path("results")], metric=metric, against=against, force=force)
    for problem in found.problems:
        typer.echo(f"Warning | left out: {problem}")
    for warning in found.warnings:
        typer.echo(f"Warning | {warning}")
    show_table(leaderboard_table(found))
    for path in out or []:
        try:
            write_text_atomically(path, writers[path.suffix](found))
        except OSError as error:
            raise ConfigError(f"--out {path}: cannot be written ({error.strerror or error}).") from error
        typer.echo(f"Written: {path}")
