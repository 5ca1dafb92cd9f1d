"""Which characters of a decoded response each token stands for. Read off the decoder; nothing is ever tokenized again."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from marl_bench.batches import Tokens

Offsets = Sequence[tuple[int, int]]

_SPLIT_TOKENS = 8  # rows up to this length are decoded prefix by prefix
_LONGEST_CHARACTER = 4  # bytes, and so the most tokens that can share one


@dataclasses.dataclass(frozen=True)
class _Decoder:
    """A tokenizer's decoder, and what each token of a batch decodes to alone and behind another."""

    tokenizer: Any
    alone: Mapping[int, str]
    behind: Mapping[int, str]

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        return _decoded(rows, self.tokenizer)


def response_offsets(tokens: Tokens, texts: Sequence[str], tokenizer: Any) -> list[Offsets]:
    """Returns per row the (start, end) characters of each of its tokens in the row's text.

    A token ends where the text and the decoded tokens up to it stop being the same, and begins where the token before it ends. So spans
    follow one another without a gap and together are the text; of the tokens that share one character (bytes of an emoji or a Chinese sign)
    the one that completes it has it and those before it are empty; special tokens, EOS among them, are empty.

    Args:
        tokens: Ids and masks.
        texts: The responses as `tokenizer` decodes them without special tokens.
        tokenizer: Any tokenizer of transformers.
    """
    rows = [row[mask].tolist() for row, mask in zip(tokens.response_ids, tokens.response_mask, strict=True)]
    kinds = sorted({token for row in rows for token in row})
    alone = dict(zip(kinds, _decoded([[token] for token in kinds], tokenizer), strict=True))
    # Some decoders drop a space at the beginning of a text, so what a token adds to others is read behind itself.
    twice = dict(zip(kinds, _decoded([[token, token] for token in kinds], tokenizer), strict=True))
    decoder = _Decoder(tokenizer, alone, {token: twice[token][len(alone[token]) :] for token in kinds})
    offsets: list[Offsets] = []
    for row, text in zip(rows, texts, strict=True):
        ends = _ends(row, text, decoder)
        offsets.append(list(zip([0, *ends], ends, strict=False)))
    return offsets


def _ends(row: Sequence[int], text: str, decoder: _Decoder) -> list[int]:
    """Returns where each token of a row, or of a part of one that decodes to `text`, ends."""
    pieces = [decoder.alone[token] for token in row[:1]] + [decoder.behind[token] for token in row[1:]]
    if "".join(pieces) == text:
        return list(itertools.accumulate(map(len, pieces)))
    # Some token holds a part of a character. Halving finds it without decoding every prefix of a long row; a cut is good where both
    # halves decode to the text, and one of a few neighbouring places does not cut a character.
    if len(row) > _SPLIT_TOKENS:
        for middle in range(len(row) // 2, len(row) // 2 + _LONGEST_CHARACTER):
            left, right = decoder.decode([row[:middle], row[middle:]])
            if left + right == text:
                return _ends(row[:middle], left, decoder) + [
                    len(left) + end for end in _ends(row[middle:], right, decoder)
                ]
    return _shared_ends(row, text, decoder)


def _shared_ends(row: Sequence[int], text: str, decoder: _Decoder) -> list[int]:
    ends, end = [], 0
    for prefix in decoder.decode([row[: index + 1] for index in range(len(row))]):
        # A part of a character decodes to a replacement sign, which the text has not; the token that completes it gets past it.
        while end < min(len(prefix), len(text)) and prefix[end] == text[end]:
            end += 1
        ends.append(end)
    return ends


def _decoded(rows: Sequence[Sequence[int]], tokenizer: Any) -> list[str]:
    texts: list[str] = tokenizer.batch_decode(rows, skip_special_tokens=True) if rows else []
    return texts
