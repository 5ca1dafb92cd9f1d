"""The verb `marl-bench diagnose`: parse, call one function, print."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from marl_bench.cli.shared import PluginPaths


def diagnose(  # noqa: PLR0913 (one parameter an option)
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished experiment.", show_default=False)],
    arm: Annotated[
        str | None,
        typer.Option(
            metavar="ARM", help="Whose policy and critic.  [default: the first macro arm's, else one with a critic]"
        ),
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE", help="RULE[@option=value,...] (repeatable).  [default: five usual ones and the arm's]"
        ),
    ] = None,
    prompts: Annotated[int, typer.Option(metavar="N", min=2, help="Held-out prompts, one response each.")] = 16,
    continuations: Annotated[int, typer.Option(metavar="K", min=2, help="Continuations from each state.")] = 8,
    macro_actions: Annotated[
        int, typer.Option(metavar="N", min=1, help="At most so many of a response and rule, evenly spread.")
    ] = 20,
    seed: Annotated[int, typer.Option(metavar="N", help="Of all sampling.")] = 0,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Threads.")] = 1,
    plugin: PluginPaths = None,
) -> None:
    """Compare the advantages that each rule estimates with Monte-Carlo advantages, on responses of a run's policy."""
    import torch

    from marl_bench.diagnosis.diagnose import DiagnosisSize, estimators
    from marl_bench.diagnosis.diagnose import diagnose as compare
    from marl_bench.diagnosis.report import quality_table, write_diagnosis
    from marl_bench.finished_run import open_run
    from marl_bench.plugins import Registry
    from marl_bench.reporting.rendering import as_plain_text, as_rich_table

    torch.set_num_threads(threads)
    opened = open_run(run, Registry(plugin or []))
    cell = opened.cell(arm)
    arms = estimators(opened, cell, rule or [])
    size = DiagnosisSize(prompts=prompts, continuations=continuations, macro_actions=macro_actions, seed=seed)
    diagnosis = compare(opened, cell, arms, size)
    files = write_diagnosis(opened.run_dir, diagnosis)
    table = quality_table(diagnosis)
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(as_rich_table(table))
    else:
        typer.echo(as_plain_text(table))
    typer.echo(table.note)
    typer.echo(f"Files: {files.markdown}, {files.csv.name}, {files.macro_actions.name}, {files.plot.name}")
