"""The part of the OpenAI API that batch jobs need: files and batches."""

import dataclasses
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marl_bench.errors import JudgeError
from marl_bench.judging.failures import Refusal, advice, without_secrets

if TYPE_CHECKING:
    import openai

KEY = "marl_bench"
"""Name of the metadata entry by which a batch is found again."""

ENDED = ("completed", "failed", "expired", "cancelled")
"""The server's words for batches of which nothing more will come."""

_NEWEST = 2000  # how far back a batch or a file that nobody remembers is looked for
LOOKS = 3
"""How often a batch is looked for that may just have been created."""


class LostAnswerError(JudgeError):
    """The server may or may not have done what it was asked for."""


@dataclasses.dataclass(frozen=True)
class RemoteBatch:
    """A batch as the server describes it.

    Attributes:
        id: Its id.
        status: The server's word: `validating`, `in_progress`, `finalizing`, `cancelling` or one of `ENDED`.
        done: Requests that have ended, well or badly.
        output_file: Id of the file with answers, or empty.
        error_file: Id of the file with errors, or empty.
        problem: What the server says is wrong with the batch, or empty.
    """

    id: str
    status: str
    done: int = 0
    output_file: str = ""
    error_file: str = ""
    problem: str = ""


class BatchService:
    """Uploads, creates and downloads; what must happen once only is looked for before it is asked for again."""

    def __init__(self, client: "openai.OpenAI", *, pause_seconds: float = 2.0) -> None:
        """Works through `client`, whose own retries serve for what may be repeated.

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
            # A file that is uploaded twice costs nothing and runs nothing, so the client's retries do no harm.
            return str(self._client.files.create(file=(name, file, "application/jsonl"), purpose="batch").id)

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
        for _ in range(LOOKS):
            try:
                return self._create(file_id, key=key)
            except LostAnswerError as error:
                lost = error
            found = self.find_batch(key, looks=LOOKS)
            if found:
                return found
        raise lost

    def find_batch(self, key: str, *, looks: int = 1) -> RemoteBatch | None:
        """Returns the batch that was created with that key, if there is one.

        Args:
            key: As given to `create`.
            looks: How often to look, with pauses: a list may lag behind what was just created.
        """
        for look in range(looks):
            if look:
                time.sleep(self._pause)
            found = self._listed(key)
            if found:
                return found
        return None

    def _listed(self, key: str) -> RemoteBatch | None:
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
        streamed = self._client.files.with_streaming_response
        with self._explained(f"files/{file_id}/content"), streamed.content(file_id) as response:
            response.stream_to_file(part)
        part.replace(path)

    def _create(self, file_id: str, *, key: str) -> RemoteBatch:
        with self._explained("batches"):
            return _remote(
                self._client.with_options(max_retries=0).batches.create(
                    input_file_id=file_id,
                    endpoint="/v1/chat/completions",
                    completion_window="24h",
                    metadata={KEY: key},
                )
            )

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turns the client's errors into ours, in which no part of the key stands."""
        import httpx2
        import openai

        where, key = f"{self._client.base_url}{what}", self._client.api_key
        try:
            yield
        except openai.APIStatusError as error:
            refusal = Refusal(error.status_code, without_secrets(str(error.message), key)).error()
            kind = LostAnswerError if error.status_code >= 500 else JudgeError
            raise kind(f"{where}: {refusal}; {advice(refusal)}.") from None
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            said = without_secrets(str(error.__cause__ or error), key)
            raise LostAnswerError(f"{where}: connection failed ({said}); the same command goes on from here.") from None
        except (AttributeError, TypeError, ValueError) as error:
            raise LostAnswerError(f"{where}: the answer cannot be read ({error}); is --base-url right?") from error


def _remote(batch: Any) -> RemoteBatch:
    if not (isinstance(batch.id, str) and isinstance(batch.status, str)):
        raise TypeError(f"no batch: {str(batch)[:100]}")
    counts = batch.request_counts
    problems = [str(one.message or one.code) for one in (batch.errors.data or [])] if batch.errors else []
    return RemoteBatch(
        id=batch.id,
        status=batch.status,
        done=(counts.completed or 0) + (counts.failed or 0) if counts else 0,
        output_file=batch.output_file_id or "",
        error_file=batch.error_file_id or "",
        problem="; ".join(problems[:3]),
    )
