"""The verb `marl-bench compare`: parse, call one function, print."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marl_bench.cli.shared import REFERENCE_DIR, MaxUnscored, ReferenceDir, Strict, show_table
from marl_bench.errors import ConfigError, RegressionError

if TYPE_CHECKING:
    from marl_bench.reporting.regression import MarginVerdict
    from marl_bench.reporting.side_by_side import SideBySide


def compare(  # noqa: PLR0913 (one parameter an option)
    sides: Annotated[
        list[str],
        typer.Argument(
            metavar="A [B ...]",
            help="Runs, RUN:ARM[-seedK], RUN/evaluations/NAME or references; later ones against A. One run: its arms.",
            show_default=False,
        ),
    ],
    metric: Annotated[
        list[str] | None, typer.Option(metavar="METRIC", help="Metrics to show (repeatable).  [default: all]")
    ] = None,
    effect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[METRIC:]SIZE",
            help="Difference that is to be seen, for the prompts and seeds needed (repeatable).  [default: the observed one]",
        ),
    ] = None,
    fail_on_regression: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC:MARGIN",
            help="Exit with 1 if a later side is worse by more than the margin with confidence (repeatable).",
        ),
    ] = None,
    strict: Strict = False,
    max_unscored: MaxUnscored = 0.02,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also write compare.md, compare.csv and compare.json there.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Compare unequal budgets and other prompt texts too, with a warning.")
    ] = False,
    reference_dir: ReferenceDir = REFERENCE_DIR,
) -> None:
    """Compare runs, arms or references prompt by prompt; as a test of regression if margins are given."""
    from marl_bench.reporting.contrast_files import write_comparison
    from marl_bench.reporting.regression import judge_margins, parse_margin
    from marl_bench.reporting.side_by_side import compare_sides
    from marl_bench.reporting.sides import open_side

    option = "--fail-on-regression"
    margins = [parse_margin(text, option=option) for text in fail_on_regression or []]
    if strict and not margins:
        raise ConfigError(f"--strict: nothing can be kept without a margin; give {option} METRIC:MARGIN.")
    effects = dict(_effect(text) for text in effect or [])
    wanted = [*(metric or []), *(one.metric for one in margins if metric and one.metric not in metric)]
    opened = [open_side(text, reference_dir=reference_dir) for text in sides]
    found = compare_sides(opened, metrics=wanted, effects=effects, force=force)
    verdicts = judge_margins(found, margins, max_unscored=max_unscored, option=option, force=force)
    files = write_comparison(found, verdicts, out=out) if out else []
    show(found, verdicts, json=json)
    if not json:
        for path in files:
            typer.echo(f"Written: {path}")
    fail_if_regressed(verdicts, strict=strict)


def show(found: "SideBySide", verdicts: "Sequence[MarginVerdict]", *, json: bool) -> None:
    """Prints a comparison: JSON, lines for pipes, or tables for a terminal."""
    from marl_bench.reporting.contrast_tables import as_data, sentences, tables
    from marl_bench.reporting.regression import verdict_sentence

    if json:
        import json as json_text

        typer.echo(json_text.dumps(as_data(found, verdicts), indent=2, ensure_ascii=False, allow_nan=False))
        return
    for warning in [*found.warnings, *found.unmatched, *found.open_cells]:
        typer.echo(f"Warning | {warning}")
    for table in tables(found):
        show_table(table)
    typer.echo("\n".join(f"Reading | {text}" for text in sentences(found)))
    if verdicts:
        typer.echo("\n".join(f"Margin | {verdict_sentence(one)}" for one in verdicts))


def fail_if_regressed(verdicts: "Sequence[MarginVerdict]", *, strict: bool) -> None:
    """Raises `RegressionError` if something regressed; if `strict`, also if something is inconclusive."""
    from marl_bench.reporting.regression import INCONCLUSIVE, REGRESSED

    failing = {REGRESSED, *([INCONCLUSIVE] if strict else [])}
    failed = [one for one in verdicts if one.verdict in failing]
    if failed:
        named = "; ".join(f"{one.contrast.difference.arm.label}, {one.margin.metric}: {one.verdict}" for one in failed)
        raise RegressionError(f"{len(failed)} of {len(verdicts)} margins not kept: {named}.")


def _effect(text: str) -> tuple[str, float]:
    metric, _, size = text.rpartition(":")
    try:
        value = float(size)
    except ValueError:
        value = math.nan
    if not 0 < abs(value) < math.inf:
        raise ConfigError(
            f"--effect '{text}': should be a difference other than 0, or METRIC:SIZE, for example oracle:0.05."
        )
    return metric, value
