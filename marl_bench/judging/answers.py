"""What a judge answered, read from the body of a chat completion. Pure."""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from marl_bench.judgements import Order, Status, Verdict, Winner
from marl_bench.judging.questions import TICKET_DIGITS

Choice = Literal["A", "B", "tie"]

_CHOICES: Mapping[str, Choice] = {"a": "A", "b": "B", "tie": "tie"}
_WINNERS: Mapping[tuple[Choice, Order], Winner] = {
    ("A", "arm_first"): "arm",
    ("B", "arm_first"): "reference",
    ("A", "reference_first"): "reference",
    ("B", "reference_first"): "arm",
}
_REFUSAL = re.compile(
    r"^\W*(i['’]?m sorry|sorry|i can(['’]t|not)\b|i am (unable|not able)\b|i['’]m (unable|not able)\b|as an ai\b)", re.I
)
_TICKET = re.compile(rf"[0-9a-f]{{{TICKET_DIGITS}}}")
_MAX_REASON = 2000


class NoAnswerError(ValueError):
    """The body is no answer of a judge: damaged, or no chat completion."""


class StrayAnswerError(NoAnswerError):
    """The answer carries the ticket of another question."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """One answer of a judge, in terms of the order in which it read.

    Attributes:
        status: How the call ended.
        choice: Which response it found better; None unless the status is `ok` or `tie`.
        reason: Its reason, or what is wrong.
        path: `structured` or `pattern`; empty where there is no verdict.
        model: Exact id of the model that answered.
        prompt_tokens: Tokens read, 0 where the server does not say.
        completion_tokens: Tokens written.
        batch: True if it came through the Batch API, at half the price.
    """

    status: Status
    choice: Choice | None = None
    reason: str = ""
    path: str = ""
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    batch: bool = False

    @property
    def is_real(self) -> bool:
        """True if the judge itself answered, so that asking again would be asking twice."""
        return self.status not in ("api_error", "budget")

    @property
    def is_scored(self) -> bool:
        """True if there is a verdict."""
        return self.choice is not None

    def verdict(self, order: Order) -> Verdict:
        """Returns the answer in terms of the pair."""
        winner: Winner | None = None
        if self.choice is not None:
            winner = "tie" if self.choice == "tie" else _WINNERS[(self.choice, order)]
        return Verdict(
            order, self.status, winner, self.reason, self.path, self.model, self.prompt_tokens, self.completion_tokens
        )


def read_answer(body: Any, *, ticket: str) -> Answer:
    """Returns the answer in the decoded body of a chat completion.

    Raises:
        NoAnswerError: The body is damaged; asking again is right.
        StrayAnswerError: It answers another question; asking again is right.
    """
    choice, message = _first_choice(body)
    usage = body.get("usage") if isinstance(body.get("usage"), dict) else {}
    known = Answer(
        status="parse_error",
        model=_shortened(str(body.get("model") or "")),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
    )
    content = message.get("content")
    text = content if isinstance(content, str) else ""
    finish = choice.get("finish_reason")
    if finish == "content_filter":
        return dataclasses.replace(known, status="content_filter", reason="the server's content filter withheld it")
    if message.get("refusal"):
        return dataclasses.replace(known, status="refusal", reason=_shortened(str(message["refusal"])))
    if finish == "length":
        return dataclasses.replace(known, status="truncated", reason="the answer was cut; raise --max-tokens")
    if not text.strip():
        return dataclasses.replace(known, reason="empty answer")
    return _structured(known, text, ticket) or _pattern(known, text, ticket)


def _first_choice(body: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    choices = body.get("choices") if isinstance(body, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise NoAnswerError("the body is no chat completion")
    return choice, message


def _structured(known: Answer, text: str, ticket: str) -> Answer | None:
    """Returns the answer of a text that is one JSON object, None if it is none."""
    data = _object_at(re.sub(r"^```(?:json)?\s*|\s*```$", "", text.strip()), 0, alone=True)
    if data is None:
        return None
    given = str(data.get("ticket", "")).strip().lower()
    if not _TICKET.fullmatch(given):
        return dataclasses.replace(known, reason=_shortened(f"no ticket in the answer: {text}"))
    _check_ticket(given, ticket)
    return _of_object(known, data, path="structured")


def _object_at(text: str, start: int, *, alone: bool) -> dict[str, Any] | None:
    """Returns the JSON object that begins there, and ends the text if it is to stand alone; None if there is none."""
    try:
        data, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) and (not alone or end == len(text)) else None


def _of_object(known: Answer, data: Mapping[str, Any], *, path: str) -> Answer:
    reason = _shortened(str(data.get("reason") or ""))
    return _labelled(dataclasses.replace(known, reason=reason), str(data.get("verdict")), path=path)


def _embedded(text: str, ticket: str) -> dict[str, Any] | None:
    """Returns the last JSON object with the question's own ticket among other words, such as a model's thoughts; None if there is none."""
    if ticket not in text.lower():
        return None
    for match in reversed(list(re.finditer(r"\{", text))):
        data = _object_at(text, match.start(), alone=False)
        if data is not None and str(data.get("ticket", "")).strip().lower() == ticket:
            return data
    return None


def _pattern(known: Answer, text: str, ticket: str) -> Answer:
    """Returns the answer by its last verdict, an object or a line; only one with the question's own ticket counts."""
    data = _embedded(text, ticket)
    if data is not None:
        return _of_object(known, data, path="pattern")
    found = list(re.finditer(rf"verdict\W{{0,8}}([0-9a-f]{{{TICKET_DIGITS}}})\W{{0,8}}(\w+)", text, re.I))
    if not found:
        if _REFUSAL.match(text):
            return dataclasses.replace(known, status="refusal", reason=_shortened(text))
        return dataclasses.replace(known, reason=_shortened(f"no verdict in the answer: {text}"))
    mine = [match for match in found if match.group(1).lower() == ticket]
    if not mine:
        _check_ticket(found[-1].group(1).lower(), ticket)
    reason = _shortened(text[: mine[-1].start()].strip())
    return _labelled(dataclasses.replace(known, reason=reason), mine[-1].group(2), path="pattern")


def _check_ticket(given: str, ticket: str) -> None:
    if given != ticket:
        raise StrayAnswerError(f"the answer is to another question: its ticket is '{given}', asked was '{ticket}'")


def _labelled(known: Answer, label: str, *, path: str) -> Answer:
    choice = _CHOICES.get(label.strip().lower())
    if choice is None:
        return dataclasses.replace(known, reason=_shortened(f"unknown label '{label[:40]}'; {known.reason}"))
    return dataclasses.replace(known, status="tie" if choice == "tie" else "ok", choice=choice, path=path)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _shortened(text: str) -> str:
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= _MAX_REASON else f"{text[: _MAX_REASON - 3]}..."
