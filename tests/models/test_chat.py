"""Prompts through chat templates."""

import dataclasses

import pytest

from marl_bench.errors import DataError
from marl_bench.models.chat import joined_turns, with_chat_template
from marl_bench.models.loading import load_tokenizer
from marl_bench.records import PreferencePair, Prompt, SftPair, TaskData

# As Gemma's: a beginning, turns that must alternate, and a beginning of the answer.
TEMPLATE = (
    "<s>{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}[{{ m.role }}] {{ m.content | trim }} {% endfor %}"
    "{% if add_generation_prompt %}[model]{% endif %}"
)


@pytest.fixture
def tokenizer():
    found = load_tokenizer("tiny")
    found.chat_template = TEMPLATE
    return found


def data_of(*prompts):
    pair = PreferencePair(prompts[0], " good", " bad")
    return TaskData([SftPair(prompts[0], " good")], [pair], list(prompts), list(prompts))


def turns(*roles):
    return [{"role": role, "content": f"text {number}"} for number, role in enumerate(roles)]


def test_a_dialogue_is_rendered_turn_by_turn_and_plain_text_as_one_turn(tokenizer):
    dialogue = Prompt("a", "Human: text 0 Assistant:", messages=turns("user", "assistant", "user"), subset="kind")
    plain = Prompt("b", "What is it? ", reference="it")
    found = with_chat_template(data_of(dialogue, plain), tokenizer)
    assert [prompt.text for prompt in found.rl_prompts] == [
        "<s>[user] text 0 [assistant] text 1 [user] text 2 [model]",
        "<s>[user] What is it? [model]",
    ]
    assert (found.rl_prompts[0].subset, found.rl_prompts[1].reference) == ("kind", "it")
    assert (found.sft[0].response, found.preferences[0].chosen, found.preferences[0].rejected) == (
        "good",
        "good",
        "bad",
    )


def test_a_beginning_that_the_tokenizer_adds_stands_once(tokenizer):
    tokenizer.bos_token = "<s>"

    class AddsBeginning:
        bos_token, bos_token_id = "<s>", tokenizer.bos_token_id
        apply_chat_template = staticmethod(tokenizer.apply_chat_template)

        def __call__(self, text):
            return {"input_ids": [tokenizer.bos_token_id, *tokenizer(text)["input_ids"]]}

    prompt = Prompt("a", "Hi")
    assert with_chat_template(data_of(prompt), AddsBeginning()).rl_prompts[0].text == "[user] Hi [model]"
    assert with_chat_template(data_of(prompt), tokenizer).rl_prompts[0].text == "<s>[user] Hi [model]"


def test_the_cuttable_span_moves_with_its_text(tokenizer):
    prompt = Prompt("a", "POST: a long post\n\nTL;DR:", cuttable=(6, 17))
    [found, *_] = with_chat_template(data_of(prompt), tokenizer).rl_prompts
    assert found.text[slice(*found.cuttable)] == "a long post"


def test_turns_of_one_role_are_joined():
    assert joined_turns(turns("user", "user", "assistant")) == [
        {"role": "user", "content": "text 0\n\ntext 1"},
        {"role": "assistant", "content": "text 2"},
    ]


def test_a_prompt_that_the_template_refuses_is_left_out_and_named(tokenizer):
    good, odd = Prompt("good", "Hi"), Prompt("odd", "Ho", messages=turns("assistant", "user"))
    found = with_chat_template(data_of(good, odd), tokenizer)
    assert [prompt.id for prompt in found.eval_prompts] == ["good"]
    assert found.counts["prompts_refused_by_chat_template"] == 2  # among the RL and the evaluation prompts
    assert "prompt 'odd': roles must alternate" in found.notes[-1]
    twice = dataclasses.replace(odd, id="again")
    assert with_chat_template(data_of(good, odd, twice), tokenizer).counts["prompts_refused_by_chat_template"] == 4
    with pytest.raises(DataError, match=r"refuses all prompts of a stage; prompt 'odd'.*data.chat_template=off"):
        with_chat_template(data_of(odd), tokenizer)
