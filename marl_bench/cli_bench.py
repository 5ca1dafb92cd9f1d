"""The verbs of `marl-bench bench`: parse, call one function, print."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

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
    from marl_bench.errors import ConfigError
    from marl_bench.plugins import Registry
    from marl_bench.reporting.rendering import as_plain_text, as_rich_table
    from marl_bench.run_dir import write_json_atomically

    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "--device cuda: torch finds no GPU here; leave the option out, or install a CUDA build of torch."
        )
    torch.set_num_threads(threads)
    size = BenchSize(rows=rows, tokens=tokens, repeats=repeats)
    result = bench_macro(Registry(), size, device=torch.device(device))
    for table in tables(result):
        if sys.stdout.isatty():
            from rich.console import Console

            Console().print(as_rich_table(table))
        else:
            typer.echo(as_plain_text(table))
        typer.echo(table.note)
    if json is not None:
        try:
            write_json_atomically(json, as_json(result))
        except OSError as error:
            raise ConfigError(f"--json {json}: cannot be written ({error.strerror or error}).") from error
        typer.echo(f"Times: {json}")
