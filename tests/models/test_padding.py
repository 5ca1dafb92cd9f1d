"""Padding, batch order and neighbours change nothing, for every architecture."""

import pytest
import torch

from marl_bench.batches import Tokens
from marl_bench.models.sampling import SamplingSettings, sample_responses
from marl_bench.models.scoring import TokenValues, in_micro_batches, last_token_scores, response_log_probs, trimmed

PAD, EOS = 0, 1
PROMPTS = [[5, 6, 7, 8, 9], [10, 11], [12, 13, 14]]
RESPONSES = [[20, 21, 22, EOS], [23, 24, 25, 26, 27, EOS], [30, EOS]]


def tokens_of(prompts, responses, *, left=0, right=0):
    """Returns the rows as `Tokens` with extra padding columns on both sides."""
    width, length = max(map(len, prompts)) + left, max(map(len, responses)) + right
    ids = torch.tensor([[PAD] * (width - len(row)) + row for row in prompts])
    response = torch.tensor([row + [PAD] * (length - len(row)) for row in responses])
    return Tokens(
        ids,
        torch.tensor([[False] * (width - len(row)) + [True] * len(row) for row in prompts]),
        response,
        torch.tensor([[True] * len(row) + [False] * (length - len(row)) for row in responses]),
        torch.tensor([row[-1] == EOS for row in responses]),
    )


def log_probs(policy, tokens):
    return response_log_probs(policy, tokens, temperature=0.7).token_log_probs


@torch.no_grad()
def test_log_probs_equal_those_of_each_row_alone_without_padding(policy):
    batch = log_probs(policy, tokens_of(PROMPTS, RESPONSES))
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        # Plain text-book computation: one row, no padding, no masks, no helper of ours.
        logits = policy(torch.tensor([prompt + response])).logits[0] / 0.7
        expected = torch.log_softmax(logits, dim=-1)[range(len(prompt) - 1, len(prompt) + len(response) - 1), response]
        torch.testing.assert_close(batch[row, : len(response)], expected, atol=2e-5, rtol=1e-4)
        assert (batch[row, len(response) :] == 0).all()


@torch.no_grad()
def test_more_padding_and_another_order_change_no_log_prob(policy):
    plain = log_probs(policy, tokens_of(PROMPTS, RESPONSES))
    padded = log_probs(policy, tokens_of(PROMPTS[::-1], RESPONSES[::-1], left=7, right=5)).flip(0)
    torch.testing.assert_close(padded[:, : plain.shape[1]], plain, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_values_and_scores_equal_those_of_each_row_alone(classifier):
    model = TokenValues(classifier)
    tokens = tokens_of(PROMPTS, RESPONSES, left=3, right=2)
    values, scores = model(tokens, ahead=True), last_token_scores(model, tokens)
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        hidden = classifier.base_model(torch.tensor([prompt + response])).last_hidden_state
        every = classifier.score(hidden)[0, :, 0]
        # The value of the state before a token stands at the position before it, the score at the last token.
        torch.testing.assert_close(values[row, : len(response)], every[len(prompt) - 1 : -1], atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(scores[row], every[-1], atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_the_score_offset_is_added(classifier):
    tokens = tokens_of(PROMPTS, RESPONSES)
    before = last_token_scores(TokenValues(classifier), tokens)
    classifier.config.score_offset = 2.5
    torch.testing.assert_close(last_token_scores(TokenValues(classifier), tokens), before + 2.5)


@torch.no_grad()
def test_micro_batches_put_rows_back_in_order(policy):
    tokens = tokens_of(PROMPTS, RESPONSES, left=2, right=3)
    whole = log_probs(policy, tokens)
    for size in (1, 2, 3):
        torch.testing.assert_close(
            in_micro_batches(lambda rows: log_probs(policy, rows), tokens, size=size), whole, atol=2e-5, rtol=1e-4
        )


def test_trimming_cuts_only_padding_columns():
    tokens = trimmed(tokens_of(PROMPTS, RESPONSES, left=4, right=3))
    assert tokens.prompt_ids.shape == (3, 5)
    assert tokens.response_ids.shape == (3, 6)
    assert tokens.prompt_ids.tolist() == tokens_of(PROMPTS, RESPONSES).prompt_ids.tolist()


def sample(policy, prompts, seeds, *, left=0, **settings):
    tokens = tokens_of(prompts, [[EOS]] * len(prompts), left=left)
    chosen = SamplingSettings(max_response_tokens=12, **settings)
    return sample_responses(
        policy, tokens.prompt_ids, tokens.prompt_mask, seeds, settings=chosen, eos_id=EOS, pad_id=PAD
    )


def rows_of(samples):
    return [
        row[mask].tolist() for row, mask in zip(samples.tokens.response_ids, samples.tokens.response_mask, strict=True)
    ]


def test_a_row_depends_on_its_seed_and_not_on_its_neighbours(policy):
    together = rows_of(sample(policy, PROMPTS, [1, 2, 3]))
    assert rows_of(sample(policy, PROMPTS[::-1], [3, 2, 1], left=6)) == together[::-1]
    assert rows_of(sample(policy, PROMPTS[1:2], [2])) == together[1:2]
    assert rows_of(sample(policy, PROMPTS[1:2], [5])) != together[1:2]


@torch.no_grad()
def test_sampled_log_probs_equal_those_of_a_training_forward(policy):
    samples = sample(policy, PROMPTS * 4, list(range(12)), temperature=1.0, log_prob_temperature=0.7)
    torch.testing.assert_close(samples.token_log_probs, log_probs(policy, samples.tokens), atol=5e-5, rtol=1e-4)


def test_rows_end_at_eos_or_at_the_limit(policy):
    samples = sample(policy, PROMPTS * 10, list(range(30)))
    for row, finished in zip(rows_of(samples), samples.tokens.finished.tolist(), strict=True):
        assert EOS not in row[:-1]
        assert finished == (row[-1] == EOS)
        assert finished or len(row) == 12


@torch.no_grad()
def test_temperature_zero_takes_the_most_probable_token(policy):
    row = rows_of(sample(policy, PROMPTS[:1], [0], temperature=0.0))[0]
    text = list(PROMPTS[0])
    for token in row:
        assert token == int(policy(torch.tensor([text])).logits[0, -1].argmax())
        text.append(token)


@pytest.mark.parametrize("settings", [{"top_k": 3}, {"top_p": 0.4}])
@torch.no_grad()
def test_top_k_and_top_p_stay_within_their_tokens(policy, settings):
    for prompt, row in zip(PROMPTS * 5, rows_of(sample(policy, PROMPTS * 5, list(range(15)), **settings)), strict=True):
        probabilities = torch.softmax(policy(torch.tensor([prompt])).logits[0, -1], dim=-1).sort(descending=True)
        before = probabilities.values.cumsum(0) - probabilities.values
        allowed = (
            probabilities.indices[: settings["top_k"]]
            if "top_k" in settings
            else probabilities.indices[before < settings["top_p"]]
        )
        assert row[0] in allowed.tolist()
