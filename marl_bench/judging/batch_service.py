"""The part of the OpenAI API that batch jobs need: files and batches."""

import dataclasses
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marl_bench.errors import JudgeError

if TYPE_CHECKING:
    import openai

KEY = "marl_bench"
"""Name of the metadata entry by which a batch is found again."""

_NEWEST = 2000  # how far back a batch or a file that nobody remembers is looked for
_LOOKS = 3


@dataclasses.dataclass(frozen=True)
class RemoteBatch:
    """A batch as the server describes it.

    Attributes:
        id: Its id.
        status: The server's word: `validating`, `in_progress`, `finalizing`, `completed`, `failed`, `expired`, `cancelling`, `cancelled`.
        completed: Requests that were answered.
        failed: Requests that ended in an error.
        total: All requests.
        output_file: Id of the file with answers, or empty.
        error_file: Id of the file with errors, or empty.
        problem: What the server says is wrong with the batch, or empty.
    """

    id: str
    status: str
    completed: int = 0
    failed: int = 0
    total: int = 0
    output_file: str = ""
    error_file: str = ""
    problem: str = ""

    @property
    def ended(self) -> bool:
        """True if nothing more will come of it."""
        return self.status in ("completed", "failed", "expired", "cancelled")


class BatchService:
    """Uploads, creates and downloads; what must happen once only is not repeated when an answer is lost, but looked for first."""

    def __init__(self, client: "openai.OpenAI", *, pause_seconds: float = 2.0) -> None:
        """Works through `client`, whose own retries are used for what may be repeated.

        Args:
            client: Client with key and address.
            pause_seconds: Time between two looks for a batch whose creation was not answered.
        """
        self._client, self._pause = client, pause_seconds

    def upload(self, path: Path, *, name: str) -> str:
        """Uploads a file of requests and returns its id.

        Raises:
            JudgeError: The server refuses it.
        """
        with self._explained("files"), path.open("rb") as file:
            # A file that was uploaded twice is paid by nobody and run by nobody, so the client's retries do no harm.
            return self._client.files.create(file=(name, file, "application/jsonl"), purpose="batch").id

    def find_file(self, name: str) -> str | None:
        """Returns the id of the newest uploaded file of that name."""
        with self._explained("files"):
            files = self._client.files.list(purpose="batch", order="desc", limit=100)
            return next((file.id for file in itertools.islice(files, _NEWEST) if file.filename == name), None)

    def create(self, file_id: str, *, key: str) -> RemoteBatch:
        """Creates the batch, once: after a lost answer it is looked for before it is asked for again.

        Raises:
            JudgeError: The server refuses it, or does not say whether there is one now.
        """
        import openai

        client = self._client.with_options(max_retries=0)
        for _ in range(_LOOKS):
            try:
                with self._explained("batches"):
                    created = client.batches.create(
                        input_file_id=file_id,
                        endpoint="/v1/chat/completions",
                        completion_window="24h",
                        metadata={KEY: key},
                    )
                return _remote(created)
            except JudgeError as error:
                if not _lost(error.__cause__, openai):
                    raise
                lost = error
            for _ in range(_LOOKS):
                time.sleep(self._pause)
                found = self.find_batch(key)
                if found:
                    return found
        raise lost

    def find_batch(self, key: str) -> RemoteBatch | None:
        """Returns the batch that was created with that key, if there is one."""
        with self._explained("batches"):
            batches = itertools.islice(self._client.batches.list(limit=100), _NEWEST)
            return next((_remote(batch) for batch in batches if (batch.metadata or {}).get(KEY) == key), None)

    def retrieve(self, batch_id: str) -> RemoteBatch:
        """Returns the state of a batch.

        Raises:
            JudgeError: The server does not say.
        """
        with self._explained(f"batches/{batch_id}"):
            return _remote(self._client.batches.retrieve(batch_id))

    def download(self, file_id: str, path: Path) -> None:
        """Writes a file of answers or errors to `path`, which is there whole or not at all.

        Raises:
            JudgeError: The server does not give it.
        """
        part = path.with_name(f".{path.name}.part")
        with (
            self._explained(f"files/{file_id}/content"),
            self._client.files.with_streaming_response.content(file_id) as response,
        ):
            response.stream_to_file(part)
        part.replace(path)

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        import openai

        try:
            yield
        except openai.OpenAIError as error:
            raise JudgeError(f"{self._client.base_url}{what}: {_sentence(error)}") from error


def _lost(error: BaseException | None, openai: Any) -> bool:
    """Returns True if the server may have done what it was asked for without our hearing of it."""
    return isinstance(error, openai.APIConnectionError | openai.InternalServerError | openai.APIResponseValidationError)


def _sentence(error: Exception) -> str:
    status = getattr(error, "status_code", None)
    hints = {
        401: "the key is not accepted; set OPENAI_API_KEY to a valid one",
        404: "not found; does this server have the Batch API, and is it the account that submitted?",
        429: "too many requests, or the quota is used up; try again later",
    }
    text = " ".join(str(error).split())[:300]
    return f"{hints.get(status, 'the request failed')} ({text})." if status else f"no answer ({text}); try again."


def _remote(batch: Any) -> RemoteBatch:
    counts = batch.request_counts
    problems = [f"{one.message or one.code}" for one in (batch.errors.data or [])] if batch.errors else []
    return RemoteBatch(
        id=batch.id,
        status=batch.status,
        completed=counts.completed if counts else 0,
        failed=counts.failed if counts else 0,
        total=counts.total if counts else 0,
        output_file=batch.output_file_id or "",
        error_file=batch.error_file_id or "",
        problem="; ".join(problems[:3]),
    )
