"""How many rows go through a model at once: so many rows, or as many as a number of tokens holds."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Literal

from marl_bench.errors import ConfigError

Rows = Literal["aligned", "joined", "packed"]
"""How rows stand in a model's input; `models.forward.layout` says what that means."""


@dataclasses.dataclass(frozen=True)
class BatchSize:
    """The limit of a micro-batch.

    Attributes:
        rows: At most so many rows.
        tokens: At most so many tokens, padding included, or None for no such limit.
        rows_are: How rows stand in the model's input, which decides how much padding there is.
    """

    rows: int = sys.maxsize
    tokens: int | None = None
    rows_are: Rows = "aligned"


def batch_size(rows: int, tokens: int | None, rows_are: Rows) -> BatchSize:
    """Returns a limit of tokens, or of rows where there is none."""
    return BatchSize(sys.maxsize if tokens is not None else rows, tokens, rows_are)


def groups_of_rows(lengths: Sequence[tuple[int, int]], size: BatchSize) -> list[int]:
    """Returns the number of rows of each micro-batch; rows are taken in the order given.

    Args:
        lengths: Tokens of prompt and response of each row.
        size: The limit.

    Raises:
        ConfigError: One row alone is longer than the limit.
    """
    if size.tokens is None:
        return [min(size.rows, len(lengths) - start) for start in range(0, len(lengths), size.rows)]
    groups: list[int] = []
    group: list[tuple[int, int]] = []
    for row_prompt, row_response in lengths:
        if row_prompt + row_response > size.tokens:
            raise ConfigError(
                f"memory: a row of {row_prompt} + {row_response} = {row_prompt + row_response} tokens (prompt + response) is longer "
                f"than a micro-batch of {size.tokens} tokens; raise memory.micro_batch_tokens and its kind to at least that."
            )
        longer = [*group, (row_prompt, row_response)]
        if padded_tokens(longer, size.rows_are) > size.tokens or len(group) == size.rows:
            groups.append(len(group))
            longer = longer[-1:]
        group = longer
    return [*groups, len(group)] if group else groups


def padded_tokens(lengths: Sequence[tuple[int, int]], rows_are: Rows) -> int:
    """Returns the tokens of the model's input, padding included, for rows of these prompt and response tokens."""
    if rows_are == "packed":
        return sum(prompt + response for prompt, response in lengths)
    if rows_are == "joined":
        return len(lengths) * max(prompt + response for prompt, response in lengths)
    return len(lengths) * (max(prompt for prompt, _ in lengths) + max(response for _, response in lengths))
