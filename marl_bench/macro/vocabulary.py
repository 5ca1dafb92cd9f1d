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
    symbols = itertools.chain.from_iterable((*response, _GAP) for response in token_ids)
    line = _Line(torch.tensor([*symbols, _GAP], dtype=torch.int64))
    merges: list[Merge] = []
    for symbol in range(FIRST_MERGED, FIRST_MERGED + k):
        kinds, counts = torch.unique(line.pairs[line.pairs != _GAP], return_counts=True)
        if not counts.numel() or int(counts.max()) < 2:
            break
        pair = int(kinds[counts == counts.max()][0])  # `unique` sorts, so the first is the smallest
        merges.append((pair >> 32, pair & 0xFFFFFFFF))
        line.merge(merges[-1], symbol)
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
    line = _Line(padded.flatten())  # the whole batch in one line, with a gap behind each row
    for index, merge in enumerate(merges):
        line.merge(merge, FIRST_MERGED + index)
    return line.present.view(rows, width + 1)[:, :width]


class _Line:
    """A line of symbols in which pairs of neighbours are merged in place; a merge costs one comparison a place and no more."""

    def __init__(self, symbols: torch.Tensor) -> None:
        """Takes [N] int64, the last of them a gap."""
        places = torch.arange(symbols.numel(), device=symbols.device)
        self.present = torch.ones_like(symbols, dtype=torch.bool)
        """[N] bool, False at places whose symbol was merged into one on the left."""
        self.pairs = torch.full_like(symbols, _GAP)
        """[N] int64, the symbol there and the next one as one number; a gap where one of them is missing."""
        self._symbols = symbols
        self._next = (places + 1).clamp(max=max(symbols.numel() - 1, 0))
        self._previous = (places - 1).clamp(min=0)
        self._join(places)

    def merge(self, merge: Merge, symbol: int) -> None:
        """Makes each occurrence of the pair one symbol: from the left, none overlapping."""
        left, right = merge
        found = (self.pairs == left << 32 | right).nonzero().squeeze(1)
        if left == right:
            found = found[self._not_overlapping(found)]
        if not found.numel():
            return
        gone = self._next[found]
        after = self._next[gone]
        self._symbols[found] = symbol
        self._symbols[gone] = _GAP
        self.present[gone] = False
        self._next[found] = after
        self._previous[after] = found
        self._join(torch.cat([gone, found, self._previous[found]]))

    def _not_overlapping(self, found: torch.Tensor) -> torch.Tensor:
        """Returns [F] bool, every other of those that stand side by side."""
        index = torch.arange(found.numel(), device=found.device)
        begins = torch.ones_like(found, dtype=torch.bool)
        begins[1:] = self._next[found[:-1]] != found[1:]
        return (index - torch.where(begins, index, 0).cummax(dim=0).values) % 2 == 0

    def _join(self, places: torch.Tensor) -> None:
        left, right = self._symbols[places], self._symbols[self._next[places]]
        self.pairs[places] = torch.where((left == _GAP) | (right == _GAP), _GAP, left << 32 | right)


VOCABULARY = TerminationSpec(
    "vocabulary",
    "1",
    "the most frequent token n-grams of the SFT data are macro actions (byte-pair merges)",
    lambda p: Vocabulary(p.k),
    VocabularyParameters,
)
