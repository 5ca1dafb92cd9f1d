"""The verb `marl-bench report`."""

from pathlib import Path
from typing import Annotated

import typer

from marl_bench.cli.labels import KeyFile, LabelFiles, Partial, take_judge_labels
from marl_bench.cli.shared import show_comparison, show_files
from marl_bench.errors import ConfigError


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of experiments.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the report goes.  [default: the RUN's own folder]")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compare arms of unequal budgets or versions; the report warns.")
    ] = False,
    format_: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="FORMATS",
            help="Some of md, csv, json, latex, html, png, svg, joined by commas.  [default: md,csv,html,png,svg]",
        ),
    ] = None,
    judge_labels: LabelFiles = None,
    key: KeyFile = None,
    partial_labels: Partial = False,
) -> None:
    """Make the report again from records alone, without torch."""
    from marl_bench.reporting.formats import parse_formats
    from marl_bench.reporting.report import write_report
    from marl_bench.run_dir import RunDir

    formats = parse_formats(format_ or [])
    if judge_labels:
        take_judge_labels(runs, judge_labels, key=key, partial=partial_labels)
    if out is None:
        if len(runs) > 1:
            raise ConfigError("report: of several runs needs a folder of its own; give --out FOLDER.")
        out = runs[0]
    files = write_report([RunDir(path) for path in runs], out=out, force=force, formats=formats)
    show_comparison(files.comparison)
    show_files(files)
