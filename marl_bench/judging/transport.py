"""One attempt at a question: the `openai` package behind a small contract. Nothing here waits or tries again."""

import asyncio
import email.utils
import json
import math
import os
import re
import time
import urllib.parse
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from marl_bench.errors import ConfigError, shown
from marl_bench.judging.failures import CallError, Refusal, without_secrets

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OPENAI_HOST, OPENAI_URL = "api.openai.com", "https://api.openai.com/v1"
KEY_VARIABLE, URL_VARIABLE = "OPENAI_API_KEY", "OPENAI_BASE_URL"


class Transport(Protocol):
    """Sends one request body and returns the decoded body of the response."""

    async def send(self, body: Mapping[str, Any]) -> Any:
        """Returns the response's decoded JSON.

        Raises:
            CallError: There is none.
        """
        ...


class OpenAITransport:
    """Chat completions of the OpenAI API, or of any server that speaks it."""

    def __init__(self, *, base_url: str | None, timeout_seconds: float) -> None:
        """Opens nothing yet: whoever has all answers stored needs no key."""
        self._base_url, self._timeout = base_url, timeout_seconds
        self._key = ""
        self._client: AsyncOpenAI | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes all connections."""
        if self._client is not None:
            await self._client.close()

    async def send(self, body: Mapping[str, Any]) -> Any:
        """Returns the response's decoded JSON.

        Raises:
            CallError: There is none.
            ConfigError: There is neither a key nor another server; the key comes from the environment and is never shown.
        """
        import httpx2
        import openai

        client = self._client or self._opened()
        try:
            # The package's limit is for each read; a server that drips would never reach it.
            async with asyncio.timeout(self._timeout):
                response = await client.post("/chat/completions", body=dict(body), cast_to=httpx2.Response)
        except (TimeoutError, openai.APITimeoutError) as error:
            raise CallError(f"no answer within {self._timeout:g} s", "failed") from error
        except openai.APIStatusError as error:
            said = without_secrets(_message(error), self._key)
            wait = retry_after_seconds(error.response.headers, now=time.time())
            raise Refusal(error.status_code, said, wait).error() from None  # its text may show a part of the key
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            text = without_secrets(f"{type(cause).__name__}: {cause}", self._key)
            raise CallError(f"connection failed ({text})", "failed") from error
        return self._decoded(response.content)

    def _decoded(self, content: bytes) -> Any:
        try:
            body = json.loads(content)
        except (ValueError, RecursionError) as error:
            said = without_secrets(str(error), self._key)
            raise CallError(f"the body is no JSON ({said})", "failed") from error
        if (
            isinstance(body, dict) and body.get("error") and not body.get("choices")
        ):  # some proxies say so with status 200
            said = without_secrets(str(body["error"]), self._key)
            raise CallError(f"the body is no chat completion: {said}", "failed")
        return body

    def _opened(self) -> "AsyncOpenAI":
        from openai import AsyncOpenAI

        address, self._key = server_and_key(self._base_url)
        # The package's own retries give up at once when a server asks to wait for more than two minutes.
        self._client = AsyncOpenAI(
            api_key=self._key, base_url=address or OPENAI_URL, max_retries=0, timeout=self._timeout
        )
        return self._client


def server_and_key(base_url: str | None) -> tuple[str | None, str]:
    """Returns the address of the server, None for the OpenAI API, and the key.

    Raises:
        ConfigError: There is neither a key nor another server, or the address or the key is none.
    """
    address = server_address(base_url)
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not re.fullmatch(r"[!-~]*", key):  # the error of the client that would send it shows it
        raise ConfigError(
            f"{KEY_VARIABLE} is no key: it holds a space, a line break or a letter outside ASCII; set it to the key alone."
        )
    if not key and address is None:
        raise ConfigError(
            f"{KEY_VARIABLE} is not set. Set it to a key of the OpenAI API, or give --base-url with the address of a server "
            "of your own, for example one that vLLM runs."
        )
    return address, key or "none"


def server_address(base_url: str | None) -> str | None:
    """Returns the address of the user's own server, given or from the environment; None means the OpenAI API.

    Raises:
        ConfigError: It is no address.
    """
    address = base_url or os.environ.get(URL_VARIABLE) or None
    if address is None:
        return None
    try:
        parts = urllib.parse.urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none, or half a bracket
        usable = False
    if not usable or re.search(r"\s", address):
        where = "--base-url" if base_url else URL_VARIABLE
        raise ConfigError(f"{where} {shown(address)}: give an address such as http://127.0.0.1:8000/v1.")
    return None if parts.hostname == OPENAI_HOST else address


def retry_after_seconds(headers: Mapping[str, str], *, now: float) -> float | None:
    """Returns the seconds that `Retry-After` or `Retry-After-Ms` asks to wait, as a number or a date; None without one."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * scale
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        date = email.utils.parsedate_tz(headers.get("retry-after", ""))
        return max(0.0, email.utils.mktime_tz(date) - now) if date else None
    except (ValueError, OverflowError):  # such as a year of five digits
        return None


def _message(error: Any) -> str:
    """Returns what the server said and its code."""
    body = error.body if isinstance(error.body, dict) else {}
    said = str(body.get("message") or error.message)
    named = [str(body[name]) for name in ("code", "param", "type") if body.get(name)]
    return f"{said} [{', '.join(named)}]" if named else said
