"""A termination rule made of one function: which tokens begin a macro action."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch

from marl_bench.batches import Rollout, Segmentation
from marl_bench.errors import SegmentationError
from marl_bench.macro.segmentation import from_starts

Gathered = TypeVar("Gathered")


@dataclasses.dataclass(frozen=True)
class StartsRule:
    """The rule that a function from a rollout to [B, T] bool defines: True where a macro action begins.

    What the function says of the first token and of padding is ignored: a response begins with a macro action, and padding has none.

    Attributes:
        starts: The function; it keeps rows independent.
        needs: What the rollout must hold for it.
        nominal_length: Tokens a macro action by definition, or None.
    """

    starts: Callable[[Rollout], torch.Tensor]
    needs: frozenset[str]
    nominal_length: float | None = None

    def fit(self, token_ids: Iterable[Sequence[int]]) -> "StartsRule":  # noqa: ARG002 (the protocol's signature)
        """Returns itself."""
        return self

    def segment(self, rollout: Rollout) -> Segmentation:
        """Returns the macro actions that begin where the function says."""
        return from_starts(self.starts(rollout), rollout.tokens.response_mask)


def gathered(value: Gathered | None, name: str) -> Gathered:
    """Returns an optional part of a rollout.

    Raises:
        SegmentationError: The rollout was made without it; `name` is its name in `Rollout`.
    """
    if value is None:
        raise SegmentationError(
            f"rollout: {name} is None; this termination rule reads it, so the rollout must gather it."
        )
    return value
