"""Micro-batches under a limit on tokens: what fits, in which order, and that nothing changes by it."""

import pytest
import torch

from marl_bench.batches import Tokens
from marl_bench.config_layers import resolve
from marl_bench.errors import ConfigError
from marl_bench.models.batch_sizes import BatchSize, groups_of_rows
from marl_bench.models.forward import layout
from marl_bench.models.loading import load_policy, load_tokenizer
from marl_bench.models.out_of_memory import Halvings
from marl_bench.models.responses import respond
from marl_bench.models.sampling import ModelSampler, SamplingSettings
from marl_bench.models.scoring import in_micro_batches, micro_batches
from marl_bench.records import Prompt

LENGTHS = [(2, 1), (2, 2), (3, 3), (1, 5)]


@pytest.mark.parametrize(
    ("size", "groups"),
    [
        # 2 x (2 + 2) = 8 fits, 3 x (3 + 3) = 18 does not; 2 x (3 + 5) = 16 does not fit 8.
        (BatchSize(tokens=8), [2, 1, 1]),
        (BatchSize(tokens=16), [2, 2]),
        (BatchSize(tokens=18), [3, 1]),
        # Joined: 2 x 4 = 8, 3 x 6 = 18, 4 x 6 = 24.
        (BatchSize(tokens=24, rows_are="joined"), [4]),
        (BatchSize(tokens=18, rows_are="joined"), [3, 1]),
        # Packed: 3 + 4 + 6 = 13, and 6 more are 19.
        (BatchSize(tokens=13, rows_are="packed"), [3, 1]),
        (BatchSize(tokens=19, rows_are="packed"), [4]),
        (BatchSize(rows=3), [3, 1]),
        (BatchSize(rows=1, tokens=19, rows_are="packed"), [1, 1, 1, 1]),
    ],
)
def test_groups_hold_as_many_rows_as_fit(size, groups):
    assert groups_of_rows(LENGTHS, size) == groups


def test_a_row_that_is_longer_than_the_limit_is_named_with_its_length():
    with pytest.raises(ConfigError, match=r"3 \+ 3 = 6 tokens .* longer than a micro-batch of 5"):
        groups_of_rows(LENGTHS, BatchSize(tokens=5))


def tokens(count=40):
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(1, 30, (count, 1), generator=generator)
    responses = torch.randint(1, 60, (count, 1), generator=generator)
    return Tokens(
        torch.arange(count * 30).view(count, 30),
        torch.arange(30) >= 30 - prompts,
        torch.arange(count * 60).view(count, 60),
        torch.arange(60) < responses,
        torch.ones(count, dtype=torch.bool),
    )


@pytest.mark.parametrize("stand", ["aligned", "joined", "packed"])
def test_no_forward_pass_is_larger_than_the_limit_and_every_row_comes_back_to_its_place(stand):
    rows, sizes = tokens(), []

    def compute(part):
        sizes.append(layout(part, ahead=False, rows=stand).inputs["input_ids"].numel())
        return torch.where(part.response_mask, part.response_ids, 0).float()

    found = in_micro_batches(compute, rows, size=BatchSize(tokens=300, rows_are=stand))
    assert torch.equal(found, torch.where(rows.response_mask, rows.response_ids, 0).float())
    assert max(sizes) <= 300
    assert len(sizes) > 1


def padded_share(rows, size):
    parts = [layout(part, ahead=False, rows=size.rows_are) for _, part in micro_batches(rows, size=size)]
    padded = sum(part.inputs["input_ids"].numel() for part in parts)
    return 1 - int(rows.prompt_mask.sum() + rows.response_mask.sum()) / padded


def test_rows_of_similar_length_stand_together():
    rows = tokens()
    together = padded_share(rows, BatchSize())
    assert together > 0.4
    assert padded_share(rows, BatchSize(tokens=300, rows_are="joined")) < 0.1
    assert padded_share(rows, BatchSize(tokens=300, rows_are="packed")) == 0


@torch.no_grad()
def test_responses_do_not_depend_on_the_limit_and_stand_in_the_order_of_their_prompts():
    policy, tokenizer = load_policy("tiny", dtype="float32"), load_tokenizer("tiny")
    prompts = [Prompt(str(number), "a cat sat on a mat " * (1 + number * 5 % 9)) for number in range(9)]
    found = [
        respond(
            ModelSampler(policy),
            tokenizer,
            prompts,
            settings=SamplingSettings(max_response_tokens=8),
            batch_size=size,
            seed_parts=(0,),
        )
        for size in (9, BatchSize(tokens=120))
    ]
    assert [response.prompt_id for response in found[1].responses] == [prompt.id for prompt in prompts]
    assert found[1].responses == found[0].responses
    assert found[1].row_seeds == found[0].row_seeds


@pytest.mark.parametrize("name", ["micro_batch_tokens", "score_batch_tokens", "sample_batch_tokens"])
def test_a_limit_below_the_longest_row_is_refused_before_anything_runs(name):
    with pytest.raises(ConfigError) as caught:
        resolve(preset="tiny", overrides=[(f"memory.{name}", 271)])
    assert str(caught.value) == (
        f"memory.{name}: 271 tokens do not hold the longest row, sampling.max_prompt_tokens + max_response_tokens = 160 + 112 = 272 tokens; "
        "give at least that, or null."
    )


def test_a_limit_on_tokens_that_does_not_fit_into_memory_is_halved_in_rows():
    def compute(part):
        if len(part) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return torch.where(part.response_mask, part.response_ids, 0).float()

    rows, halvings = tokens(), Halvings()
    found = in_micro_batches(compute, rows, size=BatchSize(tokens=600, rows_are="joined"), halvings=halvings)
    assert torch.equal(found, torch.where(rows.response_mask, rows.response_ids, 0).float())
    assert halvings.size("ppo.score_batch_size", 40) == 3  # 40, 20, 10, 5, 3
