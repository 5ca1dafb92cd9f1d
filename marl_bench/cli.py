"""The command line: parse, call one function, print. Nothing heavy is imported before a verb needs it."""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marl_bench.cli_batches import add_batch_verbs
from marl_bench.cli_bench import app as bench_app
from marl_bench.cli_compare import compare
from marl_bench.cli_diagnose import diagnose
from marl_bench.cli_evaluate import evaluate
from marl_bench.cli_execute import doctor, execute
from marl_bench.cli_history import history
from marl_bench.cli_judge import app as judge_app
from marl_bench.cli_judge import check_judge, judge_complete_run
from marl_bench.cli_labels import KeyFile, LabelFiles, Partial, add_label_verbs, take_judge_labels
from marl_bench.cli_reference import app as reference_app
from marl_bench.cli_rules import app as rule_app
from marl_bench.cli_sweeps import best_of_n, sweep_temperature
from marl_bench.cli_task import app as task_app
from marl_bench.errors import CellFailedError, ConfigError, MarlBenchError

if TYPE_CHECKING:
    from marl_bench.config import ResolvedConfig
    from marl_bench.display import Display
    from marl_bench.planning import Plan
    from marl_bench.plugins import Registry
    from marl_bench.reporting.comparison import Comparison

DEFAULT_PRESET = "tiny"

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
app.add_typer(rule_app, name="rule")
app.add_typer(task_app, name="task")
app.add_typer(bench_app, name="bench")
app.add_typer(judge_app, name="judge")
app.add_typer(reference_app, name="reference")
app.command(
    epilog="Examples:  marl-bench compare OLD NEW --fail-on-regression oracle:0.05  |  "
    "marl-bench compare RUN:sft 'RUN:macro_ppo:fixed(n=5)'  |  marl-bench compare RUN"
)(compare)
app.command(epilog="Example: marl-bench history results results/reference --metric oracle --plot history.png")(history)
add_label_verbs(judge_app)
add_batch_verbs(judge_app)
app.command(epilog="Example: marl-bench diagnose results/RUN --arm macro_ppo:fixed(n=5)")(diagnose)
app.command(
    epilog="Examples:  marl-bench evaluate results/RUN --set evaluation.temperature=0 --metric words  |  "
    "marl-bench evaluate --task tldr --model FOLDER_OR_ID --samples mine=FILE --against mine  |  "
    "marl-bench evaluate --run results/RUN --model FOLDER_OR_ID --against sft"
)(evaluate)
app.command(
    epilog="Examples:  marl-bench execute --samples samples.jsonl --problems humaneval  |  "
    "marl-bench execute --samples samples.jsonl --problems FOLDER --k 1,5,10 --timeout 4"
)(execute)
app.command("best-of-n", epilog="Example: marl-bench best-of-n results/RUN --n 1,4,16 --prompts 64")(best_of_n)
app.command("sweep-temperature", epilog="Example: marl-bench sweep-temperature results/RUN --temperatures 0,0.5,1.0")(
    sweep_temperature
)
app.command(epilog="Example: marl-bench doctor --require-isolation full")(doctor)

PluginPaths = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="PATH", help="File or folder with further plugins (repeatable)."),
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with its status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        app([argument for argument in given if argument != "--debug"])
    except MarlBenchError as error:
        if debug:
            traceback.print_exc()
            print(getattr(error, "worker_traceback", ""), file=sys.stderr)  # noqa: T201 (the command line's own output)
        print(f"marl-bench: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        print("marl-bench: interrupted; the same command again goes on from what is finished.", file=sys.stderr)  # noqa: T201
        sys.exit(130)


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


@app.command(
    epilog="Examples:  marl-bench run --task tldr  |  marl-bench run --task tldr --seeds 3 --set ppo.updates=80  |  "
    "marl-bench run --task tldr --arm token_ppo --arm 'macro_ppo:fixed(n=10)' --data FOLDER  |  marl-bench run --dry-run"
)
def run(  # noqa: PLR0913 (one parameter an option)
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="Task; see marl-bench list tasks.  [default: tldr]")
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARM",
            help="BASELINE[:RULE(args)][@option=value,...] or a grid (repeatable); bare macro_ppo is fixed(n=5).",
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", help="Number of seeds.")] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="PRESET", help="Preset; see marl-bench list presets.  [default: tiny]")
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="YAML file with configuration keys.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Dotted key, for example ppo.kl_coef=0.1 (repeatable)."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="embedded, hub, or a folder with the hub's schema.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="tiny, a hub id, or a from_pretrained folder.")
    ] = None,
    sft_model: Annotated[str | None, typer.Option(metavar="PATH", help="Finished SFT model; skips that stage.")] = None,
    reward_model: Annotated[
        str | None, typer.Option(metavar="PATH", help="Finished reward model; skips that stage.")
    ] = None,
    reward: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE",
            help="[WEIGHT*]SOURCE (repeatable): task, classifier:FOLDER_OR_HUB_ID, python:FILE.py:NAME.  [default: task]",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC",
            help="Metric beside the task's own (repeatable): a name (marl-bench list metrics), python:FILE.py:NAME, evaluate:NAME:RESULT.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The experiment's own folder.  [default: results/TASK-PRESET-HASH]"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="At most N items of each stage's data and of the evaluation.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Worker processes.  [default: one a core]")
    ] = None,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Threads of each worker.")] = 1,
    with_controls: Annotated[
        bool,
        typer.Option("--with-controls", help="Add the controls of every macro arm that are not among the arms yet."),
    ] = False,
    judge: Annotated[
        str | None,
        typer.Option(metavar="JUDGE", help="Then judge by openai:MODEL; marl-bench judge has all its options."),
    ] = None,
    base_url: Annotated[str | None, typer.Option(metavar="URL", help="Server of the judge.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show configuration, cells and an estimate; do nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; results are still printed.")] = False,
    plugin: PluginPaths = None,
) -> None:
    """Train and compare the arms of a task; the same command again goes on from what is finished."""
    from marl_bench.controls import add_controls
    from marl_bench.experiment import check_plan, default_jobs, run_plan
    from marl_bench.planning import make_plan
    from marl_bench.plugins import Registry
    from marl_bench.reporting.comparison import Comparison

    options = {
        "--task": ("task", task),
        "--arm": ("arms", arm or None),
        "--seeds": ("seeds", seeds),
        "--data": ("data.source", data),
        "--model": ("model.path", model),
        "--sft-model": ("sft.path", sft_model),
        "--reward-model": ("reward_model.path", reward_model),
        "--reward": ("reward.sources", reward or None),
        "--metric": ("evaluation.metrics", metric or None),
        "--limit": ("data.limit", limit),
    }
    registry = Registry(plugin or [])
    resolved = _resolved(preset, config, options, set_ or [], registry)
    if with_controls:
        resolved = add_controls(resolved, registry)
    plan = make_plan(resolved, registry, out=out, jobs=jobs or default_jobs(), threads=threads)
    for warning in plan.warnings():
        typer.echo(f"Warning: {warning}", err=True)
    check_plan(plan)
    if judge is not None:
        check_judge(judge, base_url)
    if dry_run:
        _show_plan(plan, resolved)
        return
    with _display(plan, quiet=quiet) as display:
        try:
            comparison = run_plan(plan, listener=display.show)
        except CellFailedError as error:
            if isinstance(error.comparison, Comparison):
                _show_comparison(error.comparison)  # what did not fail is a result
            raise
    _show_comparison(comparison)
    typer.echo(f"Report: {plan.root / 'report.md'}")
    if judge is not None:
        judge_complete_run(plan.root, judge, base_url, registry=registry, quiet=quiet)


@app.command(
    epilog="Examples:  marl-bench report results/tldr-tiny-1a2b3c4d  |  marl-bench report RUN --format latex,svg,json --out paper"
)
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of experiments.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the report goes.  [default: the RUN's own folder]")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compare arms of unequal budgets or versions; the report warns.")
    ] = False,
    format_: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="FORMATS",
            help="Some of md, csv, json, latex, html, png, svg, joined by commas.  [default: md,csv,html,png,svg]",
        ),
    ] = None,
    judge_labels: LabelFiles = None,
    key: KeyFile = None,
    partial_labels: Partial = False,
) -> None:
    """Make the report again from records alone, without torch."""
    from marl_bench.reporting.formats import parse_formats
    from marl_bench.reporting.report import write_report
    from marl_bench.run_dir import RunDir

    formats = parse_formats(format_ or [])
    if judge_labels:
        take_judge_labels(runs, judge_labels, key=key, partial=partial_labels)
    if out is None:
        if len(runs) > 1:
            raise ConfigError("report: of several runs needs a folder of its own; give --out FOLDER.")
        out = runs[0]
    files = write_report([RunDir(path) for path in runs], out=out, force=force, formats=formats)
    _show_comparison(files.comparison)
    typer.echo(f"Report: {files.report}")


@app.command("list", epilog="Example: marl-bench list baselines --details")
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
    from marl_bench.config import load_preset, preset_names
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


def _resolved(
    preset: str | None,
    file: Path | None,
    options: dict[str, tuple[str, Any]],
    overrides: Sequence[str],
    registry: "Registry",
) -> "ResolvedConfig":
    from marl_bench.config import nested, parse_override, read_config_file, resolve

    layers: list[tuple[str, Any]] = []
    if file is not None:
        content = read_config_file(file)
        file_preset = content.pop("preset", None)
        preset = preset or file_preset
        layers.append((str(file), content))
    layers += [(name, nested(key, value)) for name, (key, value) in options.items() if value is not None]
    return resolve(
        preset=preset or DEFAULT_PRESET,
        layers=layers,
        overrides=[parse_override(text) for text in overrides],
        task_settings=registry.task_settings,
    )


def _display(plan: "Plan", *, quiet: bool) -> "Display":
    from marl_bench.display import Bars, Lines, Quiet, TimeLeft
    from marl_bench.estimate import work_of
    from marl_bench.experiment import remaining

    if quiet:
        return Quiet()
    todo = remaining(plan)
    time_left = TimeLeft(
        work_of(plan, trained_cells=plan.trained_cells()), shared=todo.shared, cells=len(todo.cells), jobs=plan.jobs
    )
    if todo.finished:
        typer.echo(f"{todo.finished} of {len(plan.cells())} cells are complete already.", err=True)
    if not sys.stderr.isatty():
        return Lines(sys.stderr, time_left)
    from rich.console import Console

    return Bars(Console(stderr=True), time_left)


def _show_comparison(comparison: "Comparison") -> None:
    from marl_bench.reporting.terminal import summary_as_text, summary_for_terminal

    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(summary_for_terminal(comparison))
    else:
        typer.echo(summary_as_text(comparison))


def _show_plan(plan: "Plan", resolved: "ResolvedConfig") -> None:
    from marl_bench.config import describe
    from marl_bench.display import duration
    from marl_bench.estimate import work_of
    from marl_bench.experiment import remaining
    from marl_bench.models.loading import count_parameters

    typer.echo("Configuration (key = value, from)")
    for key, value, origin in describe(resolved):
        typer.echo(f"  {key} = {value}  ({origin})")
    todo = remaining(plan)
    typer.echo(f"Experiment {plan.root} (hash {plan.config_hash[:12]})")
    for arm in plan.arms:
        typer.echo(f"  arm {arm.label} -> cells/{arm.name}-seed0 .. seed{plan.config.seeds - 1}")
    typer.echo(f"Cells: {len(plan.cells())}, of which {todo.finished} are complete; {plan.jobs} side by side")
    config = plan.config
    parameters = count_parameters(config.sft.path or plan.base_model)
    ppo = config.ppo
    typer.echo(
        f"Sizes: {parameters:,} parameters; {ppo.updates or 'one pass of'} updates of {ppo.batch_size} prompts, up to "
        f"{config.sampling.max_prompt_tokens} + {config.sampling.max_response_tokens} tokens"
    )
    seconds = work_of(plan, trained_cells=plan.trained_cells()).seconds(parameters=parameters, jobs=plan.jobs)
    typer.echo(f"Estimate on one CPU core a job, if nothing were complete: about {duration(seconds)}")
