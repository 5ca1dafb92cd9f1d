"""One question to a judge: two responses in an order, and the request that asks about them. Pure.

No text of a pair can be taken for a part of the question: every text stands between marks that carry a *ticket*, a number made from the texts
themselves that none of them contains. The judge repeats the ticket in its answer, so that an answer to another question is seen to be one.
"""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from marl_bench.interfaces import JudgePrompt
from marl_bench.judging.prompts import PRESETS
from marl_bench.yaml_text import parse_yaml

LimitName = Literal["max_completion_tokens", "max_tokens"]

TICKET_DIGITS = 12
_PLACEHOLDER = re.compile(r"\{\{(prompt|first|second)\}\}")
_NAMES = {"prompt": "request", "first": "response A", "second": "response B"}

RESPONSE_FORMAT: Mapping[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "strict": True,
        # The same for every question: servers compile a schema once. The reason comes before the verdict that it leads to.
        "schema": {
            "type": "object",
            "properties": {
                "ticket": {"type": "string"},
                "reason": {"type": "string"},
                "verdict": {"type": "string", "enum": ["A", "B", "tie"]},
            },
            "required": ["ticket", "reason", "verdict"],
            "additionalProperties": False,
        },
    },
}


@dataclasses.dataclass(frozen=True)
class Judge:
    """Who is asked, and with which parameters: what decides an answer beside the question.

    Attributes:
        id: As given, for example `openai:gpt-4o-2024-11-20`.
        model: Name of the model at the server.
        own_server: True if another server than the OpenAI API is asked.
        temperature: Sampling temperature.
        max_tokens: Limit of an answer, its reasoning included.
    """

    id: str
    model: str
    own_server: bool = False
    temperature: float = 0.0
    max_tokens: int = 2048

    def parameters(self) -> dict[str, Any]:
        """Returns what stands in records and keys beside the id."""
        return {
            "own_server": self.own_server,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "answer_format": answer_wording()["version"],
        }


@dataclasses.dataclass(frozen=True)
class Dialect:
    """What the server understands; learnt from what it refuses, and never part of a key.

    Attributes:
        structured: Whether it takes `response_format`.
        limit_name: What it calls the limit of an answer.
        temperature: Whether it takes a temperature.
    """

    structured: bool = True
    limit_name: LimitName = "max_completion_tokens"
    temperature: bool = True


@dataclasses.dataclass(frozen=True)
class Question:
    """Two responses to one prompt in the order in which the judge reads them.

    Attributes:
        wording: What the judge is asked.
        prompt: Text of the prompt.
        first: Text of the response that is called A.
        second: Text of the response that is called B.
    """

    wording: JudgePrompt
    prompt: str
    first: str
    second: str

    @functools.cached_property
    def ticket(self) -> str:
        """Number of the question: made from its texts, and contained in none of them."""
        texts = (self.wording.system, self.wording.template, self.prompt, self.first, self.second)
        salt = 0
        while True:
            found = _digest([self.wording.id, self.wording.version, *texts, str(salt)])[:TICKET_DIGITS]
            if not any(found in text.lower() for text in texts):
                return found
            salt += 1

    def key(self, judge: Judge) -> str:
        """Returns what an answer is stored under: judge, wording, texts in their order, and parameters."""
        wording = [self.wording.id, self.wording.version, self.wording.system, self.wording.template]
        closing = json.dumps([answer_wording(), judge.parameters()], sort_keys=True)
        return _digest([judge.id, judge.model, closing, *wording, self.prompt, self.first, self.second])

    def messages(self, *, structured: bool) -> list[dict[str, str]]:
        """Returns the messages; the texts stand in them as they are, each once, between marks with the ticket."""
        texts = {"prompt": self.prompt, "first": self.first, "second": self.second}

        def marked(match: re.Match[str]) -> str:
            name = _NAMES[match.group(1)]
            return f"[begin {name} {self.ticket}]\n{texts[match.group(1)]}\n[end {name} {self.ticket}]"

        closing = answer_wording()
        answer = closing["structured" if structured else "pattern"]
        system = f"{self.wording.system.strip()}\n\n{self._numbered(closing['material'])}"
        user = f"{_PLACEHOLDER.sub(marked, self.wording.template).strip()}\n\n{self._numbered(answer)}"
        return [{"role": "system", "content": _sendable(system)}, {"role": "user", "content": _sendable(user)}]

    def body(self, judge: Judge, dialect: Dialect) -> dict[str, Any]:
        """Returns the body of a chat-completions request, for a call or a line of a batch file."""
        body: dict[str, Any] = {"model": judge.model, "messages": self.messages(structured=dialect.structured)}
        body[dialect.limit_name] = judge.max_tokens
        if dialect.temperature:
            body["temperature"] = judge.temperature
        if dialect.structured:
            body["response_format"] = RESPONSE_FORMAT
        return body

    def _numbered(self, text: str) -> str:
        return text.strip().replace("{{ticket}}", self.ticket)


@functools.cache
def answer_wording() -> dict[str, str]:
    """Returns how judges are told to answer: `version`, `material`, `structured`, `pattern`."""
    path = PRESETS / "answer.yaml"
    data: dict[str, str] = parse_yaml(path.read_text(encoding="utf-8"), where=str(path))
    return data


def _digest(parts: list[str]) -> str:
    # Half of a surrogate pair is no UTF-8, but a text of somebody's file may hold one.
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
