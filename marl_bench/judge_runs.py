"""Judges the pairs of finished runs and makes their reports again; the same call again goes on from the stored answers. No torch."""

import asyncio
import contextlib
import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from marl_bench.errors import ConfigError, Interrupted, RunFolderError, UnscoredError
from marl_bench.judgements import JUDGEMENTS
from marl_bench.judging.answers import Answer
from marl_bench.judging.asking import Asker, Clock, Patience
from marl_bench.judging.cache import AnswerCache
from marl_bench.judging.job import JobLimits, Tally, ask_all
from marl_bench.judging.plan import JudgingPlan
from marl_bench.judging.prompts import prompt_name
from marl_bench.judging.questions import Question
from marl_bench.judging.storing import judged_pairs, unscored_statuses, write_judgements
from marl_bench.judging.transport import OpenAITransport
from marl_bench.reporting.judged import JudgedRates, read_judged
from marl_bench.reporting.report import ReportFiles, write_report
from marl_bench.run_dir import RunDir


@dataclasses.dataclass(frozen=True)
class Server:
    """Where and how patiently a judge is asked.

    Attributes:
        base_url: Address of the server, or None for the OpenAI API or what the environment says.
        timeout_seconds: Limit of one attempt.
        patience: How long a question is tried.
        clock: Time, or None for the machine's own.
    """

    base_url: str | None = None
    timeout_seconds: float = 120.0
    patience: Patience = dataclasses.field(default_factory=Patience)
    clock: Clock | None = None


@dataclasses.dataclass(frozen=True)
class Judged:
    """What came of it.

    Attributes:
        folders: The judgement's folder in each experiment.
        rates: What came of it; more than one if an experiment holds a judgement of this name by another judge.
        report: The report made again, or None for several runs.
        tally: Calls, tokens and money of this call of the program.
        attempts: Requests sent.
        unscored_share: Share of the pairs without a score.
        statuses: What the verdicts of unscored pairs ended in.
    """

    folders: Sequence[Path]
    rates: Sequence[JudgedRates]
    report: ReportFiles | None
    tally: Tally
    attempts: int
    unscored_share: float
    statuses: dict[str, int]


def stored_answers(plan: JudgingPlan, questions: dict[str, Question], *, ask_again: bool) -> int:
    """Returns how many of the questions are answered already; makes no file."""
    if not plan.cache.exists():
        return 0
    with AnswerCache(plan.cache) as cache:
        return sum(answer.is_scored or not ask_again for answer in cache.get_all(questions).values())


def judge_runs(
    plan: JudgingPlan,
    server: Server,
    limits: JobLimits,
    *,
    listener: Callable[[Tally], None] = lambda _: None,
    on_wait: Callable[[float, str], None] = lambda _seconds, _why: None,
) -> Judged:
    """Asks what is not answered yet, writes the judgement, and makes the report of a single run again.

    Raises:
        JudgeError: The judge cannot be used (any more); what it answered is stored.
        ConfigError: There is neither a key nor a server, or a limit of the cost without a price.
        RunFolderError: Another process makes the same judgement, or one of the same judge about the same run.
        Interrupted: Ctrl-C; what was answered is stored.
    """
    if limits.max_cost is not None and plan.price is None:
        raise ConfigError(f"--max-cost: no price of {plan.judge.model} is known; give --price IN,OUT.")
    tally = Tally(0)

    def listen(now: Tally) -> None:
        nonlocal tally
        tally = now
        listener(now)

    async def ask() -> tuple[dict[str, Answer], int]:
        transport = OpenAITransport(base_url=server.base_url, timeout_seconds=server.timeout_seconds)
        async with transport:
            asker = Asker(plan.judge, transport, patience=server.patience, clock=server.clock, on_wait=on_wait)
            answers = await ask_all(plan.questions(), asker, cache, limits=limits, price=plan.price, listener=listen)
            return answers, asker.attempts

    roots = list(dict.fromkeys(home.root for home in plan.homes.values()))
    with _locked(plan, roots), AnswerCache(plan.cache) as cache:
        try:
            answers, attempts = asyncio.run(ask())
        except KeyboardInterrupt:
            raise Interrupted(
                f"judge: interrupted; {tally.done:,} of {tally.total:,} questions are done, the same command goes on."
            ) from None
        folders = write_judgements(plan, answers)
    pairs = judged_pairs(plan, answers)
    unscored = sum(pair.score is None for pair in pairs) / len(pairs)
    report = write_report([RunDir(roots[0])], out=roots[0], force=True) if len(roots) == 1 else None
    rates = read_judged(roots, labels=plan.labels, names=[plan.name])
    return Judged(folders, rates, report, tally, attempts, unscored, dict(unscored_statuses(pairs)))


def check_unscored(judged: Judged, *, max_unscored: float) -> None:
    """Checks that few enough pairs are without a score.

    Raises:
        UnscoredError: There are more; what was answered is kept.
    """
    if judged.unscored_share > max_unscored:
        causes = ", ".join(f"{count:,} {status}" for status, count in sorted(judged.statuses.items()))
        raise UnscoredError(
            f"judge: {100 * judged.unscored_share:.1f} % of the pairs have no score ({causes} verdicts), --max-unscored allows "
            f"{100 * max_unscored:g} %. All answers are kept; the same command asks again what failed, --ask-again also what had no verdict."
        )


@contextlib.contextmanager
def _locked(plan: JudgingPlan, roots: Sequence[Path]) -> Iterator[None]:
    """Holds the judgement for this process, and its kind of question, so that none is asked twice at a time under two names."""
    kind = [plan.judge.id, plan.judge.parameters(), [prompt_name(prompt) for prompt in plan.prompts]]
    digest = hashlib.sha256(json.dumps(kind, sort_keys=True).encode()).hexdigest()[:12]
    busy = {
        f"asking-{digest}": "asking this judge about this run; wait for it, the answers are shared",
        plan.name: "making a judgement of this name; wait for it, or give another --name",
    }
    with contextlib.ExitStack() as stack:
        for root, (name, what) in itertools.product(sorted(roots), busy.items()):
            path = root / JUDGEMENTS / f".{name}.lock"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(FileLock(path, timeout=0))
            except Timeout as error:
                raise RunFolderError(f"{path.parent / plan.name}: another marl-bench is {what}.") from error
            except OSError as error:
                raise RunFolderError(f"{path.parent}: cannot be written ({error.strerror or error}).") from error
        yield
