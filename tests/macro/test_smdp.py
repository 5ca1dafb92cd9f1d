"""Rewards, values and advantages of macro actions: worked numbers."""

import math

import pytest
import torch

from marl_bench.config import PpoConfig
from marl_bench.macro.smdp import (
    generalized_advantages,
    kl_penalty,
    macro_rewards,
    macro_values,
    pooling_weights,
    whiten,
)
from marl_bench.training.experience import token_rewards

KL_REWARDS = torch.tensor([[-1.0, -2.0, -4.0, -8.0, -16.0, 0.0]])
SCORE = torch.tensor([10.0])


@pytest.fixture
def three_and_two(building):
    return building.segmentation([[3, 2]], padding=1)


@pytest.mark.parametrize(
    ("estimator", "expected"),
    # p = 0.5, p_ref = 0.25: d = ln 2. k1 = ln 2; k2 = (ln 2)^2 / 2; k3 = exp(-ln 2) - 1 + ln 2 = -1/2 + ln 2.
    [("k1", math.log(2)), ("k2", math.log(2) ** 2 / 2), ("k3", math.log(2) - 0.5)],
)
def test_kl_estimators(estimator, expected):
    found = kl_penalty(torch.tensor([math.log(0.5)]), torch.tensor([math.log(0.25)]), estimator)
    assert found.tolist() == pytest.approx([expected])


@pytest.mark.parametrize("estimator", ["k2", "k3"])
def test_k2_and_k3_are_never_negative(estimator):
    difference = torch.linspace(-3, 3, 101)
    assert (kl_penalty(difference, torch.zeros(101), estimator) >= 0).all()


@pytest.mark.parametrize(
    ("reduction", "gamma", "expected"),
    [
        # -1 - 2 - 4; -8 - 16 + 10.
        ("sum", 1.0, [-7.0, -14.0]),
        # -1 + .5 * -2 + .25 * -4; -8 + .5 * (-16 + 10).
        ("sum", 0.5, [-3.0, -11.0]),
        # -7 / 3; (-8 - 16) / 2 + 10: the score is not averaged.
        ("mean", 1.0, [-7 / 3, -2.0]),
        # The released code does not discount inside a macro action.
        ("mean", 0.5, [-7 / 3, -2.0]),
    ],
)
def test_macro_rewards(three_and_two, reduction, gamma, expected):
    found = macro_rewards(KL_REWARDS, SCORE, three_and_two, reduction=reduction, gamma=gamma)
    assert found[0].tolist() == pytest.approx(expected)


def test_an_empty_macro_action_has_reward_and_value_zero(building):
    parts = building.segmentation([[2, 0, 1]])
    rewards = macro_rewards(torch.tensor([[-1.0, -2.0, -3.0]]), SCORE, parts, reduction="mean", gamma=1.0)
    assert rewards.tolist() == [[-1.5, 0.0, 7.0]]
    assert macro_values(torch.tensor([[1.0, 2.0, 3.0]]), parts, pooling="equal").tolist() == [[1.5, 0.0, 3.0]]


def test_the_score_of_each_row_stands_on_its_own_last_token(building):
    # The released code reads the place of the last token from row 0.
    parts = building.segmentation([[2, 2], [1], []])
    rewards = macro_rewards(torch.zeros(3, 4), torch.tensor([1.0, 2.0, 3.0]), parts, reduction="sum", gamma=1.0)
    assert rewards.tolist() == [[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("pooling", "expected"),
    # Values 1, 2, 6 and a single 4.
    [
        ("equal", [3.0, 4.0]),
        ("last", [6.0, 4.0]),
        ("first", [1.0, 4.0]),
        # Weights 1/3, 1/2, 1 over their sum 11/6: 2/11, 3/11, 6/11; (2 + 6 + 36) / 11.
        ("position_late", [4.0, 4.0]),
        # Weights 1, 1/2, 1/3: 6/11, 3/11, 2/11; (6 + 6 + 12) / 11.
        ("position_early", [24 / 11, 4.0]),
    ],
)
def test_value_pooling(building, pooling, expected):
    parts = building.segmentation([[3, 1]], padding=1)
    values = torch.tensor([[1.0, 2.0, 6.0, 4.0, 0.0]])
    assert macro_values(values, parts, pooling=pooling)[0].tolist() == pytest.approx(expected)
    weights = pooling_weights(parts, pooling, dtype=torch.float64)
    assert weights[0, :3].sum().item() == pytest.approx(1)
    assert weights[0, 3:].tolist() == [1.0, 0.0]


def _advantages(parts, **settings):
    rewards, values = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 1.0]])
    settings = {"gamma": 1.0, "gae_lambda": 0.5, **settings}
    return generalized_advantages(rewards, values, parts, **settings)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # delta = 1 + 1 - .5 = 1.5 and 2 - 1 = 1; A_1 = 1.5 + .5 * 1.
        ({}, [2.0, 1.0]),
        # Per token: lambda^3 = .125; A_1 = 1.5 + .125.
        ({"lambda_per": "token"}, [1.625, 1.0]),
        # gamma^3 = .125: delta_1 = 1 + .125 - .5 = .625; A_1 = .625 + .125 * .5 * 1.
        ({"gamma": 0.5}, [0.6875, 1.0]),
        # A_1 = .625 + .125 * .125 * 1.
        ({"gamma": 0.5, "lambda_per": "token"}, [0.640625, 1.0]),
        # V behind the end is 4 and gamma^2 = .25: delta_2 = 2 + 1 - 1 = 2; A_1 = .625 + .0625 * 2.
        ({"gamma": 0.5, "end_values": torch.tensor([4.0])}, [0.75, 2.0]),
        ({"gae_lambda": 0.0}, [1.5, 1.0]),
    ],
)
def test_advantages_and_returns(three_and_two, settings, expected):
    found = _advantages(three_and_two, **settings)
    assert found.macro_advantages[0].tolist() == pytest.approx(expected)
    assert found.macro_returns[0].tolist() == pytest.approx([expected[0] + 0.5, expected[1] + 1.0])


def test_bootstrapping_reaches_only_rows_that_were_cut(building):
    parts = building.segmentation([[1], [1]])
    rewards, values = torch.zeros(2, 1), torch.zeros(2, 1)
    found = generalized_advantages(
        rewards, values, parts, gamma=1.0, gae_lambda=1.0, end_values=torch.tensor([3.0, 0.0])
    )
    assert found.macro_advantages.tolist() == [[3.0], [0.0]]


def test_an_empty_macro_action_counts_for_lambda_but_not_for_gamma(building):
    # delta_3 = 1; the empty one: 0 + gamma^0 * 0 - 0 + lambda * 1 = .5; the first: gamma^2 * (0 + .5 * .5) = .0625 with gamma .5.
    parts = building.segmentation([[2, 0, 1]])
    rewards = torch.tensor([[0.0, 0.0, 1.0]])
    found = generalized_advantages(rewards, torch.zeros(1, 3), parts, gamma=0.5, gae_lambda=0.5)
    assert found.macro_advantages[0].tolist() == pytest.approx([0.0625, 0.5, 1.0])


def test_whitening_counts_real_tokens_only():
    # 1, 3, 5, 7: mean 4, variance (9 + 1 + 1 + 9) / 4 = 5.
    mask = torch.tensor([[True, True, False], [True, True, False]])
    found = whiten(torch.tensor([[1.0, 3.0, 50.0], [5.0, 7.0, 50.0]]), mask)
    root = math.sqrt(5)
    assert found.flatten().tolist() == pytest.approx([-3 / root, -1 / root, 0, 1 / root, 3 / root, 0])


def test_whitening_of_nothing_and_of_equal_numbers_is_zero():
    assert whiten(torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool)).tolist() == [[0.0] * 3] * 2
    assert whiten(torch.full((2, 3), 0.5), torch.ones(2, 3, dtype=torch.bool)).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize(
    ("options", "scores", "kl_rewards"),
    [
        # -.5 * (log p - log p_ref) = -.5 * -1.
        ({}, [4.0, -3.0], 0.5),
        # d = -1: k2 = .5, k3 = e - 2.
        ({"kl_estimator": "k2"}, [4.0, -3.0], -0.25),
        ({"kl_estimator": "k3"}, [4.0, -3.0], -0.5 * (math.e - 2)),
        ({"kl_in": "loss"}, [4.0, -3.0], 0.0),
        ({"score_clip": 2.5}, [2.5, -2.5], 0.5),
        ({"method": "official_code"}, [2.5, -2.5], 0.5),
        # Scaled by 2, then clipped, then the penalty of the response without EOS.
        ({"score_scale": "reference_std", "score_clip": 1.75, "missing_eos_penalty": 1.0}, [1.75 - 1, -1.5 - 1], 0.5),
    ],
)
def test_token_rewards(building, options, scores, kl_rewards):
    rows = [building.row(1, log_probs=[-2.0], ref_log_probs=[-1.0]) for _ in range(2)]
    rewards = token_rewards(
        building.rollout(rows), torch.tensor([4.0, -3.0]), ppo=PpoConfig(**options), kl_coef=0.5, score_std=2.0
    )
    assert rewards.scores.tolist() == pytest.approx(scores)
    assert rewards.token_kl_rewards[:, 0].tolist() == pytest.approx([kl_rewards] * 2, rel=1e-5)
