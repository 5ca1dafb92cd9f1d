"""Transcripts of the data set: turns introduced by a blank line and `Human:` or `Assistant:`, and their oddities.

Only a role that follows a blank line and is followed by white space opens a turn; `Human:` inside a line, or after a
single line break, is text. CRLF line ends become LF, and missing blank lines at the start are put there.
"""

import dataclasses
import itertools
import re
from collections.abc import Sequence

from marl_bench.errors import RowError

_MARKER = re.compile(r"\n\n(Human|Assistant):(?=\s|$)")
_ROLES = {"Human": "user", "Assistant": "assistant"}


@dataclasses.dataclass(frozen=True)
class Turn:
    """One turn.

    Attributes:
        role: `user` or `assistant`.
        text: What is said, without white space around it.
        text_start: Where the text begins.
        text_end: Where the text ends.
    """

    role: str
    text: str
    text_start: int
    text_end: int


@dataclasses.dataclass(frozen=True)
class Transcript:
    """A dialogue and the answer to it.

    Attributes:
        dialogue: The text up to and including the last `Assistant:`.
        turns: The turns of the dialogue.
        answer: What the assistant says last, without white space around it; may be empty.
        oddities: Of `windows_line_ends`, `no_blank_lines_at_start`, `consecutive_turns`.
    """

    dialogue: str
    turns: Sequence[Turn]
    answer: str
    oddities: frozenset[str]

    @property
    def first_human_turn(self) -> str:
        """The first thing that the human says."""
        return next(turn.text for turn in self.turns if turn.role == "user" and turn.text)


def read_transcript(text: str, *, where: str, field: str) -> Transcript:
    """Returns the parts of a whole transcript.

    Raises:
        RowError: It does not begin with a turn, does not end with one of the assistant, or nothing is said by the human
            before that; the text names `where` and the field.
    """
    normal = text.replace("\r\n", "\n").replace("\r", "\n")
    oddities = {"windows_line_ends"} if normal != text else set()
    if not normal.startswith("\n\n"):
        oddities.add("no_blank_lines_at_start")
    normal = f"\n\n{normal.lstrip()}"
    markers = list(_MARKER.finditer(normal))
    if not any(marker[1] == "Assistant" for marker in markers):
        raise _error(where, field, text, "has no turn of the assistant", reason="without_assistant_turn")
    if markers[0].start() > 0:
        raise _error(where, field, text, "does not begin with a turn", reason="text_before_the_first_turn")
    if markers[-1][1] != "Assistant":
        raise _error(where, field, text, "ends with a turn of the human", reason="ends_with_human_turn")
    ends = [marker.start() for marker in markers[1:]]
    turns = [_turn(normal, marker, end) for marker, end in zip(markers, ends, strict=False)]
    if not any(turn.role == "user" and turn.text for turn in turns):
        raise _error(where, field, text, "has nothing said by the human", reason="without_human_turn")
    if any(first[1] == second[1] for first, second in itertools.pairwise(markers)):
        oddities.add("consecutive_turns")
    end = markers[-1].end()
    return Transcript(normal[:end], turns, normal[end:].strip(), frozenset(oddities))


def has_turns(text: str) -> bool:
    """Returns whether a turn begins in a text that should be one answer."""
    return bool(_MARKER.search(text.replace("\r\n", "\n")))


def messages(turns: Sequence[Turn]) -> list[dict[str, str]]:
    """Returns the dialogue for a chat template: empty turns left out, consecutive turns of one role joined by a blank line."""
    joined: list[dict[str, str]] = []
    for turn in turns:
        if joined and turn.text and joined[-1]["role"] == turn.role:
            joined[-1]["content"] += f"\n\n{turn.text}"
        elif turn.text:
            joined.append({"role": turn.role, "content": turn.text})
    return joined


def cuttable_span(turns: Sequence[Turn]) -> tuple[int, int]:
    """Returns which characters of the dialogue may be cut: what stands before the last human turn, else that turn's text.

    The span begins with the first turn's text, so that a cut dialogue still begins with a turn. It is shortened from its
    end: the last question stays whole, and the opening turn stays longest of what precedes it.
    """
    last = max(index for index, turn in enumerate(turns) if turn.role == "user")
    if last == 0:
        return turns[0].text_start, turns[0].text_end
    return turns[0].text_start, turns[last - 1].text_end


def _turn(dialogue: str, marker: re.Match[str], end: int) -> Turn:
    said = dialogue[marker.end() : end]
    text = said.strip()
    start = marker.end() + len(said) - len(said.lstrip()) if text else marker.end()
    return Turn(_ROLES[marker[1]], text, start, start + len(text))


def _error(where: str, field: str, text: str, problem: str, *, reason: str) -> RowError:
    shown = repr(text) if len(text) <= 60 else f"{text[:57]!r}..."
    wanted = "should be turns after '\\n\\nHuman: ' and '\\n\\nAssistant: ', the last of the assistant"
    return RowError(f"{where}: field {field} {problem}: {shown}; {wanted}.", reason=reason)
