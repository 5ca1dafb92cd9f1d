"""Batch jobs of a judge: written down before they are sent, sent once, and collected however they end.

Layout: `<folder>/jobs.json` (one `BatchJob` each), and of each job `<key>.requests.jsonl` (what is sent), `<key>.tickets.json` (request id to
the ticket that its answer must carry), and after the end `<key>.output.jsonl` and `<key>.errors.jsonl` (what came back).
"""

import dataclasses
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from marl_bench.errors import RecordError, RunFolderError
from marl_bench.judging.batch_answers import BatchAnswers, read_answers
from marl_bench.judging.batch_service import ENDED, LOOKS, BatchService, RemoteBatch
from marl_bench.run_dir import file_written_atomically, write_json_atomically

MAX_REQUESTS = 50_000
"""Requests that the API takes in one batch."""

MAX_BYTES = 200_000_000
"""Bytes that the API takes in one file."""

JOBS = "jobs.json"
_WAITING = "prepared"


@dataclasses.dataclass(frozen=True)
class BatchJob:
    """One batch, from the moment it is planned.

    Attributes:
        key: By which the server's file and batch are found again if their ids were lost.
        requests: Number of requests.
        file_id: The server's id of the file of requests; empty until it is known.
        batch_id: The server's id of the batch; empty until it is known.
        status: `prepared`, then the server's word for the batch.
        collected: True when everything that will ever come was taken over.
        account: After the end, how many requests ended how.
        problem: What the server says is wrong with the batch; may be empty.
    """

    key: str
    requests: int
    file_id: str = ""
    batch_id: str = ""
    status: str = _WAITING
    collected: bool = False
    account: Mapping[str, int] = dataclasses.field(default_factory=dict)
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class BatchRequest:
    """One question in a batch.

    Attributes:
        id: Key of the question; the API's `custom_id`.
        ticket: What its answer must carry.
        body: Body of the chat completion.
    """

    id: str
    ticket: str
    body: Mapping[str, Any]

    def line(self) -> bytes:
        """Returns the line of the file of requests."""
        row = {"custom_id": self.id, "method": "POST", "url": "/v1/chat/completions", "body": self.body}
        return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"


class BatchFolder:
    """The jobs of one judgement on disk; one process at a time works with them."""

    def __init__(self, folder: Path) -> None:
        """Opens the folder; it is made when something is written."""
        self.folder = folder

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the folder for this process.

        Raises:
            RunFolderError: Another process holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / ".lock", timeout=0):
                yield
        except Timeout as error:
            raise RunFolderError(
                f"{self.folder}: another marl-bench submits or collects there; wait for it."
            ) from error

    def jobs(self) -> list[BatchJob]:
        """Returns the jobs in the order of their making.

        Raises:
            RecordError: The file is damaged.
        """
        path = self.folder / JOBS
        try:
            return [BatchJob(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            raise RecordError(
                f"{path}: no list of batch jobs ({error}); put the file back, the batches are named in it."
            ) from error

    def keep(self, job: BatchJob) -> None:
        """Writes a job down, in the place of its earlier state."""
        jobs = {one.key: one for one in self.jobs()} | {job.key: job}
        write_json_atomically(self.folder / JOBS, [dataclasses.asdict(one) for one in jobs.values()])

    def path(self, key: str, what: str) -> Path:
        """Returns the path of a job's `requests`, `output` or `errors`."""
        return self.folder / f"{key}.{what}.jsonl"

    def keep_tickets(self, key: str, tickets: Mapping[str, str]) -> None:
        """Writes down which ticket the answer to each request must carry."""
        write_json_atomically(self.folder / f"{key}.tickets.json", dict(tickets))

    def tickets(self, job: BatchJob) -> dict[str, str]:
        """Returns request id to ticket, of all requests of a job.

        Raises:
            RecordError: The file is damaged.
        """
        path = self.folder / f"{job.key}.tickets.json"
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise RecordError(
                f"{path}: cannot be read ({error}); without it the batch's answers cannot be checked."
            ) from error

    def open_requests(self) -> set[str]:
        """Returns the ids of requests that may still be answered, so that nobody should ask them elsewhere."""
        return {id_ for job in self.jobs() if not job.collected for id_ in self.tickets(job)}


def prepare(
    folder: BatchFolder,
    requests: Iterable[BatchRequest],
    *,
    max_requests: int = MAX_REQUESTS,
    max_bytes: int = MAX_BYTES,
) -> list[BatchJob]:
    """Writes down jobs for the requests that stand in no open job, and returns them; nothing is sent.

    Args:
        folder: Where the jobs stand.
        requests: The requests.
        max_requests: Largest number of requests in a job.
        max_bytes: Largest size of a job's file.
    """
    known = folder.open_requests()
    lines = ((request, request.line()) for request in requests if request.id not in known)
    jobs = []
    upcoming = next(lines, None)
    while upcoming is not None:
        key, size = uuid.uuid4().hex[:16], 0
        tickets: dict[str, str] = {}
        with file_written_atomically(folder.path(key, "requests")) as file:
            while upcoming is not None and len(tickets) < max_requests:
                request, line = upcoming
                if tickets and size + len(line) > max_bytes:
                    break
                file.write(line)
                size += len(line)
                tickets[request.id] = request.ticket
                upcoming = next(lines, None)
        folder.keep_tickets(key, tickets)
        jobs.append(BatchJob(key, requests=len(tickets)))
        folder.keep(jobs[-1])  # last: a job in the list has all its files
    return jobs


def send(folder: BatchFolder, service: BatchService, *, done: Callable[[int, str], None]) -> list[BatchJob]:
    """Sends every job that the server does not have yet, and returns all jobs; a job is never created twice.

    Raises:
        JudgeError: The server refuses a job; those before it are sent, and the same call goes on from there.
    """
    waiting = [job for job in folder.jobs() if not job.batch_id]
    for number, job in enumerate(waiting, start=1):
        # An earlier process may have been killed between the server's deed and our note of it.
        found = service.find_batch(job.key, looks=LOOKS if job.file_id else 1)
        if found is None:
            name = f"marl-bench-{job.key}.jsonl"
            file_id = (
                job.file_id or service.find_file(name) or service.upload(folder.path(job.key, "requests"), name=name)
            )
            job = dataclasses.replace(job, file_id=file_id)
            folder.keep(job)
            found = service.create(file_id, key=job.key)
        folder.keep(dataclasses.replace(job, batch_id=found.id, status=found.status))
        done(number, f"batch {found.id} of {job.requests} requests")
    return folder.jobs()


def collect(
    folder: BatchFolder,
    service: BatchService,
    *,
    take: Callable[[BatchJob, BatchAnswers], int],
    done: Callable[[int, str], None],
) -> list[BatchJob]:
    """Looks at every open job that was sent, takes over what has ended, and returns all jobs.

    Args:
        folder: Where the jobs stand.
        service: The server.
        take: Stores the answers of a job and returns how many are of no use; called again with the same after a crash.
        done: Is told how many requests have ended, and a few words.

    Raises:
        JudgeError: The server does not answer; what was taken over is kept.
    """
    ended = sum(job.requests for job in folder.jobs() if job.collected)
    for job in folder.jobs():
        if job.collected or not job.batch_id:
            continue
        remote = service.retrieve(job.batch_id)
        if remote.status in ENDED:
            job = _collected(folder, service, job, remote, take)
            ended += job.requests
        else:
            job = dataclasses.replace(job, status=remote.status)
        folder.keep(job)
        inside = 0 if remote.status in ENDED else remote.done
        done(ended + inside, f"batch {job.batch_id} {job.status}")
    return folder.jobs()


def _collected(
    folder: BatchFolder,
    service: BatchService,
    job: BatchJob,
    remote: RemoteBatch,
    take: Callable[[BatchJob, BatchAnswers], int],
) -> BatchJob:
    files = []
    for what, file_id in (("output", remote.output_file), ("errors", remote.error_file)):
        if file_id:
            path = folder.path(job.key, what)
            if not path.exists():
                service.download(file_id, path)
            files.append(path)
    answers = read_answers(files, folder.tickets(job))
    unusable = take(job, answers)
    return dataclasses.replace(
        job, status=remote.status, collected=True, account=_account(answers, unusable=unusable), problem=remote.problem
    )


def _account(answers: BatchAnswers, *, unusable: int) -> dict[str, int]:
    return {
        "answered": len(answers.bodies) - unusable,
        "unusable": unusable,
        "errors": len(answers.errors),
        "missing": len(answers.missing),
        "conflicting": len(answers.conflicting),
        "repeated": answers.repeated,
        "unknown": answers.unknown,
        "damaged": answers.damaged,
    }
