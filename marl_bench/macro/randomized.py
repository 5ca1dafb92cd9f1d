"""The termination rule `randomized`: macro actions of shuffled lengths."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field

from marl_bench.batches import Rollout
from marl_bench.config import Section
from marl_bench.interfaces import TerminationSpec
from marl_bench.macro.starts import StartsRule

# SplitMix64 (Steele, Lea, Flood 2014), its unsigned constants as signed 64-bit integers: torch has no unsigned arithmetic, but it wraps around.
_GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)
_MULTIPLIERS = (0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64))


class RandomizedParameters(Section):
    """Parameters of `randomized`. The paper has 2, 3, 5, 10 three times, the released code 1, 2, 3, 5, 10."""

    lengths: list[Annotated[int, Field(ge=1)]] = Field(
        [2, 3, 5, 10], min_length=1, description="lengths of macro actions in tokens"
    )
    repeats: int = Field(3, ge=1, description="how often each length occurs in a response")


def randomized_starts(row_seeds: torch.Tensor, *, lengths: Sequence[int], repeats: int, width: int) -> torch.Tensor:
    """Returns [B, width] bool, where macro actions of shuffled lengths begin.

    Every row shuffles `lengths`, each of them `repeats` times, with its own seed. Tokens after the last of them are one macro action. If a row
    shuffles (2, 3) x 1 to 3, 2, then eight tokens are cut into 3, 2 and the remaining 3: macro actions begin at 0, 3 and 5.

    Args:
        row_seeds: [B] int64.
        lengths: Lengths in tokens.
        repeats: How often each of them occurs.
        width: T.
    """
    deck = torch.tensor([*lengths] * repeats, device=row_seeds.device)
    cards = torch.arange(1, deck.numel() + 1, device=row_seeds.device)
    # Sorting by independent 64-bit keys shuffles evenly, and no row reads another's seed.
    order = _mixed(row_seeds.unsqueeze(1) + cards * _GAMMA).argsort(dim=1, stable=True)
    ends = deck[order].cumsum(dim=1)
    starts = torch.zeros(row_seeds.shape[0], width + 1, dtype=torch.bool, device=row_seeds.device)
    starts.scatter_(1, ends.clamp(max=width), True)
    return starts[:, :width]


def _mixed(keys: torch.Tensor) -> torch.Tensor:
    for shift, multiplier in zip((30, 27), _MULTIPLIERS, strict=True):
        keys = (keys ^ _shifted(keys, shift)) * multiplier
    return keys ^ _shifted(keys, 31)


def _shifted(keys: torch.Tensor, shift: int) -> torch.Tensor:
    """Returns the logical right shift; torch's own keeps the sign."""
    return (keys >> shift) & ((1 << (64 - shift)) - 1)


def _build(parameters: RandomizedParameters) -> StartsRule:
    def starts(rollout: Rollout) -> torch.Tensor:
        mask = rollout.tokens.response_mask
        seeds = torch.tensor([*rollout.row_seeds], dtype=torch.int64, device=mask.device)
        return randomized_starts(seeds, lengths=parameters.lengths, repeats=parameters.repeats, width=mask.shape[1])

    return StartsRule(starts, needs=frozenset())


RANDOMIZED = TerminationSpec(
    "randomized",
    "1",
    "the lengths, each so many times, shuffled for every response; the rest is one macro action",
    _build,
    RandomizedParameters,
)
