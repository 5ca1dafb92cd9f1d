"""The verb `marl-bench evaluate`: parse, call one function, print."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from marl_bench.plugins import Registry


def evaluate(  # noqa: PLR0913 (one parameter an option)
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished experiment.", show_default=False)],
    arm: Annotated[
        list[str] | None, typer.Option(metavar="ARM", help="Whose policies (repeatable).  [default: all]")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="embedded, hub, or a folder with the hub's schema.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Keys of task_options, evaluation, sampling and data, for example evaluation.temperature=0 (repeatable).",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="METRIC", help="Metric beside the task's own (repeatable), as in run.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Folder under RUN/evaluations.  [default: a hash of the changes]")
    ] = None,
    macro_actions: Annotated[
        bool,
        typer.Option(
            "--macro-actions",
            help="Write the macro actions of RUN's own samples, which older runs lack, and evaluate nothing.",
        ),
    ] = False,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Threads.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; results are still printed.")] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option("--plugin", metavar="PATH", help="File or folder with further plugins (repeatable)."),
    ] = None,
) -> None:
    """Evaluate the policies of a finished run on other prompts, or with other metrics; nothing is trained."""
    import torch

    from marl_bench.config import parse_override
    from marl_bench.display import counted
    from marl_bench.plugins import Registry
    from marl_bench.reevaluation import cells_of, evaluate_again, plan_evaluation
    from marl_bench.reporting.terminal import summary_as_text, summary_for_terminal

    torch.set_num_threads(threads)
    if macro_actions:
        _trace(run, arm or [], Registry(plugin or []), quiet=quiet)
        return
    overrides = [parse_override(text) for text in set_ or []]
    if data is not None:
        overrides.append(("data.source", data))
    if metric:
        overrides.append(("evaluation.metrics", metric))
    planned = plan_evaluation(run, overrides, Registry(plugin or []), name=name)
    total = len(cells_of(planned.run, arm or []))
    with counted("cells", done=0, total=total, quiet=quiet) as done:
        files = evaluate_again(planned, arms=arm or [], done=done)
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(summary_for_terminal(files.comparison))
    else:
        typer.echo(summary_as_text(files.comparison))
    typer.echo(f"Report: {files.report}")


def _trace(root: Path, arms: list[str], registry: "Registry", *, quiet: bool) -> None:
    from marl_bench.display import counted
    from marl_bench.finished_run import open_run
    from marl_bench.reevaluation import cells_of, trace_again

    run = open_run(root, registry)
    with counted("cells", done=0, total=len(cells_of(run, arms)), quiet=quiet) as done:
        problems = trace_again(run, arms=arms, done=done)
    for problem in problems:
        typer.echo(f"Warning: {problem}", err=True)
    typer.echo(f"Macro actions: {root / 'cells'}")
