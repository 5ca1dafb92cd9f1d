"""The verbs of `marl-bench judge` for batch jobs: parse, call one function, print."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marl_bench.cli.judge_options import (
    Arms,
    Cache,
    MaxTokens,
    Name,
    Order,
    Pairs,
    Price,
    Prompts,
    Protocol,
    Runs,
    Seed,
    Temperature,
)
from marl_bench.cli.shared import PluginPaths

if TYPE_CHECKING:
    from marl_bench.judge_batches import Collected, Todo
    from marl_bench.judging.batch_jobs import BatchJob
    from marl_bench.judging.plan import JudgingPlan

_NOT_ANSWERS = {
    "unusable": "answers to something else",
    "errors": "errors",
    "missing": "never answered",
    "conflicting": "with two different answers",
}
_ODD_LINES = {"repeated": "repeated", "unknown": "about unknown requests", "damaged": "damaged"}


def add_batch_verbs(app: typer.Typer) -> None:
    """Adds `submit` and `collect` to the verbs of `marl-bench judge`."""
    app.command(epilog="Example: marl-bench judge submit results/RUN --judge openai:gpt-4o-2024-11-20 --pairs 500")(
        submit
    )
    app.command(epilog="Example: marl-bench judge collect results/RUN --wait")(collect)


def submit(  # noqa: PLR0913 (one parameter an option)
    runs: Runs,
    judge: Annotated[str, typer.Option(metavar="JUDGE", help="openai:MODEL, by its exact id.", show_default=False)],
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Server with the Batch API.  [default: OpenAI]")
    ] = None,
    pairs: Pairs = 1000,
    order: Order = "both",
    protocol: Protocol = "standard",
    arm: Arms = None,
    seed: Seed = 0,
    temperature: Temperature = 0.0,
    max_tokens: MaxTokens = 2048,
    prompts: Prompts = None,
    name: Name = None,
    cache: Cache = None,
    price: Price = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show requests, tokens and cost; send nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    plugin: PluginPaths = None,
) -> None:
    """Send the questions that judge would ask as batch jobs, at half the price; the same command again sends nothing twice."""
    from marl_bench.display import counted
    from marl_bench.judge_batches import jobs_folder, open_service, what_to_submit
    from marl_bench.judge_batches import submit as submit_plan
    from marl_bench.judging.batch_jobs import MAX_REQUESTS
    from marl_bench.judging.costs import parse_price
    from marl_bench.judging.plan import JudgeOptions, plan_judging
    from marl_bench.judging.transport import server_address
    from marl_bench.plugins import Registry
    from marl_bench.run_dir import RunDir

    options = JudgeOptions(
        judge,
        own_server=server_address(base_url) is not None,
        pairs=pairs,
        order=order,
        seed=seed,
        protocol=protocol,
        temperature=temperature,
        max_tokens=max_tokens,
        price=parse_price(price) if price is not None else None,
        prompts=prompts,
        arms=arm or (),
        name=name,
        cache=cache,
    )
    plan = plan_judging([RunDir(run) for run in runs], options, Registry(plugin or []))
    folder = jobs_folder(runs[0], plan.name)
    todo = what_to_submit(plan, folder)
    _show_todo(plan, todo)
    if dry_run:
        return
    service = open_service(base_url)
    waiting = sum(not job.batch_id for job in folder.jobs()) + math.ceil(len(todo.questions) / MAX_REQUESTS)
    with counted("batches", done=0, total=waiting, quiet=quiet) as show:
        jobs = submit_plan(plan, folder, service, listener=show)
    for job in jobs:
        if not job.collected:
            typer.echo(f"Batch {job.batch_id}: {job.requests:,} requests, {job.status}")
    if all(job.collected for job in jobs):
        typer.echo("Nothing is under way. Next: the same marl-bench judge command, without submit, makes the report.")
        return
    again = [f"--base-url {base_url}"] if base_url else []
    again += [f"--cache {cache}"] if cache else []  # elsewhere the answers would not be found, and paid again
    typer.echo(
        f"Written down in {folder.folder}. Next: {' '.join(['marl-bench judge collect', str(runs[0]), *again, '--wait'])}"
    )


def collect(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The first of the submitted runs.", show_default=False)],
    base_url: Annotated[str | None, typer.Option(metavar="URL", help="As in submit.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Only this judgement.  [default: all]")] = None,
    cache: Annotated[Path | None, typer.Option(metavar="FILE", help="As in submit.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until every batch has ended.")] = False,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="Time between two looks.")] = 60.0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; results are still printed.")] = False,
) -> None:
    """Take the answers of ended batch jobs over; judge RUN then asks only what is still missing."""
    from marl_bench.display import counted
    from marl_bench.judge_batches import JOBS_FOLDER, collect_jobs, jobs_folder, open_service, wait_for_jobs

    service = open_service(base_url)
    folders = (jobs_folder(run, path.name) for path in (run / JOBS_FOLDER).glob("*") if path.is_dir())
    total = sum(job.requests for folder in folders for job in folder.jobs())
    progress = (
        counted("requests", done=0, total=total, quiet=quiet)
        if wait
        else contextlib.nullcontext(lambda _now, _text: None)
    )
    with progress as show:

        def look() -> "list[Collected]":
            return collect_jobs(run, service, name=name, cache=cache, listener=show)

        found = wait_for_jobs(look, every_seconds=every) if wait else look()
    for one in found:
        for job in one.jobs:
            typer.echo(f"{one.name}, {_job_text(job)}")
    if any(one.waiting for one in found):
        typer.echo("Not all batches have ended: the same command again looks again, --wait waits.")
    typer.echo(
        "Next: the same marl-bench judge command, without submit, makes the calls that are missing and the report."
    )


def warn_of_open_batches(plan: "JudgingPlan", run: Path) -> None:
    """Says so if questions that are about to be asked stand in batch jobs that are not collected."""
    from marl_bench.judge_batches import jobs_folder, what_to_submit

    folder = jobs_folder(run, plan.name)
    if not any(not job.collected for job in folder.jobs()):
        return
    under_way = what_to_submit(plan, folder).under_way
    if under_way:
        typer.echo(
            f"Warning: {under_way:,} of the questions stand in batch jobs that are not collected yet, and would be paid twice; "
            f"collect them first: marl-bench judge collect {run}",
            err=True,
        )


def _show_todo(plan: "JudgingPlan", todo: "Todo") -> None:
    from marl_bench.judging.costs import BATCH_SHARE

    read, written, cost = plan.estimate(todo.questions)
    typer.echo(
        f"Requests: {len(todo.questions):,} to submit; {todo.stored:,} are answered already, {todo.under_way:,} are under way"
    )
    typer.echo(f"Tokens: about {read:,} to read and {written:,} to write")
    money = f"about ${BATCH_SHARE * cost:,.2f}" if cost is not None else "not known; give --price IN,OUT"
    typer.echo(f"Cost, with the batch discount: {money}")


def _job_text(job: "BatchJob") -> str:
    if not job.batch_id:
        return (
            f"job {job.key}: {job.requests:,} requests that are not submitted yet; the same submit command sends them"
        )
    text = f"batch {job.batch_id}: {job.status}"
    if job.collected:
        account = job.account
        parts = [f"{account.get('answered', 0):,} of {job.requests:,} answered", *_counts(account, _NOT_ANSWERS)]
        text += f", {', '.join(parts)}"
        odd = _counts(account, _ODD_LINES)
        text += f"; lines left aside: {', '.join(odd)}" if odd else ""
    return f"{text} ({job.problem})" if job.problem else text


def _counts(account: Mapping[str, int], names: Mapping[str, str]) -> Sequence[str]:
    return [f"{account[name]:,} {text}" for name, text in names.items() if account.get(name)]
