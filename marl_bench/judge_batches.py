"""Judges through batch jobs: submits the questions that are not answered yet, and takes the answers over into the same cache. No torch."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from marl_bench.errors import RecordError
from marl_bench.judgements import JUDGEMENTS
from marl_bench.judging.answers import Answer, NoAnswerError, read_answer
from marl_bench.judging.batch_answers import BatchAnswers
from marl_bench.judging.batch_jobs import (
    MAX_BYTES,
    MAX_REQUESTS,
    BatchFolder,
    BatchJob,
    BatchRequest,
    collect,
    prepare,
    send,
)
from marl_bench.judging.batch_service import BatchService
from marl_bench.judging.cache import AnswerCache
from marl_bench.judging.plan import CACHE, JudgingPlan
from marl_bench.judging.questions import Dialect, Question
from marl_bench.judging.transport import OPENAI_URL, server_and_key

JOBS_FOLDER = "batch_jobs"
_RETRIES = 5

Listener = Callable[[int, str], None]


@dataclasses.dataclass(frozen=True)
class Todo:
    """What a submission would send.

    Attributes:
        questions: Questions that are neither answered nor on their way, by key.
        stored: Questions that are answered already.
        under_way: Questions that stand in batch jobs that are not collected yet.
    """

    questions: Mapping[str, Question]
    stored: int
    under_way: int


@dataclasses.dataclass(frozen=True)
class Collected:
    """Where the batch jobs of one judgement stand.

    Attributes:
        name: Name of the judgement.
        jobs: Its jobs, collected and open ones.
    """

    name: str
    jobs: Sequence[BatchJob]

    @property
    def waiting(self) -> int:
        """Jobs that were sent and have not ended."""
        return sum(bool(job.batch_id) and not job.collected for job in self.jobs)


def open_service(base_url: str | None) -> BatchService:
    """Returns the server's files and batches.

    Raises:
        ConfigError: There is neither a key nor another server.
    """
    from openai import OpenAI

    address, key = server_and_key(base_url)
    return BatchService(OpenAI(api_key=key, base_url=address or OPENAI_URL, max_retries=_RETRIES))


def jobs_folder(run: Path, name: str) -> BatchFolder:
    """Returns the batch jobs of a judgement; they stand in the first of its runs."""
    return BatchFolder(run / JOBS_FOLDER / name)


def what_to_submit(plan: JudgingPlan, folder: BatchFolder) -> Todo:
    """Returns which of a plan's questions a batch job would ask; makes no file."""
    questions = plan.questions()
    stored: Mapping[str, Answer] = {}
    if plan.cache.exists():
        with AnswerCache(plan.cache) as cache:
            stored = cache.get_all(questions)
    under_way = folder.open_requests()
    todo = {key: question for key, question in questions.items() if key not in stored and key not in under_way}
    return Todo(todo, len(stored), sum(key in under_way and key not in stored for key in questions))


def submit(
    plan: JudgingPlan,
    folder: BatchFolder,
    service: BatchService,
    *,
    listener: Listener,
    max_requests: int = MAX_REQUESTS,
    max_bytes: int = MAX_BYTES,
) -> list[BatchJob]:
    """Submits what is neither answered nor under way, and what an earlier call wrote down but did not send; returns all jobs.

    Raises:
        JudgeError: The server refuses; what was sent stays sent, and the same call goes on.
        RunFolderError: Another process works with these jobs.
    """
    with folder.held():
        todo = what_to_submit(plan, folder)
        requests = (
            BatchRequest(key, question.ticket, question.body(plan.judge, Dialect()))
            for key, question in todo.questions.items()
        )
        prepare(folder, requests, max_requests=max_requests, max_bytes=max_bytes)
        return send(folder, service, done=listener)


def collect_jobs(
    run: Path, service: BatchService, *, name: str | None, cache: Path | None, listener: Listener
) -> list[Collected]:
    """Looks once at the batch jobs of a run and stores what has been answered.

    Args:
        run: Folder of the experiment (the first, where a judgement is of several).
        service: The server.
        name: Name of the judgement; None means all.
        cache: File of the stored answers, or None for the run's own.
        listener: Is told how many requests have ended, and a few words.

    Raises:
        RecordError: There are no such jobs.
        JudgeError: The server does not answer.
    """
    names = [name] if name else sorted(path.name for path in (run / JOBS_FOLDER).glob("*") if path.is_dir())
    found = []
    with AnswerCache(cache or run / JUDGEMENTS / CACHE) as answers:
        for one in names:
            folder = jobs_folder(run, one)
            if not folder.jobs():
                continue
            with folder.held():
                take = functools.partial(_take, folder, answers)
                found.append(Collected(one, collect(folder, service, take=take, done=listener)))
    if not found:
        what = f"of the judgement '{name}'" if name else "there"
        raise RecordError(f"{run / JOBS_FOLDER}: no batch jobs {what}; submit some with marl-bench judge submit.")
    return found


def wait_for_jobs(look: Callable[[], list[Collected]], *, every_seconds: float) -> list[Collected]:
    """Looks again and again until every job that was sent has ended."""
    found = look()
    while any(one.waiting for one in found):
        time.sleep(every_seconds)
        found = look()
    return found


def _take(folder: BatchFolder, cache: AnswerCache, job: BatchJob, answers: BatchAnswers) -> int:
    """Stores every answer as if it had been asked for alone; returns how many are no answers to their questions."""
    tickets = folder.tickets(job)
    unusable = 0
    for key, body in answers.bodies.items():
        try:
            answer = read_answer(body, ticket=tickets[key])
        except NoAnswerError:
            unusable += 1
            continue
        cache.put(key, dataclasses.replace(answer, batch=True))
    return unusable
