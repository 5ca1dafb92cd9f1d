"""How a call to a server can fail, and what is to be done then. Pure."""

import dataclasses
import re
from typing import Literal

from marl_bench.judging.questions import Dialect

Kind = Literal["busy", "failed", "stray", "refused", "filtered", "dialect", "terminal"]
"""`busy`: wait and ask again, as long as patience lasts. `failed`, `stray`: ask again a few times. `refused`, `filtered`: this question has no
answer. `dialect`: ask in other words. `terminal`: no question will be answered."""

_NO_MONEY = ("insufficient_quota", "billing", "exceeded your current quota", "payment", "credit balance")
_TOO_LONG = (
    "context_length_exceeded",
    "maximum context length",
    "too many tokens",
    "context window",
    "prompt is too long",
)
_KEY = re.compile(r"\b(sk|pk|key)-[\w*.-]{4,}")


class CallError(Exception):
    """One attempt that brought no answer.

    Attributes:
        kind: What is to be done.
        retry_after: Seconds that the server asks to wait, or None.
        status: HTTP status, or None where there was no response.
    """

    def __init__(self, text: str, kind: Kind, *, retry_after: float | None = None, status: int | None = None) -> None:
        super().__init__(text)
        self.kind, self.retry_after, self.status = kind, retry_after, status


@dataclasses.dataclass(frozen=True)
class Refusal:
    """What a server said with a status of 400 and more.

    Attributes:
        status: HTTP status.
        text: Its message and code, without secrets.
        retry_after: Seconds that it asks to wait, or None.
    """

    status: int
    text: str
    retry_after: float | None = None

    def error(self) -> CallError:
        """Returns what to do about it."""
        kind = _kind(self.status, self.text.lower(), has_retry_after=self.retry_after is not None)
        return CallError(f"status {self.status}: {self.text}", kind, retry_after=self.retry_after, status=self.status)


_QUOTA = "the account's quota is used up: add credit or raise its limit"
_ADVICE = {
    400: "the server does not take the request: check --judge and --max-tokens",
    401: "the key is not accepted: set OPENAI_API_KEY to a valid one",
    403: "the key may not do this: check what it is allowed to use",
    402: _QUOTA,
    404: "no such model or path there: check --judge and --base-url, which usually ends in /v1",
    429: _QUOTA,
}


def advice(error: CallError) -> str:
    """Returns what a user can do about an error that stops everything."""
    if error.kind == "busy":
        return "the server wants to be left alone for a while: the same command goes on"
    return _ADVICE.get(error.status or 0, "the server does not take such requests: check --judge and --base-url")


def _kind(status: int, text: str, *, has_retry_after: bool) -> Kind:
    if status == 429:
        return "terminal" if any(word in text for word in _NO_MONEY) else "busy"
    if status == 503 and has_retry_after:
        return "busy"
    if status in (408, 409, 425) or status >= 500:
        return "failed"
    if status == 413 or any(word in text for word in _TOO_LONG):
        return "refused"
    if "content_filter" in text or "content management policy" in text:
        return "filtered"
    return "dialect" if status in (400, 422) else "terminal"


def adapted(dialect: Dialect, text: str) -> Dialect | None:
    """Returns the dialect without what the server's message of a bad request names, or None if it names nothing that can be left out."""
    lowered = text.lower()
    if dialect.structured and any(
        word in lowered for word in ("response_format", "json_schema", "guided", "structured")
    ):
        return dataclasses.replace(dialect, structured=False)
    if (
        "max_completion_tokens" in lowered
        and dialect.limit_name == "max_completion_tokens"
        and "max_tokens' is" not in lowered
    ):
        return dataclasses.replace(dialect, limit_name="max_tokens")
    if dialect.temperature and "temperature" in lowered:
        return dataclasses.replace(dialect, temperature=False)
    return None


def without_secrets(text: str, key: str) -> str:
    """Returns the text without the key, whole or as servers abbreviate it, on one line, in letters that can be written to a file."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    hidden = text.replace(key, "***") if len(key) > 3 else text
    return " ".join(_KEY.sub("***", hidden).split())[:400]
