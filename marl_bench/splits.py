"""Splits of rows into stages, by prompt, so that no prompt stands in two. No torch."""

import random
from collections.abc import Collection, Sequence


def split_rows(groups: Sequence[str], shares: Sequence[float], *, by_prompt: bool, seed_text: str) -> list[list[int]]:
    """Returns the positions of the rows of each stage, in their order.

    Args:
        groups: For each row the name of what must not stand in two stages, such as its prompt.
        shares: Share of the prompts (or rows) of all stages but the last, which takes the rest.
        by_prompt: Whole groups go to one stage; False splits single rows, as published protocols do.
        seed_text: The only source of randomness.
    """
    keys: list[str] | list[int] = sorted(set(groups)) if by_prompt else list(range(len(groups)))
    random.Random(seed_text).shuffle(keys)
    ends = [round(sum(shares[: stage + 1]) * len(keys)) for stage in range(len(shares))]
    stage_of = {key: sum(place >= end for end in ends) for place, key in enumerate(keys)}
    stages: list[list[int]] = [[] for _ in range(len(shares) + 1)]
    for row, group in enumerate(groups):
        stages[stage_of[group if by_prompt else row]].append(row)
    return stages


def unseen_rows(held_out: Sequence[Collection[str]], train: Sequence[Collection[str]]) -> list[int]:
    """Returns the positions of the held-out rows that share no key with a training row.

    Args:
        held_out: Keys of each held-out row: its prompt, its group.
        train: Keys of each training row.
    """
    seen = {key for keys in train for key in keys}
    return [row for row, keys in enumerate(held_out) if not seen.intersection(keys)]
