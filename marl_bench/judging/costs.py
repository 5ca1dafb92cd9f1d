"""What calls cost: published prices by model, or the user's own."""

import dataclasses
import re
from collections.abc import Iterable

from marl_bench.errors import ConfigError, shown
from marl_bench.judging.answers import Answer
from marl_bench.judging.prompts import PRESETS
from marl_bench.judging.questions import Question
from marl_bench.yaml_text import parse_yaml

CHARACTERS_A_TOKEN = 4
"""In English text; other scripts take more tokens."""
EXPECTED_ANSWER_TOKENS = 120
BATCH_SHARE = 0.5
"""What the Batch API takes of the price."""


@dataclasses.dataclass(frozen=True)
class Price:
    """US dollars per million tokens, and where they come from."""

    prompt: float
    completion: float
    source: str

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Returns US dollars."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6

    def of_answers(self, answers: Iterable[Answer]) -> float:
        """Returns US dollars for all tokens of the answers; those of batch jobs at their share of the price."""
        shares = [(answer, BATCH_SHARE if answer.batch else 1.0) for answer in answers]
        return self.of(
            sum(answer.prompt_tokens * share for answer, share in shares),
            sum(answer.completion_tokens * share for answer, share in shares),
        )


def parse_price(text: str) -> Price:
    """Reads `IN,OUT` in US dollars per million tokens.

    Raises:
        ConfigError: The text is something else.
    """
    try:
        prompt, completion = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"--price {shown(text)}: give US dollars per million tokens as IN,OUT, for example 2.5,10."
        ) from error
    if not (0 <= prompt < 1e6 and 0 <= completion < 1e6):
        raise ConfigError(f"--price {shown(text)}: prices are numbers from 0 up, in US dollars per million tokens.")
    return Price(prompt, completion, "--price")


def published_price(model: str) -> Price | None:
    """Returns the price in the shipped table, of the model or of the id without its date; None where it is not listed."""
    path = PRESETS / "prices.yaml"
    table = parse_yaml(path.read_text(encoding="utf-8"), where=str(path))
    undated = re.sub(r"-\d{4}-\d{2}-\d{2}$", "", model)
    found = table["models"].get(model) or table["models"].get(undated)
    return Price(found[0], found[1], f"price table of {table['date']}") if found else None


def estimated_tokens(questions: Iterable[Question]) -> tuple[int, int]:
    """Returns about how many tokens the questions hold, and about how many their answers will."""
    sizes = [sum(len(one["content"]) for one in question.messages(structured=True)) for question in questions]
    return sum(sizes) // CHARACTERS_A_TOKEN, EXPECTED_ANSWER_TOKENS * len(sizes)
