"""The verbs `marl-bench best-of-n` and `marl-bench sweep-temperature`: parse, call one function, print."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from marl_bench.cli.shared import PluginPaths
from marl_bench.errors import ConfigError

if TYPE_CHECKING:
    from marl_bench.sampling_curves import SamplingCurves
    from marl_bench.sweeps.plan import SweepPlan

Number = TypeVar("Number", int, float)

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished experiment.", show_default=False)]
Arms = Annotated[
    list[str] | None,
    typer.Option("--arm", metavar="ARM", help="Whose policies (repeatable).  [default: sft and all others]"),
]
Prompts = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Held-out prompts.  [default: as many as the run's evaluation]")
]
Seeds = Annotated[
    str | None, typer.Option(metavar="S,S,...", help="Seeds of the cells.  [default: all that are complete]")
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Keys of task_options, evaluation, sampling and data (repeatable)."
    ),
]
Threads = Annotated[int, typer.Option(metavar="N", min=1, help="Threads.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress; results are still printed.")]


def best_of_n(  # noqa: PLR0913 (one parameter an option)
    run: Run,
    arm: Arms = None,
    n: Annotated[str, typer.Option("--n", metavar="N,N,...", help="Sizes to choose the best of.")] = "1,2,4,8,16,32",
    prompts: Prompts = None,
    seeds: Seeds = None,
    set_: Sets = None,
    threads: Threads = 1,
    quiet: Quiet = False,
    plugin: PluginPaths = None,
) -> None:
    """Choose the best of N responses by the run's score: how score and oracle move, and whether SFT reaches the trained arms that way.

    Sampling goes on where it was stopped, and a larger N uses what is there.
    """
    sizes = _numbers("--n", n, int)
    plan = _plan(run, arm, seeds, prompts, set_, plugin, threads)

    from marl_bench.sweeps.best_of_n import best_of_n as curves_of
    from marl_bench.sweeps.best_of_n import check_sizes, temperature_of, wanted_samples
    from marl_bench.sweeps.collect import count_responses

    checked = check_sizes(sizes, temperature=temperature_of(plan))
    total = count_responses(plan, wanted_samples(plan, checked))
    _shown(plan, lambda done: curves_of(plan, checked, done=done), total=total, quiet=quiet)


def sweep_temperature(  # noqa: PLR0913 (one parameter an option)
    run: Run,
    arm: Arms = None,
    temperatures: Annotated[
        str, typer.Option(metavar="T,T,...", help="Sampling temperatures; 0 is greedy.")
    ] = "0.2,0.4,0.6,0.8,1.0,1.2",
    samples: Annotated[
        int, typer.Option(metavar="N", min=1, help="Responses a prompt and temperature; diversity needs two.")
    ] = 2,
    prompts: Prompts = None,
    seeds: Seeds = None,
    set_: Sets = None,
    threads: Threads = 1,
    quiet: Quiet = False,
    plugin: PluginPaths = None,
) -> None:
    """Sample every arm at several temperatures: score, oracle, KL, length, repetition, diversity.

    Sampling goes on where it was stopped, and further temperatures use what is there.
    """
    given = _numbers("--temperatures", temperatures, float)
    if any(text.partition("=")[0].strip() == "evaluation.temperature" for text in set_ or []):
        raise ConfigError("--set evaluation.temperature: is not used here; give --temperatures.")

    from marl_bench.sweeps.temperature import check_temperatures, wanted_samples
    from marl_bench.sweeps.temperature import sweep_temperature as curves_of

    checked = check_temperatures(given)
    plan = _plan(run, arm, seeds, prompts, set_, plugin, threads)

    from marl_bench.sweeps.collect import count_responses

    total = count_responses(plan, wanted_samples(plan, checked, samples))
    _shown(plan, lambda done: curves_of(plan, checked, samples, done=done), total=total, quiet=quiet)


def _plan(
    run: Path,
    arms: Sequence[str] | None,
    seeds: str | None,
    prompts: int | None,
    overrides: Sequence[str] | None,
    plugins: Sequence[Path] | None,
    threads: int,
) -> "SweepPlan":
    wanted = _numbers("--seeds", seeds, int) if seeds is not None else []
    import torch

    from marl_bench.config_layers import parse_override
    from marl_bench.plugins import Registry
    from marl_bench.sweeps.plan import SweepRequest, plan_sweep

    torch.set_num_threads(threads)
    request = SweepRequest(run, arms or [], wanted, prompts, [parse_override(text) for text in overrides or []])
    return plan_sweep(request, Registry(plugins or []))


def _shown(
    plan: "SweepPlan", curves_of: Callable[[Callable[[int, str], None]], "SamplingCurves"], *, total: int, quiet: bool
) -> None:
    from marl_bench.display import counted
    from marl_bench.reporting.sampling_tables import curves_as_text, curves_for_terminal, write_curves

    with counted("responses", done=0, total=total, quiet=quiet) as done:
        curves = curves_of(done)
    files = write_curves(plan.root, curves)
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(curves_for_terminal(curves))
    else:
        typer.echo(curves_as_text(curves))
    typer.echo(f"Files: {files.record}, {files.markdown.name}; marl-bench report {plan.root} shows them too.")


def _numbers(option: str, text: str, kind: type[Number]) -> list[Number]:
    parts: list[Any] = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return [kind(part) for part in parts]
    except ValueError as error:
        noun = "whole numbers" if kind is int else "numbers"
        raise ConfigError(f"{option} {text}: should be {noun} with commas between them.") from error
