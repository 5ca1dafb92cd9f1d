"""The command line: every verb in the order of the help. Nothing heavy is imported before a verb needs it."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from marl_bench.cli.batches import add_batch_verbs
from marl_bench.cli.bench import app as bench_app
from marl_bench.cli.clean import clean
from marl_bench.cli.compare import compare
from marl_bench.cli.diagnose import diagnose
from marl_bench.cli.evaluate import evaluate
from marl_bench.cli.execute import doctor, execute
from marl_bench.cli.history import history
from marl_bench.cli.judge import app as judge_app
from marl_bench.cli.labels import add_label_verbs
from marl_bench.cli.leaderboard import leaderboard
from marl_bench.cli.listing import list_
from marl_bench.cli.reference import app as reference_app
from marl_bench.cli.report import report
from marl_bench.cli.rules import app as rule_app
from marl_bench.cli.run import run
from marl_bench.cli.sweep import sweep
from marl_bench.cli.sweeps import best_of_n, sweep_temperature
from marl_bench.cli.task import app as task_app
from marl_bench.cli.watch import watch
from marl_bench.errors import ConfigError, ElsewhereError, MarlBenchError
from marl_bench.launch import read_launch

app = typer.Typer(
    name="marl-bench",
    help="Does treating several tokens as one action beat token-level PPO on your task, by how much, and why?",
    epilog="Example: marl-bench run --task tldr",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(
    epilog="Examples:  marl-bench run --task tldr  |  marl-bench run --task tldr --seeds 3 --set ppo.updates=80  |  "
    "marl-bench run --task tldr --arm token_ppo --arm 'macro_ppo:fixed(n=10)' --data FOLDER  |  marl-bench run --dry-run"
)(run)
app.command(epilog="Example: marl-bench sweep --task tldr --arms grid-ngram --seeds 5 --set ppo.kl_coef=0.02,0.05")(
    sweep
)
app.command(
    epilog="Examples:  marl-bench watch results/tldr-tiny-1a2b3c4d  |  marl-bench watch RUN --metric score,oracle --once"
)(watch)
app.command(
    epilog="Examples:  marl-bench report results/tldr-tiny-1a2b3c4d  |  marl-bench report RUN --format latex,svg,json --out paper"
)(report)
app.command(
    epilog="Examples:  marl-bench compare OLD NEW --fail-on-regression oracle:0.05  |  "
    "marl-bench compare RUN:sft 'RUN:macro_ppo:fixed(n=5)'  |  marl-bench compare RUN"
)(compare)
app.command(
    epilog="Examples:  marl-bench evaluate results/RUN --set evaluation.temperature=0 --metric words  |  "
    "marl-bench evaluate --task tldr --model FOLDER_OR_ID --samples mine=FILE --against mine  |  "
    "marl-bench evaluate --run results/RUN --model FOLDER_OR_ID --against sft"
)(evaluate)
app.command("best-of-n", epilog="Example: marl-bench best-of-n results/RUN --n 1,4,16 --prompts 64")(best_of_n)
app.command("sweep-temperature", epilog="Example: marl-bench sweep-temperature results/RUN --temperatures 0,0.5,1.0")(
    sweep_temperature
)
app.command(epilog="Example: marl-bench diagnose results/RUN --arm macro_ppo:fixed(n=5)")(diagnose)
app.command(epilog="Example: marl-bench history results results/reference --metric oracle --plot history.png")(history)
app.command(epilog="Example: marl-bench leaderboard results --out leaderboard.html")(leaderboard)
app.command(
    epilog="Examples:  marl-bench execute --samples samples.jsonl --problems humaneval  |  "
    "marl-bench execute --samples samples.jsonl --problems FOLDER --k 1,5,10 --timeout 4"
)(execute)
app.command(epilog="Example: marl-bench doctor --require-isolation full")(doctor)
app.command(epilog="Example: marl-bench clean results --older-than 7 --dry-run")(clean)
app.command("list", epilog="Example: marl-bench list baselines --details")(list_)
app.add_typer(judge_app, name="judge")
add_label_verbs(judge_app)
add_batch_verbs(judge_app)
app.add_typer(reference_app, name="reference")
app.add_typer(task_app, name="task")
app.add_typer(rule_app, name="rule")
app.add_typer(bench_app, name="bench")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with its status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        _check_launch(given)
        app([argument for argument in given if argument != "--debug"])
    except ElsewhereError as error:
        sys.exit(error.exit_status)  # the process that failed says why
    except MarlBenchError as error:
        if debug:
            traceback.print_exc()
            print(getattr(error, "worker_traceback", ""), file=sys.stderr)  # noqa: T201 (the command line's own output)
        print(f"marl-bench: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        print("marl-bench: interrupted; the same command again goes on from the last checkpoint.", file=sys.stderr)  # noqa: T201
        sys.exit(130)


def _check_launch(arguments: Sequence[str]) -> None:
    """Checks that only the verb that can is run by several processes; each would do all of the work of another one.

    Raises:
        ConfigError: Another verb is.
        ElsewhereError: Likewise, and this is not the first process.
    """
    launch = read_launch(os.environ)
    if launch is not None and arguments[:1] != ["run"]:
        if launch.rank:
            raise ElsewhereError("", exit_status=ConfigError.exit_status)
        verb = arguments[0] if arguments else ""
        raise ConfigError(f"marl-bench {verb}: is the work of one process; only run goes with torchrun.")


def _print_version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata

        typer.echo(f"marl-bench {importlib.metadata.version('marl-bench')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors (anywhere on the line).")] = False,
) -> None:
    pass
