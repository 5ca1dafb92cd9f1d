"""The verb `marl-bench sweep`."""

from pathlib import Path
from typing import Annotated

import typer

from marl_bench.cli.experiments import resolved_config, run_and_show
from marl_bench.cli.shared import PluginPaths
from marl_bench.errors import ConfigError


def sweep(  # noqa: PLR0913 (one parameter an option)
    arms: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARMS", help="A grid (marl-bench list grids) or an arm (repeatable).  [default: the preset's]"
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE[,VALUE...]",
            help="Several values of a key of the ppo section are an axis; one value of any key holds for all (repeatable).",
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="Task; see marl-bench list tasks.  [default: tldr]")
    ] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", help="Number of seeds.  [default: the preset's]")] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="PRESET", help="Preset; see marl-bench list presets.  [default: tiny]")
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="YAML file with configuration keys.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The experiment's own folder.  [default: results/TASK-PRESET-HASH]"),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Cells side by side.  [default: one a core]")
    ] = None,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Threads of each worker.")] = 1,
    with_controls: Annotated[
        bool, typer.Option("--with-controls", help="Add the controls of every macro arm.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try cells again that failed before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the cells and an estimate; do nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; results are still printed.")] = False,
    plugin: PluginPaths = None,
) -> None:
    """Run a grid of arms and settings on one SFT and reward model, and compare all of them in one report.

    Cells that are finished are skipped; those that failed are listed, and tried again with --retry.
    """
    import dataclasses

    from marl_bench.arm_axes import parse_axes, with_axes
    from marl_bench.arm_grids import expand_grids
    from marl_bench.cli.dry_run import show_plan
    from marl_bench.controls import add_controls
    from marl_bench.estimates.room import check_room, disk_sentence
    from marl_bench.experiment import check_plan, default_jobs
    from marl_bench.planning import make_plan
    from marl_bench.plugins import Registry
    from marl_bench.world import ALONE

    axes, common = parse_axes(set_ or [])
    registry = Registry(plugin or [])
    options = {"--task": ("task", task), "--arms": ("arms", arms or None), "--seeds": ("seeds", seeds)}
    resolved = resolved_config(preset, config, options, common, registry)
    grid = with_axes(expand_grids(resolved.config.arms), axes, registry)
    if not any(registry.baseline(text.partition("@")[0].partition(":")[0]).role != "start" for text in grid):
        raise ConfigError("--arms: the grid has no cell that trains; add an arm, for example --arms grid-ngram.")
    resolved = dataclasses.replace(resolved, config=resolved.config.model_copy(update={"arms": grid}))
    if with_controls:
        resolved = add_controls(resolved, registry)
    plan = make_plan(resolved, registry, out=out, jobs=jobs or default_jobs(resolved.config), threads=threads)
    for warning in plan.warnings():
        typer.echo(f"Warning: {warning}", err=True)
    check_plan(plan)
    if dry_run:
        show_plan(plan, resolved, registry.task(plan.config.task), gpu=None, gpus=1)
        typer.echo(disk_sentence(plan))
        return
    check_room(plan)
    typer.echo(
        f"{len(plan.arms)} arms x {plan.config.seeds} seeds = {len(plan.cells())} cells. {disk_sentence(plan)}",
        err=True,
    )
    run_and_show(plan, ALONE, quiet=quiet, retry=retry)
