"""The tiny base model that ships with the package."""

import json
from importlib import resources

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from marl_bench.models.pretrain_tiny import drill_batch, read_texts, train_tokenizer

FOLDER = resources.files("marl_bench.models") / "tiny_base"


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(str(FOLDER))


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(str(FOLDER)).eval()


def test_the_folder_is_small_enough_to_ship():
    assert sum(len(file.read_bytes()) for file in FOLDER.iterdir()) <= 4_000_000


def test_model_and_tokenizer_fit_together(tokenizer, model):
    assert model.dtype == torch.float32
    assert len(tokenizer) == model.config.vocab_size
    assert model.config.max_position_embeddings == 2048
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert model.config.pad_token_id == tokenizer.pad_token_id


def test_pad_is_not_eos_and_padding_is_left(tokenizer):
    assert tokenizer.pad_token_id is not None
    assert tokenizer.eos_token_id is not None
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.padding_side == "left"


@pytest.mark.parametrize(
    "text",
    [
        "SUBREDDIT: r/jobs\n\nTITLE: Trouble\n\nPOST: I am 24.\n\nTL;DR: Help!",
        "  two  spaces , and a space before the comma .  ",
        "smile 😀👩‍👩‍👧 done",
        "宏动作强化学习",
        "naïve café — “quotes” ½\t\r\n\x00\x7f",
        "ﷺ עברית हिन्दी \u200b\ufeff",
    ],
)
def test_any_text_comes_back_unchanged(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=True)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert tokenizer.eos_token_id not in ids


def test_repeated_random_strings_are_copied(model):
    generator = torch.Generator().manual_seed(0)
    strings = torch.randint(2, model.config.vocab_size, (32, 40), generator=generator)
    with torch.no_grad():
        predicted = model(input_ids=torch.cat((strings, strings), dim=1)).logits.argmax(dim=-1)
    # The logits at position 40 + i - 1 predict token i of the second copy; the first cannot know of the repetition.
    assert (predicted[:, 40:79] == strings[:, 1:]).float().mean() >= 0.95


def test_drills_have_labels_on_repetitions_only():
    ids, labels = drill_batch(
        torch.Generator().manual_seed(1), rows=8, sequence_tokens=40, token_ids=torch.arange(100, 1000)
    )
    assert ids.shape == labels.shape == (8, 40)
    for row_ids, row_labels in zip(ids, labels, strict=True):
        length = int((row_labels == -100).sum())
        assert 8 <= length <= 20
        assert torch.equal(row_labels[length:], row_ids[length:])
        assert torch.equal(row_ids[length:], row_ids[:-length])


def test_texts_are_read_one_json_string_a_line(tmp_path):
    texts = ["a\nb", "ü"]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
    assert read_texts(path) == texts


def test_a_new_tokenizer_is_byte_level_and_of_the_asked_size():
    tokenizer = train_tokenizer(["some words and some more words and words"] * 3, vocabulary_size=270)
    assert len(tokenizer) == 270
    assert tokenizer.decode(tokenizer("some 猫 words")["input_ids"]) == "some 猫 words"
