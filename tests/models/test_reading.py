"""Responses that exist already are read as they were sampled."""

import dataclasses
from pathlib import Path

import pytest
import torch

from marl_bench.models.actors import load_actors
from marl_bench.models.loading import model_folder
from marl_bench.models.reading import read_responses
from marl_bench.models.responses import respond
from marl_bench.models.sampling import SamplingSettings
from marl_bench.records import EvalSample, Prompt, Response

ALL = frozenset({"logprobs", "ref_logprobs", "entropies", "values", "text", "offsets"})


@pytest.fixture(scope="module")
def actors():
    folder = Path(model_folder("tiny"))
    return load_actors(
        policy=folder, sft=folder, reward_model=None, dtype="float32", critic_scale=1.0, device=torch.device("cpu")
    )


def _read(actors, samples, **changes):
    return read_responses(actors, samples, **{"temperature": 1.0, "needs": ALL, "batch_size": 4, **changes})


def test_log_probs_and_entropies_are_those_of_the_sampler(actors):
    prompts = [Prompt(f"p{number}", f"POST: number {number} TL;DR:") for number in range(6)]
    sampled = respond(
        actors.sampler,
        actors.tokenizer,
        prompts,
        settings=SamplingSettings(max_response_tokens=12),
        batch_size=6,
        seed_parts=(0,),
    )
    samples = [
        EvalSample(prompt.id, "", prompt.text, response, {})
        for prompt, response in zip(prompts, sampled.responses, strict=True)
    ]
    rollout = _read(actors, samples)
    expected = sampled.samples
    same = 0
    for row in range(len(samples)):
        ids, was = (tokens.response_ids[row][tokens.response_mask[row]] for tokens in (rollout.tokens, expected.tokens))
        if ids.tolist() != was.tolist():  # another encoding of the same text
            continue
        same += 1
        columns = slice(0, len(ids))
        for found in (rollout.token_log_probs, rollout.token_ref_log_probs):
            torch.testing.assert_close(
                found[row, columns], expected.token_log_probs[row, columns], atol=1e-4, rtol=1e-4
            )
        torch.testing.assert_close(
            rollout.token_entropies[row, columns], expected.token_entropies[row, columns], atol=1e-4, rtol=1e-4
        )
    assert same >= 3


def test_the_text_comes_back_and_only_finished_responses_end_with_eos(actors):
    texts = ["two dogs met", "a 😀 cat\nsat", "x"]
    samples = [EvalSample(str(n), "", "TL;DR:", Response(str(n), text, 0, n != 1), {}) for n, text in enumerate(texts)]
    rollout = _read(actors, samples)
    assert list(rollout.texts) == texts
    eos = actors.tokenizer.eos_token_id
    last = [
        int(row[mask][-1]) for row, mask in zip(rollout.tokens.response_ids, rollout.tokens.response_mask, strict=True)
    ]
    assert [token == eos for token in last] == [True, False, True]
    assert [spans[-1][1] for spans in rollout.token_offsets] == [len(text) for text in texts]


def test_nothing_is_computed_that_no_rule_reads(actors):
    sample = EvalSample("p", "", "TL;DR:", Response("p", "two dogs", 3, True), {})
    blind = dataclasses.replace(actors, policy=_Refuses(actors.policy), reference=None)
    rollout = _read(blind, [sample], needs=frozenset())
    assert rollout.token_entropies is None and rollout.token_offsets is None
    assert not rollout.token_log_probs.any()


class _Refuses:
    """A policy that must not be called."""

    def __init__(self, policy):
        self.device = policy.device
