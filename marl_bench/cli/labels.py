"""The verbs of `marl-bench judge` for labels of people: parse, call one function, print."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marl_bench.cli.shared import PluginPaths, show_files
from marl_bench.errors import ConfigError

if TYPE_CHECKING:
    from marl_bench.reporting.tables import Table

Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of experiments.", show_default=False)]
LabelFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--judge-labels", metavar="FILE", help="Filled-in annotation sheet; its name is the annotator's (repeatable)."
    ),
]
KeyFile = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="Key of the sheets.  [default: beside each sheet]")
]
Partial = Annotated[bool, typer.Option("--partial-labels", help="Accept sheets with rows that have no label.")]


def add_label_verbs(app: typer.Typer) -> None:
    """Adds `sheet` and `agreement` to the verbs of `marl-bench judge`."""
    app.command(epilog="Example: marl-bench judge sheet results/RUN --pairs 50 --seed 1 --out sheet.csv")(sheet)
    app.command(
        epilog="Example: marl-bench judge agreement pairs.jsonl --judge gpt --judge anna --judge ben --majority people=anna,ben "
        "--responses first,second --cluster prompt"
    )(agreement)


def sheet(
    runs: Runs,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The sheet; its key goes beside it.")] = Path("sheet.csv"),
    pairs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Pairs of each comparison, as in judge.  [default: all]")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the choice of pairs, as in judge, and of the sides.")] = 0,
    arm: Annotated[
        list[str] | None, typer.Option(metavar="ARM", help="Only these arms (repeatable).  [default: all]")
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(metavar="ARM", help="Only against these arms (repeatable).  [default: SFT and token PPO]"),
    ] = None,
    plugin: PluginPaths = None,
) -> None:
    """Write a blind annotation sheet (CSV) and, apart from it, its key."""
    from marl_bench.judging.labels import pairs_for_sheet
    from marl_bench.judging.sheets import CHOICES, write_sheet
    from marl_bench.plugins import Registry

    found = pairs_for_sheet(
        runs, Registry(plugin or []), count=pairs, seed=seed, arms=arm or [], references=reference or []
    )
    files = write_sheet(found, out, seed=seed)
    for warning in files.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    typer.echo(f"Sheet: {files.sheet} ({files.rows} rows)")
    typer.echo(f"Key: {files.key}: do not give it to the annotators")
    typer.echo(
        f"Each annotator fills a copy in, called after them: the column choice takes {', '.join(CHOICES[:2])} or {CHOICES[2]}, comment is free. "
        "Save as CSV in UTF-8. Then: marl-bench judge RUN... --judge-labels COPY.csv"
    )


def agreement(  # noqa: PLR0913 (one parameter an option)
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="CSV or JSON lines, plain or gzipped: a row for each pair.", show_default=False
        ),
    ],
    judge: Annotated[
        list[str],
        typer.Option(metavar="COLUMN", help="A judge's column; a.b is field b of a (repeatable).", show_default=False),
    ],
    majority: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=COLUMN,COLUMN,...", help="A further judge, the majority of some (repeatable)."),
    ] = None,
    values: Annotated[
        str | None,
        typer.Option(
            metavar="WORD=MEANING,...", help="The file's own words for 1, 2 and tie, for example model=1,gold=2."
        ),
    ] = None,
    unscored: Annotated[
        str | None,
        typer.Option(metavar="WORD,...", help="Words for pairs that could not be judged; empty cells always are."),
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Only rows with that value (repeatable).")
    ] = None,
    responses: Annotated[
        str | None, typer.Option(metavar="COLUMN,COLUMN", help="Columns of the two responses, for lengths.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of the prompt.  [default: every row is a prompt]")
    ] = None,
) -> None:
    """Show how far the judges of a file of pair labels agree, their win rates, raw and at equal length, and their length bias."""
    from marl_bench.judging.label_files import LabelFileOptions, read_label_file
    from marl_bench.reporting.agreement import agreement_table, agreements, summaries, summary_table

    columns = tuple((responses or "").split(","))
    if responses is not None and len(columns) != 2:
        raise ConfigError(f"--responses {responses}: give two columns, for example response1,response2.")
    options = LabelFileOptions(
        judges=judge,
        majorities={name: members.split(",") for name, members in _named("--majority", majority or []).items()},
        values=_named("--values", values.split(",") if values else []),
        unscored=unscored.split(",") if unscored else (),
        where=_named("--where", where or []),
        responses=(columns[0], columns[1]) if responses is not None else None,
        cluster=cluster,
    )
    labels = read_label_file(file, options)
    _show(summary_table(summaries(labels.judges, labels.pairs)))
    found = agreements(labels.judges, labels.pairs, members=options.majorities)
    table = agreement_table(found)
    if table:
        _show(table)


def take_judge_labels(runs: Sequence[Path], files: Sequence[Path], *, key: Path | None, partial: bool) -> None:
    """Takes filled-in sheets over and says where they went; for the verbs that have `--judge-labels`."""
    from marl_bench.judging.labels import take_labels

    for taken in take_labels(runs, files, key=key, partial=partial):
        left = f", {taken.unlabelled} without a label" if taken.unlabelled else ""
        typer.echo(f"{taken.judge}: {taken.labelled} labels{left} -> {', '.join(map(str, taken.folders))}")


def report_labels(runs: Sequence[Path]) -> None:
    """Makes the report of a single run again, and shows how far its judges agree."""
    from marl_bench.reporting.report import write_report
    from marl_bench.run_dir import RunDir

    if len(runs) == 1:
        show_files(write_report([RunDir(runs[0])], out=runs[0]))
    show_agreement(runs)


def show_agreement(runs: Sequence[Path]) -> None:
    """Shows the judges of the runs held against each other, if two share a pair."""
    from marl_bench.reporting.agreement import agreement_table, judges_of_runs

    table = agreement_table(judges_of_runs(runs))
    if table:
        _show(table)


def _named(option: str, texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ConfigError(f"{option} {text}: write NAME=VALUE.")
        found[name] = value
    return found


def _show(table: "Table") -> None:
    from marl_bench.reporting.rendering import as_plain_text, as_rich_table

    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(as_rich_table(table))
        typer.echo(table.note)
    else:
        typer.echo(as_plain_text(table))
