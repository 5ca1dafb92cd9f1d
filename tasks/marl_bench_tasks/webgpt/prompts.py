"""How a question and its numbered references are put to the policy."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Quote:
    """A numbered reference; its number is its place, counted from 1."""

    title: str
    extract: str


@dataclasses.dataclass(frozen=True)
class PromptText:
    """Text of a prompt and the span that may be shortened: the references, or the question where there are none."""

    text: str
    cuttable: tuple[int, int]


def render_prompt(question: str, quotes: Sequence[Quote] = ()) -> PromptText:
    """Returns the prompt of the released code, with the references before it if there are any."""
    references = "\n".join(reference_lines(quotes))
    if references:
        return PromptText(f"{references}\n Human: {question} Assistant:", (0, len(references)))
    head = " Human: "
    return PromptText(f"{head}{question} Assistant:", (len(head), len(head) + len(question)))


def reference_lines(quotes: Sequence[Quote]) -> list[str]:
    """Returns a line `[1] title: extract` for each reference."""
    # A line break inside of an extract would look like the end of the reference.
    lines = [f"[{number}] {quote.title}: {quote.extract}" for number, quote in enumerate(quotes, start=1)]
    return [" ".join(line.split()) for line in lines]


def shown_quotes(quotes: Sequence[Quote], *, characters: int) -> list[str]:
    """Returns the text of each reference that a prompt shows when its references were cut to so many characters."""
    shown = []
    for line in reference_lines(quotes):
        if characters <= 0:
            break
        shown.append(line[:characters])
        characters -= len(line) + 1
    return shown
