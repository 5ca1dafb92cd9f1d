"""The verbs of `marl-bench rule`: parse, call one function, print. Nothing heavy is imported before a verb needs it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marl_bench.cli.shared import PluginPaths
from marl_bench.errors import ConfigError, RuleContractError

if TYPE_CHECKING:
    from marl_bench.rules.segments import SegmentView

app = typer.Typer(
    help="Termination rules: definitions, cuts of real responses, the contract.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(epilog="Example: marl-bench rule show 'fixed(n=5)'")
def show(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="NAME or NAME(args).", show_default=False)],
    plugin: PluginPaths = None,
) -> None:
    """Show a rule's canonical text, version, hash, parameters, and what it reads."""
    from marl_bench.planning import plan_rule
    from marl_bench.plugins import Registry
    from marl_bench.rules.definitions import describe_rule

    registry = Registry(plugin or [])
    for what, value in describe_rule(plan_rule(rule, registry), registry):
        typer.echo(f"{what}\t{value}")


@app.command(epilog="Example: marl-bench rule diff 'fixed(n=5)' results/RUN/cells/CELL/record.json")
def diff(
    first: Annotated[
        str, typer.Argument(metavar="RULE", help="A rule, or a cell's record.json for the rule it was made with.")
    ],
    second: Annotated[str, typer.Argument(metavar="RULE", help="Likewise.")],
    plugin: PluginPaths = None,
) -> None:
    """Show what changed between two definitions; prints nothing but a line where they are the same."""
    from marl_bench.plugins import Registry
    from marl_bench.rules.definitions import differences, read_definition

    registry = Registry(plugin or [])
    one, other = (read_definition(text, registry) for text in (first, second))
    rows = differences(one, other)
    if not rows:
        typer.echo(f"same definition: {one.text}, version {one.version}, hash {one.hash}")
    for what, before, after in rows:
        typer.echo(f"{what}\t{before}\t{after}")


@app.command(epilog="Example: marl-bench rule check surprising --plugin surprising.py")
def check(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="NAME or NAME(args).", show_default=False)],
    plugin: PluginPaths = None,
) -> None:
    """Check a rule against the contract; exit status 1 and a list of what is wrong where it breaks it."""
    import torch

    from marl_bench.macro.contract import CLAUSES, check_rule, fitted, measure_speed
    from marl_bench.planning import build_rule, plan_rule
    from marl_bench.plugins import Registry

    registry = Registry(plugin or [])
    planned = plan_rule(rule, registry)
    built = build_rule(planned, registry)
    torch.set_num_threads(1)
    broken = {violation.clause: violation.problem for violation in check_rule(built)}
    if not broken:
        speed = measure_speed(fitted(built))
        if speed.problem:
            broken["speed"] = speed.problem
    for clause in CLAUSES:
        if clause not in broken and "fit" not in broken:
            typer.echo(f"ok\t{clause}")
    for clause, problem in broken.items():
        typer.echo(f"FAILED\t{clause}: {problem}")
    if broken:
        raise RuleContractError(f"termination rule '{planned.text}': breaks its contract in {', '.join(broken)}.")
    typer.echo(
        f"ok\tspeed: {1000 * speed.seconds:.2f} ms for {speed.responses} responses of {speed.tokens} tokens, "
        f"{speed.ratio:.1f} times fixed(n=5)"
    )


@app.command(
    epilog="Example: marl-bench rule segment 'fixed(n=5)' sentence --text 'It rains. I stay at home, and read.'"
)
def segment(
    rules: Annotated[list[str], typer.Argument(metavar="RULE...", help="NAME or NAME(args).", show_default=False)],
    text: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="A response to cut (repeatable).")] = None,
    run: Annotated[Path | None, typer.Option(metavar="RUN", help="Cut stored samples of this experiment.")] = None,
    arm: Annotated[
        str | None, typer.Option(metavar="ARM", help="With --run: whose samples.  [default: the first macro arm's]")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="With --run: how many samples.")] = 4,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write one self-contained page.")] = None,
    plugin: PluginPaths = None,
) -> None:
    """Show side by side how rules cut real responses, with statistics of the macro lengths."""
    from marl_bench.planning import build_rule, plan_rule
    from marl_bench.plugins import Registry

    if (run is None) == (not text):
        raise ConfigError("rule segment: give the responses with --text TEXT or with --run RUN, one of them.")
    registry = Registry(plugin or [])
    planned = [plan_rule(rule, registry) for rule in rules]
    for rule in planned:
        build_rule(rule, registry)  # a parser that is not installed is told before any model is loaded
    from marl_bench.rules.segments import view_run, view_texts

    view = (
        view_texts(text or [], planned, registry)
        if run is None
        else view_run(run, planned, registry, limit=limit, arm=arm)
    )
    _show_segments(view)
    if html is not None:
        from marl_bench.rules.rendering import as_html
        from marl_bench.run_dir import write_text_atomically

        try:
            write_text_atomically(html, as_html(view))
        except OSError as error:
            raise ConfigError(f"--html {html}: cannot be written ({error.strerror or error}).") from error
        typer.echo(f"Page: {html}")


def _show_segments(view: "SegmentView") -> None:
    from marl_bench.rules.rendering import as_text, for_terminal

    if sys.stdout.isatty():
        from rich.console import Console

        console = Console()
        console.print(for_terminal(view, width=console.width))
    else:
        typer.echo(as_text(view))
