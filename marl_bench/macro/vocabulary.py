"""The termination rule `vocabulary`: frequent token n-grams of the SFT data are macro actions, found as byte-pair encoding finds its merges."""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence

import torch
from pydantic import Field

from marl_bench.batches import Rollout, Segmentation
from marl_bench.config import Section
from marl_bench.errors import SegmentationError
from marl_bench.interfaces import TerminationSpec
from marl_bench.macro.segmentation import from_starts
from marl_bench.run_dir import digest_of_json

FIRST_MERGED = 1 << 24
"""Symbols from here on are merges: `FIRST_MERGED + i` is the i-th of the table; those below are token ids."""
_GAP = -1  # between responses and on padding: no merge reaches over it

Merge = tuple[int, int]


class VocabularyParameters(Section):
    """Parameters of `vocabulary`."""

    k: int = Field(256, ge=1, le=65_536, description="merges, each of which makes one token n-gram a macro action")


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Cuts responses into the n-grams of a merge table; tokens in none of them stand alone.

    Attributes:
        k: Size of the table; less where the data do not hold so many pairs that occur twice.
        merges: The table: pairs of symbols, in the order in which they are merged; None before `fit`.
    """

    k: int
    merges: tuple[Merge, ...] | None = None
    needs: frozenset[str] = frozenset()
    nominal_length: float | None = None

    @property
    def content_hash(self) -> str:
        """First 12 digits of the digest of the merge table.

        Raises:
            SegmentationError: The rule is not fitted.
        """
        return digest_of_json([list(merge) for merge in self._fitted()])[:12]

    def fit(self, token_ids: Iterable[Sequence[int]]) -> "Vocabulary":
        """Returns the rule with the merge table of these responses."""
        return dataclasses.replace(self, merges=merge_table(token_ids, k=self.k))

    def segment(self, rollout: Rollout) -> Segmentation:
        """Returns macro actions that are n-grams of the table.

        Raises:
            SegmentationError: The rule is not fitted.
        """
        mask = rollout.tokens.response_mask
        return from_starts(vocabulary_starts(rollout.tokens.response_ids, mask, merges=self._fitted()), mask)

    def _fitted(self) -> tuple[Merge, ...]:
        if self.merges is None:
            raise SegmentationError(
                "vocabulary: has no merge table; call fit with the token ids of the SFT responses first."
            )
        return self.merges


def merge_table(token_ids: Iterable[Sequence[int]], *, k: int) -> tuple[Merge, ...]:
    """Returns up to k merges: again and again the most frequent pair of neighbours becomes one symbol.

    Overlapping occurrences all count; among equally frequent pairs the one with the smallest left, then right symbol wins; a pair that occurs
    once is not merged. In the responses 1 2 3 1 2 3 and 1 2 4 the pair (1, 2) occurs three times and becomes symbol S, (S, 3) twice: the
    table is ((1, 2), (S, 3)), the n-grams 1 2 and 1 2 3.

    Source: Sennrich, Haddow, Birch (2016), on token ids in place of characters.

    Args:
        token_ids: The responses.
        k: Number of merges.
    """
    symbols = torch.tensor(
        [*itertools.chain.from_iterable((*response, _GAP) for response in token_ids)], dtype=torch.int64
    )
    merges: list[Merge] = []
    for symbol in range(FIRST_MERGED, FIRST_MERGED + k):
        left, right = symbols[:-1], symbols[1:]
        pairs = ((left << 32) | right)[(left != _GAP) & (right != _GAP)]
        kinds, counts = torch.unique(pairs, return_counts=True)
        if not counts.numel() or int(counts.max()) < 2:
            break
        pair = int(kinds[counts == counts.max()][0])  # `unique` sorts, so the first is the smallest
        merges.append((pair >> 32, pair & 0xFFFFFFFF))
        found = _occurrences(symbols, merges[-1])
        symbols = torch.where(found, symbol, symbols)[_without_right(found)]
    return tuple(merges)


def vocabulary_starts(response_ids: torch.Tensor, mask: torch.Tensor, *, merges: Sequence[Merge]) -> torch.Tensor:
    """Returns [B, T] bool, True at the first token of each symbol after all merges, applied in their order and from the left.

    With the table of 1 2 and 1 2 3, the response 1 2 3 1 2 5 is cut into 1 2 3, 1 2 and 5.

    Args:
        response_ids: [B, T] int64.
        mask: [B, T] bool, right-padded.
        merges: The table.
    """
    rows, width = mask.shape
    padded = torch.full((rows, width + 1), _GAP, dtype=torch.int64, device=mask.device)
    padded[:, :width] = torch.where(mask, response_ids, _GAP)
    # The whole batch is one line of symbols with gaps; it gets shorter with every merge.
    symbols = padded.flatten()
    places = torch.arange(symbols.numel(), device=mask.device)
    for index, merge in enumerate(merges):
        found = _occurrences(symbols, merge)
        if bool(found.any()):
            kept = _without_right(found)
            symbols, places = torch.where(found, FIRST_MERGED + index, symbols)[kept], places[kept]
    starts = torch.zeros(rows * (width + 1), dtype=torch.bool, device=mask.device)
    starts[places] = True
    return starts.view(rows, width + 1)[:, :width]


def _occurrences(symbols: torch.Tensor, merge: Merge) -> torch.Tensor:
    """Returns [N] bool, True at the left symbol of each occurrence of the pair that is merged: from the left, none overlapping."""
    left, right = merge
    found = torch.zeros_like(symbols, dtype=torch.bool)
    found[:-1] = (symbols[:-1] == left) & (symbols[1:] == right)
    if left == right:
        places = torch.arange(found.numel(), device=found.device)
        begins = found.clone()
        begins[1:] &= ~found[:-1]
        found &= (places - torch.where(begins, places, 0).cummax(dim=0).values) % 2 == 0
    return found


def _without_right(found: torch.Tensor) -> torch.Tensor:
    """Returns [N] bool, False at the right symbol of each occurrence."""
    kept = torch.ones_like(found)
    kept[1:] = ~found[:-1]
    return kept


VOCABULARY = TerminationSpec(
    "vocabulary",
    "1",
    "the most frequent token n-grams of the SFT data are macro actions (byte-pair merges)",
    lambda p: Vocabulary(p.k),
    VocabularyParameters,
)
