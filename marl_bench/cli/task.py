"""The verbs of `marl-bench task`: parse, call one function, print. Nothing heavy is imported before a verb needs it."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marl_bench.cli.shared import PluginPaths
from marl_bench.errors import TaskContractError

if TYPE_CHECKING:
    from marl_bench.authoring.opened_task import OpenedTask
    from marl_bench.authoring.view import TaskView
    from marl_bench.plugins import Registry

app = typer.Typer(
    help="Tasks: a new one, a look at the data, the contract.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="See marl-bench list tasks.", show_default=False)]
Data = Annotated[
    str | None,
    typer.Option(metavar="SOURCE", help="embedded, hub, or a folder with the hub's schema.  [default: embedded]"),
]
Preset = Annotated[str, typer.Option(metavar="PRESET", help="Preset whose limits and model are used.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Dotted key, for example task_options.x=1 (repeatable)."),
]


@app.command(epilog="Example: marl-bench task new my_task && pip install -e my_task && marl-bench run --task my_task")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the task and its module.", show_default=False)],
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="The package's folder.  [default: NAME]")] = None,
) -> None:
    """Write an installable package with a small task that works: data, reward, metric, tests, entry point, README."""
    from marl_bench.authoring.scaffold import new_task
    from marl_bench.plugins import Registry

    folder = out or Path(name)
    for path in new_task(name, folder, Registry()):
        typer.echo(str(path))
    typer.echo(
        f"Next: pip install -e {shlex.quote(str(folder))} && marl-bench task check {name} && marl-bench run --task {name}"
    )


@app.command(epilog="Example: marl-bench task inspect tldr --rule 'fixed(n=5)' --rule sentence --rows 2")
def inspect(  # noqa: PLR0913 (one parameter an option)
    task: TaskName,
    data: Data = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE", help="Termination rule whose cuts are shown (repeatable).  [default: fixed(n=5)]"),
    ] = None,
    rows: Annotated[int, typer.Option(metavar="N", min=1, help="Items of each stage that are shown.")] = 1,
    preset: Preset = "tiny",
    set_: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all token ids.")] = False,
    plugin: PluginPaths = None,
) -> None:
    """Show rows of each stage, rendered prompts, token counts, macro boundaries, what is cut, duplicates and leaks."""
    from marl_bench.authoring.view import inspect_task
    from marl_bench.planning import plan_rule
    from marl_bench.plugins import Registry

    registry = Registry(plugin or [])
    rules = [plan_rule(text, registry) for text in rule or ["fixed(n=5)"]]
    view = inspect_task(_opened(task, data, preset, set_, registry), rules, registry, rows=rows)
    if as_json:
        typer.echo(json.dumps(view.to_json(), ensure_ascii=False))
    else:
        _show(view)


@app.command(epilog="Example: marl-bench task check tldr --data FOLDER")
def check(
    task: TaskName,
    data: Data = None,
    samples: Annotated[
        int, typer.Option(metavar="N", min=2, help="Evaluation prompts that are scored and measured.")
    ] = 24,
    preset: Preset = "tiny",
    set_: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    plugin: PluginPaths = None,
) -> None:
    """Check a task against the contract; exit status 1 and a list of what is wrong where it breaks it."""
    from marl_bench.authoring.check import check_task
    from marl_bench.plugins import Registry

    opened = _opened(task, data, preset, set_, Registry(plugin or []))
    findings = check_task(opened, samples=samples)
    broken = [finding.clause for finding in findings if finding.problems]
    if as_json:
        clauses = {one.clause: {"problems": one.problems, "skipped": one.skipped or None} for one in findings}
        typer.echo(json.dumps({"task": task, "version": opened.spec.version, "ok": not broken, "clauses": clauses}))
    else:
        for finding in findings:
            if finding.skipped:
                typer.echo(f"skipped\t{finding.clause}: {finding.skipped}")
            elif not finding.problems:
                typer.echo(f"ok\t{finding.clause}")
            for problem in finding.problems:
                typer.echo(f"FAILED\t{finding.clause}: {problem}")
    if broken:
        raise TaskContractError(f"task '{task}': breaks its contract in {', '.join(broken)}.")


@app.command(
    epilog="Example: marl-bench task prompts tldr --out prompts.jsonl, then marl-bench evaluate --task tldr --samples FILE"
)
def prompts(  # noqa: PLR0913 (one parameter an option)
    task: Annotated[
        str | None,
        typer.Argument(
            metavar="[TASK]", help="See marl-bench list tasks.  [default: that of --run]", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="JSON lines: id, text, messages, subset, reference.")
    ] = Path("prompts.jsonl"),
    data: Data = None,
    run: Annotated[
        Path | None, typer.Option(metavar="RUN", help="The prompts of this run, as its policies read them.")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most N prompts.")] = None,
    preset: Preset = "tiny",
    set_: Overrides = None,
    plugin: PluginPaths = None,
) -> None:
    """Write the evaluation prompts with their ids, to sample responses elsewhere and evaluate them here."""
    from marl_bench.config_layers import parse_override
    from marl_bench.outside.prompts_file import write_prompts
    from marl_bench.outside.request import Request
    from marl_bench.plugins import Registry

    overrides = [parse_override(text) for text in set_ or []]
    overrides += [(key, value) for key, value in (("data.source", data), ("data.limit", limit)) if value is not None]
    request = Request(task=task, run=run, overrides=overrides, preset=preset)
    count = write_prompts(request, Registry(plugin or []), out=out)
    typer.echo(f"{count} prompts: {out}")


def _opened(
    task: str, data: str | None, preset: str, overrides: list[str] | None, registry: "Registry"
) -> "OpenedTask":
    from marl_bench.authoring.opened_task import open_task
    from marl_bench.config_layers import parse_override, resolve

    layers: list[tuple[str, dict[str, Any]]] = [("TASK", {"task": task})]
    if data is not None:
        layers.append(("--data", {"data": {"source": data}}))
    resolved = resolve(
        preset=preset,
        layers=layers,
        overrides=[parse_override(text) for text in overrides or []],
        task_settings=registry.task_settings,
    )
    return open_task(resolved, registry)


def _show(view: "TaskView") -> None:
    from marl_bench.authoring.view import stages_table
    from marl_bench.reporting.rendering import as_plain_text, as_rich_table
    from marl_bench.rules.rendering import as_text, for_terminal

    typer.echo(f"Task {view.task}, data {view.digest[:12]}")
    for name, count in view.counts.items():
        typer.echo(f"  {name} = {count:,}")
    for note in view.notes:
        typer.echo(f"Note: {note}")
    for row in view.rows:
        typer.echo(
            f"\n--- {row.stage}, prompt {row.id}{f', {row.subset}' if row.subset else ''}: {len(row.prompt_ids)} tokens"
        )
        typer.echo(row.prompt)
        for text, ids in zip(row.responses, row.response_ids, strict=True):
            typer.echo(f"--- response, {len(ids)} tokens: {' '.join(map(str, ids))}\n{text}")
        if row.reference is not None:
            typer.echo(f"--- reference\n{row.reference}")
    typer.echo("")
    if sys.stdout.isatty():
        from rich.console import Console

        console = Console()
        console.print(as_rich_table(stages_table(view)))
        console.print(for_terminal(view.cuts, width=console.width))
    else:
        typer.echo(as_plain_text(stages_table(view)))
        typer.echo(as_text(view.cuts))
    for stages, names in view.leaks.items():
        typer.echo(
            f"Leak: {len(names)} prompts stand in {stages}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
        )
    if not view.leaks:
        typer.echo("Leaks: none; no prompt stands in two stages.")
