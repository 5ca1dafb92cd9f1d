"""The verb `marl-bench list`."""

from typing import Annotated

import typer

from marl_bench.cli.shared import PluginPaths


def list_(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="tasks, baselines, terminations, metrics, presets or grids.", show_default=False
        ),
    ],
    details: Annotated[
        bool, typer.Option("--details", help="Import the plugins and show version and summary.")
    ] = False,
    plugin: PluginPaths = None,
) -> None:
    """List what can be named on the command line; imports no plugin unless asked for details."""
    from marl_bench.arm_grids import grid_names, load_grid
    from marl_bench.config_layers import load_preset, preset_names
    from marl_bench.errors import UnknownNameError
    from marl_bench.plugins import SPEC_TYPES, Registry

    if kind == "presets":
        for name in preset_names():
            typer.echo(f"{name}\t{load_preset(name)['summary']}")
        return
    if kind == "grids":
        for grid in map(load_grid, grid_names()):
            typer.echo(f"{grid.name}\t{grid.version}\t{grid.hash}\t{grid.summary}")
            if details:
                typer.echo("".join(f"  {arm}\n" for arm in grid.arms), nl=False)
        return
    group = f"marl_bench.{kind}"
    if group not in SPEC_TYPES:
        raise UnknownNameError(
            "kind", kind, ["grids", "presets", *(name.removeprefix("marl_bench.") for name in SPEC_TYPES)]
        )
    for found in Registry(plugin or []).list(group):
        if details:
            spec = found.load()
            typer.echo(f"{found.id}\t{spec.version}\t{spec.summary}")
        else:
            typer.echo(f"{found.id}\t{found.owner}")
