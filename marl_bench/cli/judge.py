"""The verbs of `marl-bench judge`: parse, call one function, print."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from marl_bench.cli.batches import warn_of_open_batches
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
from marl_bench.cli.labels import KeyFile, LabelFiles, Partial, report_labels, show_agreement, take_judge_labels
from marl_bench.cli.shared import PluginPaths, show_files
from marl_bench.errors import ConfigError, MarlBenchError
from marl_bench.judgements import MAX_UNSCORED

if TYPE_CHECKING:
    from marl_bench.judge_runs import Judged, Server
    from marl_bench.judging.job import JobLimits, Tally
    from marl_bench.judging.plan import JudgingPlan
    from marl_bench.plugins import Registry
    from marl_bench.reporting.comparison import Comparison

PAIRS_VERB = "pairs"
WAIT_WORTH_A_LINE_SECONDS = 10.0
_EXAMPLES = (
    "Examples:  marl-bench judge results/RUN --judge openai:gpt-4o-2024-11-20 --dry-run  |  "
    "marl-bench judge results/RUN --judge openai:MODEL --base-url http://127.0.0.1:8000/v1 --pairs 500"
)


class JudgeGroup(TyperGroup):
    """Sub-commands, of which `pairs` need not be named: `judge RUN` is `judge pairs RUN`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts the name of the usual verb in where the first word names none; its help names the others."""
        if args and args[0] not in self.commands:
            args = [PAIRS_VERB, *args]
        usual = self.commands[PAIRS_VERB]
        others = [f"judge {name}" for name in self.commands if name != PAIRS_VERB]
        if others:
            usual.epilog = f"{_EXAMPLES}  |  Other verbs, each with --help: {', '.join(others)}"
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=JudgeGroup,
    help="Ask a judge which of two arms' responses is better.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _verbs() -> None:
    pass


@app.command(
    PAIRS_VERB,
    epilog=_EXAMPLES,
)
def pairs(  # noqa: PLR0913 (one parameter an option)
    runs: Runs,
    judge: Annotated[str | None, typer.Option(metavar="JUDGE", help="openai:MODEL, by its exact id.")] = None,
    base_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Server that speaks the OpenAI API, for example http://127.0.0.1:8000/v1."),
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
    max_cost: Annotated[
        float | None, typer.Option(metavar="USD", min=0, help="Ask no more once new answers have cost this.")
    ] = None,
    max_unscored: Annotated[
        float, typer.Option(metavar="SHARE", min=0, max=1, help="Fail if more of the pairs have no score.")
    ] = MAX_UNSCORED,
    concurrency: Annotated[int, typer.Option(metavar="N", min=1, max=512, help="Questions at a time.")] = 16,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="Limit of one attempt.")] = 120.0,
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Give a question up after this long, waits included.")
    ] = 1200.0,
    ask_again: Annotated[
        bool, typer.Option("--ask-again", help="Ask again what was answered without a verdict.")
    ] = False,
    judge_labels: LabelFiles = None,
    key: KeyFile = None,
    partial_labels: Partial = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show calls, tokens and cost; ask nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; results are still printed.")] = False,
    plugin: PluginPaths = None,
) -> None:
    """Judge every arm against SFT and against the token arm; the same command again goes on from the stored answers."""
    from marl_bench.judge_runs import Server
    from marl_bench.judging.asking import Patience
    from marl_bench.judging.costs import parse_price
    from marl_bench.judging.job import JobLimits
    from marl_bench.judging.plan import JudgeOptions, plan_judging
    from marl_bench.judging.transport import server_address
    from marl_bench.plugins import Registry
    from marl_bench.run_dir import RunDir

    if judge_labels and not dry_run:
        take_judge_labels(runs, judge_labels, key=key, partial=partial_labels)
    if judge is None:
        if not judge_labels:
            raise ConfigError("judge: nobody to ask; give --judge openai:MODEL, or --judge-labels FILE.")
        report_labels(runs)
        return
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
    limits = JobLimits(concurrency=concurrency, max_cost=max_cost, ask_again=ask_again)
    if dry_run:
        show_judging_plan(plan, limits)
        return
    warn_of_open_batches(plan, runs[0])
    server = Server(base_url, timeout_seconds=timeout, patience=Patience(wait_seconds=patience))
    judge_and_show(plan, server, limits, max_unscored=max_unscored, quiet=quiet)
    show_agreement(runs)


def check_judge(judge: str, base_url: str | None) -> None:
    """Checks before any work what `judge_complete_run` needs.

    Raises:
        ConfigError: The judge is not one, or there is neither a key nor a server.
    """
    from marl_bench.judging.plan import JudgeOptions, parse_judge
    from marl_bench.judging.transport import server_and_key

    parse_judge(JudgeOptions(judge))
    server_and_key(base_url)


def judge_complete_run(root: Path, judge: str, base_url: str | None, *, registry: "Registry", quiet: bool) -> None:
    """Judges a run that has just been completed; whatever happens, the run stays complete."""
    from marl_bench.judge_runs import Server
    from marl_bench.judging.job import JobLimits
    from marl_bench.judging.plan import JudgeOptions, plan_judging
    from marl_bench.judging.transport import server_address
    from marl_bench.run_dir import RunDir

    options = JudgeOptions(judge, own_server=server_address(base_url) is not None)
    try:
        plan = plan_judging([RunDir(root)], options, registry)
        judge_and_show(plan, Server(base_url), JobLimits(), max_unscored=MAX_UNSCORED, quiet=quiet)
    except MarlBenchError:
        server = f" --base-url {base_url}" if base_url else ""
        typer.echo(f"The run itself is complete. To go on: marl-bench judge {root} --judge {judge}{server}", err=True)
        raise


def judge_and_show(
    plan: "JudgingPlan", server: "Server", limits: "JobLimits", *, max_unscored: float, quiet: bool
) -> None:
    """Judges with a progress bar, prints the win rates, and fails if too few pairs have a score."""
    from marl_bench.display import counted
    from marl_bench.judge_runs import check_unscored, judge_runs, stored_answers
    from marl_bench.judging.transport import server_and_key

    questions = plan.questions()
    stored = stored_answers(plan, questions, ask_again=limits.ask_again)
    if stored < len(questions):
        try:
            server_and_key(server.base_url)
        except ConfigError:
            _show_oracle(plan)
            raise
    began = time.monotonic()
    with counted("judge", done=stored, total=len(questions), quiet=quiet) as show:
        judged = judge_runs(
            plan,
            server,
            limits,
            listener=lambda tally: show(tally.done, _progress(tally, time.monotonic() - began)),
            on_wait=_waits(quiet=quiet),
        )
    _show_result(judged)
    check_unscored(judged, max_unscored=max_unscored)


def show_judging_plan(plan: "JudgingPlan", limits: "JobLimits") -> None:
    """Prints what would be asked and what it would cost."""
    from marl_bench.judge_runs import stored_answers

    questions = plan.questions()
    stored = stored_answers(plan, questions, ask_again=limits.ask_again)
    read, written, cost = plan.estimate(questions)
    typer.echo(f"Judge {plan.judge.id}, judgement '{plan.name}', protocol {plan.options.protocol}")
    for arm, reference in dict.fromkeys((pair.arm, pair.reference) for pair in plan.pairs):
        count = sum((pair.arm, pair.reference) == (arm, reference) for pair in plan.pairs)
        typer.echo(f"  {plan.labels[arm]} against {plan.labels[reference]}: {count:,} pairs")
    typer.echo(f"Calls: {len(questions):,}, of which {stored:,} are answered already")
    typer.echo(f"Tokens, all calls together: about {read:,} to read and {written:,} to write")
    money = f"about ${cost:,.2f}" if cost is not None else "not known; give --price IN,OUT"
    typer.echo(f"Cost, all calls together: {money}")
    for note in plan.notes:
        typer.echo(note)


def _progress(tally: "Tally", seconds: float) -> str:
    unscored = sum(count for status, count in tally.statuses.items() if status not in ("ok", "tie"))
    parts = [
        f"{tally.answered / seconds if seconds > 0 else 0:.1f}/s",
        f"{tally.prompt_tokens:,} + {tally.completion_tokens:,} tokens",
        *([f"${tally.cost:,.2f}"] if tally.cost is not None else []),
        *([f"{unscored:,} unscored"] if unscored else []),
    ]
    return ", ".join(parts)


def _waits(*, quiet: bool) -> Callable[[float, str], None]:
    """Returns what prints a long wait, once for all questions that wait together."""
    until = 0.0

    def tell(seconds: float, why: str) -> None:
        nonlocal until
        now = time.monotonic()
        if not quiet and seconds >= WAIT_WORTH_A_LINE_SECONDS and now + seconds > until + 1:
            until = now + seconds
            print(f"judge: waiting {seconds:.0f} s ({why})", file=sys.stderr, flush=True)  # noqa: T201

    return tell


def _show_oracle(plan: "JudgingPlan") -> None:
    """Prints the oracle's win rates, which need no judge, where the task has an oracle."""
    comparison = _comparison(plan)
    if comparison is not None and comparison.win_rates:
        from marl_bench.reporting.terminal import oracle_table

        typer.echo("No judge was asked. The task's own oracle says:")
        _show_table(oracle_table(comparison))


def _comparison(plan: "JudgingPlan") -> "Comparison | None":
    from marl_bench.reporting.compare import compare
    from marl_bench.run_dir import RunDir, read_cells

    roots = dict.fromkeys(home.root for home in plan.homes.values())
    try:
        return compare([cell for root in roots for cell in read_cells(RunDir(root))], force=True)
    except MarlBenchError:
        return None  # the clear message about the key follows; this is an extra


def _show_result(judged: "Judged") -> None:
    from marl_bench.reporting.judged_tables import judged_terminal_table

    tally = judged.tally
    for rates in judged.rates:
        for warning in rates.warnings():
            typer.echo(f"Warning: {warning}", err=True)
        _show_table(judged_terminal_table(rates))
    money = f", ${tally.cost:,.2f}" if tally.cost is not None else ""
    typer.echo(
        f"{tally.answered:,} answers now ({judged.attempts:,} requests, {tally.prompt_tokens:,} + {tally.completion_tokens:,} tokens{money}), "
        f"{tally.stored:,} were stored."
    )
    for folder in judged.folders:
        typer.echo(f"Judgement: {folder}")
    if judged.report is not None:
        show_files(judged.report)


def _show_table(table: Any) -> None:
    from marl_bench.reporting.rendering import as_plain_text, as_rich_table

    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(as_rich_table(table))
    else:
        typer.echo(as_plain_text(table))
