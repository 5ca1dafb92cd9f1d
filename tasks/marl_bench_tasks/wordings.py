"""Sentences with slots: read back into what they state, and filled with words."""

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

Kind = TypeVar("Kind")

# Long enough for every slot value, short enough that babble between two known words is no slot value.
_SLOT_PATTERN = r"([\w'-]+(?: [\w'-]+){0,3})"


class WordingParser(Generic[Kind]):
    """Reads sentences that are one of the wordings of some kinds of statement."""

    def __init__(self, wordings: Iterable[tuple[Kind, str]]) -> None:
        """Takes each kind with each of its wordings, whose slots stand as `{slot}`."""
        self._wordings: list[tuple[str, re.Pattern[str], Kind, tuple[str, ...]]] = []
        for kind, wording in wordings:
            pieces = re.split(r"\{(\w+)\}", wording)
            literals, order = pieces[0::2], tuple(pieces[1::2])
            pattern = re.compile(_SLOT_PATTERN.join(re.escape(literal) for literal in literals))
            self._wordings.append((max(literals, key=len), pattern, kind, order))

    def parse(self, sentence: str) -> tuple[Kind, Mapping[str, str]] | None:
        """Returns the kind and the value of each slot, or None if the sentence as a whole is none of the wordings."""
        for marker, pattern, kind, order in self._wordings:
            # The longest literal piece is looked for first, because a substring test is far cheaper than a match.
            if marker in sentence and (match := pattern.fullmatch(sentence)):
                return kind, dict(zip(order, match.groups(), strict=True))
        return None


def draw(words: Sequence[str], rng: random.Random, *, excluded: Sequence[str]) -> str:
    """Returns one of the words that is not excluded."""
    word = rng.choice(words)
    while word in excluded:
        word = rng.choice(words)
    return word
