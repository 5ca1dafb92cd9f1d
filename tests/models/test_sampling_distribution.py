"""The sampler draws from the model's distribution."""

import numpy as np
import torch
from scipy import stats

from marl_bench.models.sampling import SamplingSettings, _draw, row_seed


def test_tokens_come_with_the_probabilities_of_the_tempered_softmax():
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]])
    draws = 20_000
    uniforms = torch.from_numpy(np.random.default_rng(0).random(draws))
    token, log_prob, entropy = _draw(
        logits.repeat(draws, 1), uniforms, SamplingSettings(1, temperature=2.0, log_prob_temperature=2.0)
    )
    # softmax of (0, .5, 1, -.5): e^x = 1, 1.6487, 2.7183, .6065, sum 5.9735.
    expected = np.array([1, 1.6487, 2.7183, 0.6065]) / 5.9735
    observed = np.bincount(token.numpy(), minlength=4)
    assert stats.chisquare(observed, expected * draws * observed.sum() / (expected * draws).sum()).pvalue > 0.001
    np.testing.assert_allclose(log_prob[:50].exp().numpy(), expected[token[:50].numpy()], atol=1e-4)
    np.testing.assert_allclose(entropy[0].item(), -(expected * np.log(expected)).sum(), atol=1e-4)


def test_the_ends_of_the_unit_interval_pick_tokens_that_have_mass():
    logits = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]] * 2)
    token, _, _ = _draw(logits, torch.tensor([0.0, 1.0], dtype=torch.float64), SamplingSettings(1))
    assert token.tolist() == [1, 2]


def test_row_seeds_differ_in_every_part():
    seeds = {
        row_seed(0, "train", 1, "a", 0),
        row_seed(1, "train", 1, "a", 0),
        row_seed(0, "train", 2, "a", 0),
        row_seed(0, "train", 1, "b", 0),
    }
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert row_seed(0, "x") == row_seed(0, "x")
