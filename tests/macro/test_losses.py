"""Losses of policy and critic: worked numbers, and their averages over micro-batches."""

import math

import pytest
import torch
from marl_bench_baselines.macro_ppo import MacroPpo

from marl_bench.batches import Experience, Segmentation, StepCounts, TokenOutputs
from marl_bench.config import PpoConfig
from marl_bench.macro.losses import clipped_policy_loss, clipped_value_loss, log_ratios, loss_weights
from marl_bench.macro.termination import EveryNTokens

QUARTERS = torch.full((1, 4), 0.25)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("token", [0.1, 0.2, 0.3, -0.4, 0.0]),
        ("macro", [0.6, 0.6, 0.6, -0.4, 0.0]),
        ("macro_geometric", [0.2, 0.2, 0.2, -0.4, 0.0]),
    ],
)
def test_log_ratios(building, level, expected):
    parts = building.segmentation([[3, 1]], padding=1)
    old = torch.tensor([[-1.0, -1.0, -1.0, -1.0, 7.0]])  # what stands on padding is not read
    new = torch.tensor([[-0.9, -0.8, -0.7, -1.4, 9.0]])
    assert log_ratios(new, old, parts, level=level)[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("average", "expected"),
    [
        # Five tokens, three macro actions, two responses.
        ("token", [[1 / 5] * 4, [1 / 5, 0, 0, 0]]),
        ("macro", [[1 / 9, 1 / 9, 1 / 9, 1 / 3], [1 / 3, 0, 0, 0]]),
        ("sequence", [[1 / 8] * 4, [1 / 2, 0, 0, 0]]),
    ],
)
def test_loss_weights(building, average, expected):
    parts = building.segmentation([[3, 1], [1]])
    counts = StepCounts(tokens=5, macros=3, responses=2)
    weights = loss_weights(parts, average, counts, dtype=torch.float64)
    assert weights.tolist() == [pytest.approx(row) for row in expected]
    assert weights.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("average", ["token", "macro", "sequence"])
def test_micro_batches_of_unequal_size_sum_to_the_whole(building, average):
    counts = StepCounts(tokens=5, macros=3, responses=2)
    whole = loss_weights(building.segmentation([[3, 1], [1]]), average, counts, dtype=torch.float64)
    first = loss_weights(building.segmentation([[3, 1]]), average, counts, dtype=torch.float64)
    second = loss_weights(building.segmentation([[1]]), average, counts, dtype=torch.float64)
    assert torch.equal(whole[0], first[0])
    assert torch.equal(whole[1, :1], second[0])


def test_clipped_policy_loss():
    # Ratios 1.5, .5, .5, 1.5 with advantages 2, -1, 1, -1 and clip .2: min(3, 2.4), min(-.5, -.8), min(.5, .8), min(-1.5, -1.2).
    log_ratio = torch.tensor([[math.log(1.5), math.log(0.5), math.log(0.5), math.log(1.5)]])
    loss, clipped = clipped_policy_loss(log_ratio, torch.tensor([[2.0, -1.0, 1.0, -1.0]]), QUARTERS, clip_range=0.2)
    assert loss.item() == pytest.approx(-(2.4 - 0.8 + 0.5 - 1.5) / 4)
    assert clipped.tolist() == [[True, True, False, False]]


@pytest.mark.parametrize(
    ("clip_range", "expected"),
    [
        # Errors 1 - 3 and 0: half of (4 + 0) / 2.
        (0.0, 1.0),
        # The value may move from 0 to .5 only: (.5 - 3)^2 = 6.25 is worse than 4.
        (0.5, 0.5 * 6.25 / 2),
    ],
)
def test_value_loss(clip_range, expected):
    values, old, returns = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 2.0]]), torch.tensor([[3.0, 2.0]])
    found = clipped_value_loss(values, old, returns, torch.full((1, 2), 0.5), clip_range=clip_range)
    assert found.item() == pytest.approx(expected)


def test_value_clip_never_makes_the_loss_smaller():
    # From 0 to 1 with return 0: the clipped value .5 would be nearer; the worse one counts.
    one = torch.ones(1, 1)
    found = clipped_value_loss(one, torch.zeros(1, 1), torch.zeros(1, 1), one, clip_range=0.5)
    assert found.item() == pytest.approx(0.5)


def _experience(
    building, parts: Segmentation, *, old_log_probs=0.0, old_values=0.0, advantages=1.0, returns=1.0
) -> Experience:
    shape = parts.macro_ids.shape
    real = parts.macro_ids >= 0
    lengths = real.sum(dim=1).tolist()
    return Experience(
        tokens=building.rollout([building.row(length) for length in lengths]).tokens,
        segmentation=parts,
        token_log_probs=torch.full(shape, old_log_probs) * real,
        token_ref_log_probs=torch.zeros(shape),
        token_values=torch.full(shape, old_values) * real,
        token_advantages=torch.full(shape, advantages) * real,
        token_returns=torch.full(shape, returns) * real,
    )


def _outputs(log_probs, values, *, counts, kl_coef=0.0) -> TokenOutputs:
    return TokenOutputs(torch.tensor(log_probs), torch.tensor(values), counts, kl_coef)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        # Values 1 and 3 against 1: half of (0 + 4) / 2.
        ("token", 1.0),
        # Their mean 2 against 1 on both tokens: half of (1 + 1) / 2.
        ("macro", 0.5),
    ],
)
def test_critic_target(building, target, expected):
    baseline = MacroPpo(EveryNTokens(2), PpoConfig(critic_target=target))
    minibatch = _experience(building, building.segmentation([[2]]))
    outputs = _outputs([[0.0, 0.0]], [[1.0, 3.0]], counts=StepCounts(2, 1, 1))
    assert baseline.loss(minibatch, outputs).critic.item() == pytest.approx(expected)


def test_kl_as_a_term_of_the_loss(building):
    # Ratio 1, advantage 1: the surrogate is -1. k2 of log-probs .2 and .4 against 0: (.02 + .08) / 2 = .05, times .5.
    baseline = MacroPpo(EveryNTokens(1), PpoConfig(kl_in="loss", kl_estimator="k2"))
    minibatch = _experience(building, building.segmentation([[1, 1]]))
    minibatch = Experience(**{**vars(minibatch), "token_log_probs": torch.tensor([[0.2, 0.4]])})
    terms = baseline.loss(minibatch, _outputs([[0.2, 0.4]], [[0.0, 0.0]], counts=StepCounts(2, 2, 1), kl_coef=0.5))
    assert terms.policy.item() == pytest.approx(-1 + 0.5 * 0.05)


def test_figures_add_up_over_tokens(building):
    # Log-ratio .5 on one of two tokens: exp(.5) is outside .2, the other is not; k3 of new against old: exp(.5) - 1 - .5.
    baseline = MacroPpo(EveryNTokens(1), PpoConfig())
    minibatch = _experience(building, building.segmentation([[1, 1]], padding=0))
    terms = baseline.loss(minibatch, _outputs([[0.5, 0.0]], [[0.0, 0.0]], counts=StepCounts(2, 2, 1)))
    assert terms.sums["clip_fraction"].item() == 1
    assert terms.sums["approximate_kl"].item() == pytest.approx(math.exp(0.5) - 1.5)


def test_gradients_reach_every_token_of_a_macro_ratio(building):
    # d/dx of -exp(x1 + x2 + x3) * 1 at 0, each token with weight 1/3: -1 for each of the three.
    parts = building.segmentation([[3]], padding=1)
    new = torch.zeros(1, 4, requires_grad=True)
    weights = torch.tensor([[1 / 3, 1 / 3, 1 / 3, 0.0]])
    loss, _ = clipped_policy_loss(
        log_ratios(new, torch.zeros(1, 4), parts, level="macro"), torch.ones(1, 4), weights, clip_range=0.2
    )
    loss.backward()
    assert new.grad is not None
    assert new.grad[0].tolist() == pytest.approx([-1.0, -1.0, -1.0, 0.0])
