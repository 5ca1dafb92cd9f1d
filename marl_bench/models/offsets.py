"""Which characters of a decoded response each token stands for. Read off the decoder; nothing is ever tokenized again."""

from collections.abc import Sequence
from typing import Any

from marl_bench.batches import Tokens

Offsets = Sequence[tuple[int, int]]


def response_offsets(tokens: Tokens, texts: Sequence[str], tokenizer: Any) -> list[Offsets]:
    """Returns per row the (start, end) characters of each of its tokens in the row's text.

    A token ends where the text and the decoded tokens up to it stop being the same, and begins where the token before it ends. So spans follow
    one another without a gap and together are the text; of the tokens that share one character (bytes of an emoji or a Chinese sign) the one
    that completes it has it and those before it are empty; special tokens, EOS among them, are empty.

    Args:
        tokens: Ids and masks.
        texts: The responses as `tokenizer` decodes them without special tokens.
        tokenizer: Any tokenizer of transformers.
    """
    rows = [row[mask].tolist() for row, mask in zip(tokens.response_ids, tokens.response_mask, strict=True)]
    kinds = sorted({token for row in rows for token in row})
    first = dict(zip(kinds, _decoded([[token] for token in kinds], tokenizer), strict=True))
    twice = dict(zip(kinds, _decoded([[token, token] for token in kinds], tokenizer), strict=True))
    # Some decoders drop a space at the beginning of a text, so what a token adds to others is read behind itself.
    added = {token: twice[token][len(first[token]) :] for token in kinds}
    offsets: list[Offsets] = []
    for row, text in zip(rows, texts, strict=True):
        pieces = [first[token] for token in row[:1]] + [added[token] for token in row[1:]]
        # A token that decodes alone to what it decodes to in the text needs no more; a part of a character does not.
        ends = _running_ends(pieces) if "".join(pieces) == text else _shared_ends(row, text, tokenizer)
        offsets.append(list(zip([0, *ends], ends, strict=False)))
    return offsets


def _running_ends(pieces: Sequence[str]) -> list[int]:
    ends, end = [], 0
    for piece in pieces:
        end += len(piece)
        ends.append(end)
    return ends


def _shared_ends(row: Sequence[int], text: str, tokenizer: Any) -> list[int]:
    ends, end = [], 0
    for prefix in _decoded([row[: index + 1] for index in range(len(row))], tokenizer):
        # A part of a character decodes to a replacement sign, which the text has not; the token that completes it gets past it.
        while end < min(len(prefix), len(text)) and prefix[end] == text[end]:
            end += 1
        ends.append(end)
    return ends


def _decoded(rows: Sequence[Sequence[int]], tokenizer: Any) -> list[str]:
    texts: list[str] = tokenizer.batch_decode(rows, skip_special_tokens=True) if rows else []
    return texts
