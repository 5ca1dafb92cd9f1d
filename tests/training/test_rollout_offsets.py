"""Character offsets in rollouts: gathered when a rule asks for them, and those of the texts."""

import pytest

from marl_bench.config import PpoConfig, SamplingConfig
from marl_bench.training.rollout import roll_out


@pytest.fixture
def rollout_with(letter_task, make_actors, prompts):
    def roll(needs):
        return roll_out(
            make_actors(),
            letter_task,
            prompts[:4],
            sampling=SamplingConfig(max_response_tokens=24),
            ppo=PpoConfig(score_batch_size=3),
            needs=frozenset(needs),
            seed_parts=(0,),
        ).rollout

    return roll


def test_offsets_partition_the_text_of_every_response(rollout_with):
    rollout = rollout_with({"critic", "offsets"})
    assert rollout.token_offsets is not None
    lengths = rollout.tokens.response_mask.sum(dim=1).tolist()
    for text, spans, length in zip(rollout.texts, rollout.token_offsets, lengths, strict=True):
        assert len(spans) == length
        assert "".join(text[start:end] for start, end in spans) == text


def test_offsets_are_left_out_where_nothing_needs_them(rollout_with):
    assert rollout_with({"critic", "text"}).token_offsets is None
