"""Wording of the prompts, and the program in a response."""

import re
from typing import Literal

from marl_bench.records import Prompt

FIRST = "\nQUESTION:\n"
LAST = "\n\nANSWER:\n"

_FENCE = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)


def question_text(question: str, starter_code: str, *, call_based: bool) -> str:
    """Returns the prompt of a problem as the APPS paper words it; the program follows it.

    Source: Hendrycks et al. (2021), "Measuring Coding Challenge Competence With APPS", and the `generate_prompt` of its code.
    """
    starter = f"\n{starter_code}" if starter_code.strip() else ""
    kind = "Call-Based" if call_based else "Standard Input"
    return f"{FIRST}{question}{starter}\n\nUse {kind} format{LAST}"


def question_span(question: str) -> tuple[int, int]:
    """Returns the characters of the question within its prompt: what may be cut from its end."""
    return len(FIRST), len(FIRST) + len(question)


def program_of(prompt: Prompt, response: str, *, fences: Literal["strip", "keep"]) -> str:
    """Returns the program that a response stands for.

    Args:
        prompt: Its `completes` field is the code that the response goes on from (HumanEval), if there is any; that of the data set, whatever
            became of the prompt's text.
        response: The policy's text.
        fences: `strip` takes the first block between ``` fences where there is one; a block that is not closed ends with the response.
    """
    text = response
    if fences == "strip":
        fenced = _FENCE.search(response)
        text = fenced.group(1) if fenced else response
    return str(prompt.fields.get("completes", "")) + text
