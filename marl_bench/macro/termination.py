"""Termination rules that need nothing but the tokens: `token`, `fixed`, `whole`."""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import torch
from pydantic import Field

from marl_bench.batches import Rollout, Segmentation
from marl_bench.config import Section
from marl_bench.interfaces import NoOptions, TerminationSpec
from marl_bench.macro.segmentation import from_starts


class FixedParameters(Section):
    """Parameters of `fixed`."""

    n: int = Field(5, ge=1, description="tokens a macro action; the rest is the last one")


@dataclasses.dataclass(frozen=True)
class EveryNTokens:
    """Cuts every `n` tokens; infinity never cuts."""

    n: float
    needs: frozenset[str] = frozenset()

    @property
    def nominal_length(self) -> float:
        """Tokens a macro action."""
        return self.n

    def fit(self, token_ids: Iterable[Sequence[int]]) -> "EveryNTokens":  # noqa: ARG002 (the protocol's signature)
        """Returns itself."""
        return self

    def segment(self, rollout: Rollout) -> Segmentation:
        """Returns macro actions of n tokens each."""
        mask = rollout.tokens.response_mask
        columns = torch.arange(mask.shape[1], device=mask.device)
        starts = columns == 0 if math.isinf(self.n) else columns % int(self.n) == 0
        return from_starts(starts.expand_as(mask), mask)


TOKEN = TerminationSpec("token", "1", "every token is a macro action", lambda _: EveryNTokens(1), NoOptions)
FIXED = TerminationSpec(
    "fixed", "1", "every n tokens; the rest is the last macro action", lambda p: EveryNTokens(p.n), FixedParameters
)
WHOLE = TerminationSpec(
    "whole", "1", "the whole response is one macro action", lambda _: EveryNTokens(math.inf), NoOptions
)
