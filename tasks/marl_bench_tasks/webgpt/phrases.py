"""Opening and closing sentences of embedded answers."""

import random
import re
from collections.abc import Sequence

_OPENINGS = (
    "You would like to know {topic}, and the references can answer this.",
    "The question here is {topic}, which one can answer from the references.",
)
_CLOSINGS = (
    "That is, in short and after a look at all of this, what the references say about {subject}.",
    "So, to say it once more at the end, this is what one can read there about {subject}.",
)


def _patterns(wordings: Sequence[str], slot: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile("(.*)".join(map(re.escape, wording.split(f"{{{slot}}}")))) for wording in wordings)


_OPENING_PATTERNS = _patterns(_OPENINGS, "topic")
_CLOSING_PATTERNS = _patterns(_CLOSINGS, "subject")


def opening(topic: str, rng: random.Random) -> str:
    """Restates the question."""
    return rng.choice(_OPENINGS).format(topic=topic)


def closing(subject: str, rng: random.Random) -> str:
    """Names once more what the answer was about."""
    return rng.choice(_CLOSINGS).format(subject=subject)


def parse_opening(sentence: str) -> str | None:
    """Returns the topic that an opening restates, rightly or wrongly; None for other sentences."""
    return _slot(_OPENING_PATTERNS, sentence)


def parse_closing(sentence: str) -> str | None:
    """Returns the subject that a closing names, rightly or wrongly; None for other sentences."""
    return _slot(_CLOSING_PATTERNS, sentence)


def _slot(patterns: Sequence[re.Pattern[str]], text: str) -> str | None:
    for pattern in patterns:
        if match := pattern.fullmatch(text):
            return match[1]
    return None
