"""What the verbs that run experiments share: configuration from options, progress, results."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from marl_bench.cli.shared import show_comparison
from marl_bench.errors import CellFailedError

if TYPE_CHECKING:
    from marl_bench.config_layers import ResolvedConfig
    from marl_bench.display import Display
    from marl_bench.planning import Plan
    from marl_bench.plugins import Registry
    from marl_bench.world import World

DEFAULT_PRESET = "tiny"


def run_and_show(plan: "Plan", world: "World", *, quiet: bool, retry: bool = True) -> None:
    """Runs the plan, cells that failed before too if `retry`, and shows its results."""
    from marl_bench.experiment import run_plan
    from marl_bench.reporting.comparison import Comparison

    with _display(plan, quiet=quiet, retry=retry) as display:
        try:
            comparison = run_plan(plan, listener=display.show, world=world, retry=retry)
        except CellFailedError as error:
            if isinstance(error.comparison, Comparison):
                show_comparison(error.comparison)  # what did not fail is a result
            raise
    show_comparison(comparison)
    typer.echo(f"Page: {plan.root / 'report.html'}\nReport: {plan.root / 'report.md'}")


def resolved_config(
    preset: str | None,
    file: Path | None,
    options: dict[str, tuple[str, Any]],
    overrides: Sequence[str],
    registry: "Registry",
) -> "ResolvedConfig":
    """Returns the configuration of a command line.

    Args:
        preset: Name of the preset, or None for the file's or the default.
        file: YAML file, or None.
        options: Option to configuration key and value; None where it was not given.
        overrides: Texts of `--set`.
        registry: Knows the tasks' own settings.
    """
    from marl_bench.config_layers import nested, parse_override, read_config_file, resolve

    layers: list[tuple[str, Any]] = []
    if file is not None:
        content = read_config_file(file)
        file_preset = content.pop("preset", None)
        preset = preset or file_preset
        layers.append((str(file), content))
    layers += [(name, nested(key, value)) for name, (key, value) in options.items() if value is not None]
    return resolve(
        preset=preset or DEFAULT_PRESET,
        layers=layers,
        overrides=[parse_override(text) for text in overrides],
        task_settings=registry.task_settings,
    )


def _display(plan: "Plan", *, quiet: bool, retry: bool) -> "Display":
    from marl_bench.display import Bars, Lines, Quiet, TimeLeft
    from marl_bench.estimates.work import work_of
    from marl_bench.experiment import remaining

    if quiet:
        return Quiet()
    todo = remaining(plan, retry=retry)
    time_left = TimeLeft(
        work_of(plan, trained_cells=plan.trained_cells()), shared=todo.shared, cells=len(todo.cells), jobs=plan.jobs
    )
    if todo.finished:
        typer.echo(f"{todo.finished} of {len(plan.cells())} cells are complete already.", err=True)
    if not sys.stderr.isatty():
        return Lines(sys.stderr, time_left)
    from rich.console import Console

    return Bars(Console(stderr=True), time_left)
