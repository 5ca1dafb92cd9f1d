"""The verb `marl-bench evaluate`: parse, call one function, print."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marl_bench.cli.shared import PluginPaths, show_comparison, show_files
from marl_bench.errors import ConfigError

if TYPE_CHECKING:
    from marl_bench.outside.request import Request
    from marl_bench.plugins import Registry
    from marl_bench.reporting.report import ReportFiles

DEFAULT_SEEDS = 1
DEFAULT_CONCURRENCY = 16
DEFAULT_PRESET = "tiny"


def evaluate(  # noqa: PLR0913 (one parameter an option)
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN]", help="Folder of a finished experiment: evaluate its policies again.", show_default=False
        ),
    ] = None,
    arm: Annotated[
        list[str] | None, typer.Option(metavar="ARM", help="Whose policies of RUN (repeatable).  [default: all]")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="embedded, hub, or a folder with the hub's schema.  [default: the run's, else embedded]",
        ),
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
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]MODEL",
            help="Folder (also of an adapter, or RUN/cells/CELL/policy), hub id, or openai:NAME (repeatable).",
        ),
    ] = None,
    samples: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FILE",
            help="JSON lines or CSV with id, response[, sample_index] (repeatable).",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(metavar="TASK", help="Of which task.  [default: that of --run]"),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="REFERENCE",
            help="The reference: a NAME of this command, RUN:ARM, an arm of --run, a file or a model.",
        ),
    ] = None,
    from_run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="Use this run's SFT model, reward model, data and prompts; the scores stand beside its arms'.",
        ),
    ] = None,
    reward_model: Annotated[str | None, typer.Option(metavar="PATH", help="The task's reward model.")] = None,
    reward: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="Part of the score (repeatable), as in run."),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="PATH_OR_ID",
            help="Counts the tokens of samples that bring no token_count.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="So many times models are sampled.")] = DEFAULT_SEEDS,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most N prompts.")] = None,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Take samples that lack prompts; the report says so."),
    ] = False,
    base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Server of openai: models, for example http://127.0.0.1:8000/v1.",
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(metavar="N", min=1, help="Requests to the server at once.")
    ] = DEFAULT_CONCURRENCY,
    preset: Annotated[
        str,
        typer.Option(metavar="PRESET", help="Whose limits and batch sizes without --run."),
    ] = DEFAULT_PRESET,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Of the result.  [default: results/TASK-evaluation-HASH]"),
    ] = None,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Threads.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; results are still printed.")] = False,
    plugin: PluginPaths = None,
) -> None:
    """Evaluate the policies of a finished run on other prompts, or models and samples made elsewhere; nothing is trained."""
    from marl_bench.config_layers import parse_override
    from marl_bench.outside.request import Request
    from marl_bench.plugins import Registry

    registry = Registry(plugin or [])
    options = {"data.source": data, "evaluation.metrics": metric or None}
    outside = {"data.limit": limit, "reward_model.path": reward_model, "reward.sources": reward or None}
    overrides = [parse_override(text) for text in set_ or []]
    if run is not None:
        given = [model, samples, task, against, from_run, tokenizer, out, base_url, *outside.values()]
        changed = seeds != DEFAULT_SEEDS or concurrency != DEFAULT_CONCURRENCY or preset != DEFAULT_PRESET
        if allow_missing or changed or any(value is not None and value != [] for value in given):
            raise ConfigError(
                f"evaluate {run}: evaluates the run's own policies, with their seeds and preset, and takes only --arm, --data, --set, "
                f"--metric, --name and --macro-actions; to evaluate others with its models give it as --run {run}."
            )
        if macro_actions:
            _trace(run, arm or [], registry, threads=threads, quiet=quiet)
            return
        overrides += [(key, value) for key, value in options.items() if value is not None]
        _again(run, arm or [], overrides, registry, name=name, threads=threads, quiet=quiet)
        return
    if arm or name is not None or macro_actions:
        raise ConfigError(
            "evaluate: --arm, --name and --macro-actions are of a RUN; give its folder, or leave them out."
        )
    overrides += [(key, value) for key, value in (options | outside).items() if value is not None]
    request = Request(
        models=model or [],
        samples=samples or [],
        against=against,
        task=task,
        run=from_run,
        overrides=overrides,
        preset=preset,
        tokenizer=tokenizer,
        seeds=seeds,
        allow_missing=allow_missing,
        out=out,
        base_url=base_url,
        concurrency=concurrency,
    )
    _outside(request, registry, threads=threads, quiet=quiet)


def _outside(request: "Request", registry: "Registry", *, threads: int, quiet: bool) -> None:
    from marl_bench.display import counted
    from marl_bench.outside.evaluate import evaluate_outside, responses_expected
    from marl_bench.outside.plan import plan_outside

    if request.models or request.run is not None:
        _use_threads(threads)
    plan = plan_outside(request, registry)
    total = sum(responses_expected(plan, system) for system, _ in plan.cells())
    with counted("responses", done=0, total=total, quiet=quiet) as done:
        files = evaluate_outside(plan, done=done)
    _show(files)


def _again(
    root: Path,
    arms: list[str],
    overrides: list[tuple[str, Any]],
    registry: "Registry",
    *,
    name: str | None,
    threads: int,
    quiet: bool,
) -> None:
    from marl_bench.display import counted
    from marl_bench.reevaluation import cells_of, evaluate_again, plan_evaluation

    _use_threads(threads)
    planned = plan_evaluation(root, overrides, registry, name=name)
    with counted("cells", done=0, total=len(cells_of(planned.run, arms)), quiet=quiet) as done:
        files = evaluate_again(planned, arms=arms, done=done)
    _show(files)


def _trace(root: Path, arms: list[str], registry: "Registry", *, threads: int, quiet: bool) -> None:
    from marl_bench.display import counted
    from marl_bench.finished_run import open_run
    from marl_bench.reevaluation import cells_of, trace_again

    _use_threads(threads)
    run = open_run(root, registry)
    with counted("cells", done=0, total=len(cells_of(run, arms)), quiet=quiet) as done:
        problems = trace_again(run, arms=arms, done=done)
    for problem in problems:
        typer.echo(f"Warning: {problem}", err=True)
    typer.echo(f"Macro actions: {root / 'cells'}")


def _use_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)


def _show(files: "ReportFiles") -> None:
    show_comparison(files.comparison)
    show_files(files)
