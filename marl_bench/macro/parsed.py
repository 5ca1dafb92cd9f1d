"""Termination rules that read the text of one response at a time and may fail on it: those responses are cut by `fixed(5)`, and counted."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import torch

from marl_bench.batches import Rollout, Segmentation
from marl_bench.macro.segmentation import from_starts
from marl_bench.macro.starts import gathered

FALLBACK_TOKENS = 5

Offsets = Sequence[tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class ParsedRule:
    """The rule that a parser defines, row by row: parsing is no tensor operation.

    Attributes:
        starts: From a text and the characters of its tokens to the tokens that begin a macro action; None where the text cannot be parsed.
        needs: What the rollout must hold for it.
        nominal_length: None, it depends on the text.
    """

    starts: Callable[[str, Offsets], Sequence[int] | None]
    needs: frozenset[str] = frozenset({"text", "offsets"})
    nominal_length: float | None = None

    def fit(self, token_ids: Iterable[Sequence[int]]) -> "ParsedRule":  # noqa: ARG002 (the protocol's signature)
        """Returns itself."""
        return self

    def segment(self, rollout: Rollout) -> Segmentation:
        """Returns the macro actions, and how many rows were cut by `fixed(5)` because they cannot be parsed."""
        mask = rollout.tokens.response_mask
        starts = torch.zeros(mask.shape, dtype=torch.bool)
        fallbacks = 0
        for row, (text, spans) in enumerate(
            zip(rollout.texts, gathered(rollout.token_offsets, "token_offsets"), strict=True)
        ):
            places = self.starts(text, spans)
            if places is None:
                fallbacks += 1
                places = range(0, len(spans), FALLBACK_TOKENS)
            starts[row, [*places]] = True
        return dataclasses.replace(from_starts(starts.to(mask.device), mask), fallbacks=fallbacks)
