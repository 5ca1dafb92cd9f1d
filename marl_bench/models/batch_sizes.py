"""How many rows go through a model at once: so many rows, or as many as a number of tokens holds."""

import dataclasses
import sys
from collections.abc import Sequence

from marl_bench.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class BatchSize:
    """The limit of a micro-batch.

    Attributes:
        rows: At most so many rows.
        tokens: At most so many tokens, padding included, or None for no such limit.
        packed: True where rows are packed: there is no padding to count.
    """

    rows: int = sys.maxsize
    tokens: int | None = None
    packed: bool = False


def batch_size(rows: int, tokens: int | None, *, packed: bool) -> BatchSize:
    """Returns a limit of tokens, packed or padded, or of rows where there is none."""
    return BatchSize(rows) if tokens is None else BatchSize(tokens=tokens, packed=packed)


def groups_of_rows(lengths: Sequence[tuple[int, int]], size: BatchSize) -> list[int]:
    """Returns the number of rows of each micro-batch; rows are taken in the order given.

    Args:
        lengths: Tokens of prompt and response of each row; the prompts of a micro-batch are padded to its longest, so are the responses.
        size: The limit.

    Raises:
        ConfigError: One row alone is longer than the limit.
    """
    if size.tokens is None:
        return [min(size.rows, len(lengths) - start) for start in range(0, len(lengths), size.rows)]
    groups: list[int] = []
    rows, prompt, response, real = 0, 0, 0, 0
    for row_prompt, row_response in lengths:
        if row_prompt + row_response > size.tokens:
            raise ConfigError(
                f"memory: a row of {row_prompt} + {row_response} = {row_prompt + row_response} tokens (prompt + response) is longer "
                f"than a micro-batch of {size.tokens} tokens; raise memory.micro_batch_tokens and its kind to at least that."
            )
        width = max(prompt, row_prompt) + max(response, row_response)
        needed = real + row_prompt + row_response if size.packed else (rows + 1) * width
        if needed > size.tokens or rows == size.rows:
            groups.append(rows)
            rows, prompt, response, real = 0, 0, 0, 0
        rows, real = rows + 1, real + row_prompt + row_response
        prompt, response = max(prompt, row_prompt), max(response, row_response)
    return [*groups, rows] if rows else groups
