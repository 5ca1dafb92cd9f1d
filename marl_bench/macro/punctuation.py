"""The termination rules `sentence` and `clause`: cut after punctuation and newlines, in any script."""

import functools
import itertools
import re
from collections.abc import Sequence

import torch

from marl_bench.batches import Rollout
from marl_bench.interfaces import NoOptions, TerminationSpec
from marl_bench.macro.starts import StartsRule, gathered

# Stands behind every text of a batch, so that one search finds the boundaries of all. It counts as white space and no pattern runs over it.
_SEPARATOR = "\x1e"

# Patterns begin where a run of marks or a line's end begins and give nothing back (`++`): else a long run would take quadratic time.
_CLOSERS = "[\"'”’»)\\]}」』）】]*+"
_TO_LAST_NEWLINE = r"(?:[ \t\r\n]*\n)?"
_NEWLINES = rf"\n{_TO_LAST_NEWLINE}"
_SENTENCE_MARKS = rf"(?:(?<![.!?…؟۔])[.!?…؟۔]++{_CLOSERS}(?=\s)|[。！？｡।॥]+{_CLOSERS}){_TO_LAST_NEWLINE}"
_CLAUSE_MARKS = rf"(?:(?:[,;:،؛]|–|--){_CLOSERS}(?=\s)|[，、；：—]+{_CLOSERS}){_TO_LAST_NEWLINE}"
SENTENCE_ENDS = re.compile(rf"{_SENTENCE_MARKS}|{_NEWLINES}")
CLAUSE_ENDS = re.compile(rf"{_SENTENCE_MARKS}|{_CLAUSE_MARKS}|{_NEWLINES}")


def boundary_starts(
    texts: Sequence[str],
    token_offsets: Sequence[Sequence[tuple[int, int]]],
    mask: torch.Tensor,
    *,
    ends: re.Pattern[str],
) -> torch.Tensor:
    """Returns [B, T] bool, True at the token after the one that holds the last character of a match of `ends`.

    A match at the very end of a text marks nothing, so EOS belongs to the last sentence. In `Yes. It is 3.5 m, or so.` sentences begin at
    ` It` alone: the point of 3.5 has no white space after it.

    Args:
        texts: The decoded responses.
        token_offsets: Per row the (start, end) characters of its tokens; ends do not decrease, and the last is the length of the text.
        mask: [B, T] bool, right-padded.
        ends: Pattern of what ends a macro action.
    """
    lengths = torch.tensor([*map(len, texts)], dtype=torch.int64)
    row_ends = (lengths + 1).cumsum(dim=0) - 1  # in the joined text
    matches = torch.tensor([match.end() for match in ends.finditer(_SEPARATOR.join([*texts, ""]))], dtype=torch.int64)
    matches = matches[~torch.isin(matches, row_ends)]
    pairs = itertools.chain.from_iterable(token_offsets)
    flat_ends = torch.tensor([*itertools.chain.from_iterable(pairs)], dtype=torch.int64).view(-1, 2)[:, 1]
    counts = torch.tensor([*map(len, token_offsets)], dtype=torch.int64)
    flat_ends = flat_ends + (row_ends - lengths).repeat_interleave(counts)
    flags = torch.zeros(flat_ends.numel() + 1, dtype=torch.bool)
    flags[torch.searchsorted(flat_ends, matches) + 1] = True
    starts = torch.zeros_like(mask)
    starts[mask] = flags[:-1].to(mask.device)
    return starts


def _starts(rollout: Rollout, *, ends: re.Pattern[str]) -> torch.Tensor:
    offsets = gathered(rollout.token_offsets, "token_offsets")
    return boundary_starts(rollout.texts, offsets, rollout.tokens.response_mask, ends=ends)


def _build_sentence(_: NoOptions) -> StartsRule:
    return StartsRule(functools.partial(_starts, ends=SENTENCE_ENDS), needs=frozenset({"text", "offsets"}))


def _build_clause(_: NoOptions) -> StartsRule:
    return StartsRule(functools.partial(_starts, ends=CLAUSE_ENDS), needs=frozenset({"text", "offsets"}))


SENTENCE = TerminationSpec("sentence", "1", "a sentence is a macro action: ends at . ! ? and newlines", _build_sentence)
CLAUSE = TerminationSpec(
    "clause", "1", "a clause is a macro action: ends at , ; : dashes and where a sentence ends", _build_clause
)
