"""Opening and closing sentences of embedded answers."""

import random
import re
from collections.abc import Sequence

from marl_bench_tasks.webgpt.world import citation, without_citation

_OPENINGS = (
    "You would like to know {topic}, and the references can answer this.",
    "The question here is {topic}, which one can answer from the references.",
)
_CLOSINGS = (
    "In short, and after a look at all of this, the answer to the question is {answer}",
    "So, to say it once more at the end, the answer that you asked for is {answer}",
)


def _patterns(wordings: Sequence[str], slot: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile("(.*)".join(map(re.escape, wording.split(f"{{{slot}}}")))) for wording in wordings)


_OPENING_PATTERNS = _patterns(_OPENINGS, "topic")
_CLOSING_PATTERNS = _patterns(_CLOSINGS, "answer")


def opening(topic: str, rng: random.Random) -> str:
    """Restates the question."""
    return rng.choice(_OPENINGS).format(topic=topic)


def closing(answer: str, rng: random.Random, *, cited: Sequence[int] = ()) -> str:
    """Names the answer once more."""
    return f"{rng.choice(_CLOSINGS).format(answer=answer)}{citation(cited)}."


def parse_opening(sentence: str) -> str | None:
    """Returns the topic that an opening restates, rightly or wrongly; None for other sentences."""
    return _slot(_OPENING_PATTERNS, sentence)


def parse_closing(sentence: str) -> tuple[str, tuple[int, ...]] | None:
    """Returns the answer that a closing names, rightly or wrongly, and the references it cites; None for other sentences."""
    parts = without_citation(sentence)
    answer = _slot(_CLOSING_PATTERNS, parts[0]) if parts else None
    return None if answer is None or parts is None else (answer, parts[1])


def _slot(patterns: Sequence[re.Pattern[str]], text: str) -> str | None:
    for pattern in patterns:
        if match := pattern.fullmatch(text):
            return match[1]
    return None
