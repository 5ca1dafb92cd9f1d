"""Prompts are cut inside their post, at a word, and never lose their end."""

import pytest

from marl_bench.models.loading import load_tokenizer
from marl_bench.models.prompts import encode_prompts, encode_response, fit_prompts
from marl_bench.records import Prompt


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("tiny")


def prompt(words, *, cuttable=True):
    head, post, tail = "POST: ", " ".join(f"word{number}" for number in range(words)), "\n\nTL;DR:"
    return Prompt("p", head + post + tail, cuttable=(len(head), len(head) + len(post)) if cuttable else None)


def length(text, tokenizer):
    return len(tokenizer(text)["input_ids"])


@pytest.mark.parametrize("limit", [20, 21, 22, 23, 40])
def test_a_long_prompt_is_cut_inside_its_post_at_a_word(tokenizer, limit):
    long = prompt(60)
    fitted = fit_prompts([prompt(2), long], tokenizer, max_prompt_tokens=limit, overlong="cut")
    assert (fitted.cut, fitted.dropped) == (1, 0)
    short, cut = fitted.prompts
    assert short == prompt(2)
    assert cut.text.startswith("POST: word0 ")
    assert cut.text.endswith("\n\nTL;DR:")
    assert length(cut.text, tokenizer) <= limit
    start, end = cut.cuttable
    kept = cut.text[start:end].split(" ")
    assert kept == [f"word{number}" for number in range(len(kept))]
    # One more word would not have fitted.
    more = f"{long.text[:end]} word{len(kept)}\n\nTL;DR:"
    assert length(more, tokenizer) > limit


def test_overlong_prompts_are_dropped_when_so_configured_or_when_cutting_cannot_help(tokenizer):
    for prompts, overlong in (([prompt(60)], "drop"), ([prompt(60, cuttable=False)], "cut")):
        fitted = fit_prompts(prompts, tokenizer, max_prompt_tokens=20, overlong=overlong)
        assert (list(fitted.prompts), fitted.cut, fitted.dropped) == ([], 0, 1)
    assert fit_prompts([prompt(60)], tokenizer, max_prompt_tokens=4, overlong="cut").dropped == 1


def test_prompts_are_padded_on_the_left(tokenizer):
    ids, mask = encode_prompts([prompt(1), prompt(9)], tokenizer)
    assert mask[1].all()
    assert not mask[0, 0]
    assert mask[0, -1]
    assert (ids[~mask] == tokenizer.pad_token_id).all()


def test_a_response_ends_with_eos_unless_it_is_cut(tokenizer):
    whole = encode_response(" a b c", tokenizer, max_response_tokens=50)
    assert whole[-1] == tokenizer.eos_token_id
    cut = encode_response(" a b c", tokenizer, max_response_tokens=len(whole) - 1)
    assert cut == whole[:-1]
