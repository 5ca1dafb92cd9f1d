"""Character offsets of response tokens, read off the decoder."""

import random

import pytest
import torch

from marl_bench.batches import Tokens
from marl_bench.models.loading import load_tokenizer
from marl_bench.models.offsets import response_offsets

TEXTS = [
    "I left. He stayed!\n\nWhy?",
    "smile 😀👩‍👩‍👧 done. 宏动作强化学习。\n好",
    "naïve café — “quotes” ½\t\r\n\x00\x7f",
    "ﷺ עברית हिन्दी \u200b\ufeff",
    "  two  spaces , and a space before the comma .  ",
    "a real \ufffd stands here",
    "\n",
    "",
]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("tiny")


def _tokens(rows, pad=0):
    width = max(map(len, rows)) + 2
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    mask = torch.arange(width) < torch.tensor([len(row) for row in rows]).unsqueeze(1)
    prompt = torch.ones(len(rows), 1, dtype=torch.long)
    return Tokens(prompt, prompt.bool(), ids, mask, torch.ones(len(rows), dtype=torch.bool))


def _offsets(rows, tokenizer):
    texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
    return texts, response_offsets(_tokens(rows), texts, tokenizer)


def _check_spans(texts, offsets, rows):
    for text, spans, row in zip(texts, offsets, rows, strict=True):
        assert len(spans) == len(row)
        assert "".join(text[start:end] for start, end in spans) == text
        assert [start for start, _ in spans] == [0, *[end for _, end in spans]][: len(spans)]


@pytest.mark.parametrize("text", TEXTS)
def test_spans_follow_one_another_and_are_the_text(tokenizer, text):
    rows = [[*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]]
    texts, offsets = _offsets(rows, tokenizer)
    assert texts == [text]
    _check_spans(texts, offsets, rows)
    assert offsets[0][-1] == (len(text), len(text))  # EOS


def test_a_token_has_the_characters_that_it_decodes_to(tokenizer):
    row = tokenizer("I left. He", add_special_tokens=False)["input_ids"]
    _, offsets = _offsets([row], tokenizer)
    assert ["I left. He"[start:end] for start, end in offsets[0]] == [tokenizer.decode([token]) for token in row]


def test_of_tokens_that_share_a_character_the_last_has_it(tokenizer):
    row = tokenizer("a😀b", add_special_tokens=False)["input_ids"]
    assert len(row) > 3  # the emoji is split
    _, offsets = _offsets([row], tokenizer)
    assert offsets[0] == [(0, 1), *[(1, 1)] * (len(row) - 3), (1, 2), (2, 3)]


def test_a_response_cut_inside_a_character(tokenizer):
    row = tokenizer("ok 😀", add_special_tokens=False)["input_ids"][:-1]
    texts, offsets = _offsets([row], tokenizer)
    assert texts[0].startswith("ok ") and "\ufffd" in texts[0]
    _check_spans(texts, offsets, [row])


def test_special_tokens_in_the_middle_are_empty(tokenizer):
    row = [*tokenizer("one", add_special_tokens=False)["input_ids"], tokenizer.pad_token_id]
    row += [*tokenizer(" two", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    texts, offsets = _offsets([row], tokenizer)
    assert texts == ["one two"]
    _check_spans(texts, offsets, [row])
    assert offsets[0][row.index(tokenizer.pad_token_id)] == (3, 3)


def test_any_sequence_of_ids_has_spans(tokenizer):
    draw = random.Random(0)
    rows = [[draw.randrange(len(tokenizer)) for _ in range(draw.randrange(40))] for _ in range(60)]
    texts, offsets = _offsets(rows, tokenizer)
    _check_spans(texts, offsets, rows)


def test_rows_are_independent(tokenizer):
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    _, together = _offsets(rows, tokenizer)
    assert together == [_offsets([row], tokenizer)[1][0] for row in rows]


def test_nothing_is_tokenized_again(tokenizer):
    class DecoderOnly:
        def batch_decode(self, rows, *, skip_special_tokens):
            return tokenizer.batch_decode(rows, skip_special_tokens=skip_special_tokens)

    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    texts, offsets = _offsets(rows, DecoderOnly())
    _check_spans(texts, offsets, rows)


class _SpaceDroppingDecoder:
    """Decodes as SentencePiece does: a leading space is dropped, bytes that make no character are one sign each."""

    pieces = ("<pad>", "<eos>", "▁the", "▁cat", "s", ".", "<0xE5>", "<0xAE>", "<0x8F>")

    def batch_decode(self, rows, *, skip_special_tokens):
        return [self._decode(row) for row in rows]

    def _decode(self, row):
        text, pending = "", b""
        for token in [*row, 1]:
            piece = self.pieces[token]
            if piece.startswith("<0x"):
                pending += bytes([int(piece[3:5], 16)])
                continue
            try:
                text += pending.decode()
            except UnicodeDecodeError:
                text += "\ufffd" * len(pending)
            pending = b""
            text += "" if piece.startswith("<") else piece.replace("▁", " ")
        return text.removeprefix(" ")


@pytest.mark.parametrize(
    ("row", "text", "ends"),
    [
        ([2, 3, 4, 5, 1], "the cats.", [3, 7, 8, 9, 9]),
        ([6, 7, 8, 3], "宏 cat", [0, 0, 1, 5]),
        ([2, 6, 7], "the\ufffd\ufffd", [3, 4, 5]),  # bytes of no character
        ([2, 2], "the the", [3, 7]),
    ],
)
def test_decoders_that_drop_the_first_space_or_fall_back_to_bytes(row, text, ends):
    texts, offsets = _offsets([row], _SpaceDroppingDecoder())
    assert texts == [text]
    assert [end for _, end in offsets[0]] == ends
