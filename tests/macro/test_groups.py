"""Advantages from groups of responses, by worked numbers."""

import math

import pytest
import torch

from marl_bench.macro import synthetic
from marl_bench.macro.groups import leave_one_out, spread_advantages, standardised
from marl_bench.macro.termination import EveryNTokens


def test_a_return_is_held_against_the_mean_of_the_others_of_its_prompt():
    found = leave_one_out(torch.tensor([1.0, 2.0, 6.0, 5.0]), [0, 0, 0, 1])
    assert found.tolist() == [1 - 4, 2 - 3.5, 6 - 1.5, 0]  # the last is alone


def test_groups_need_not_stand_together():
    assert leave_one_out(torch.tensor([1.0, 10.0, 3.0, 30.0]), [7, 2, 7, 2]).tolist() == [-2, -20, 2, 20]


def test_standardised_returns_have_the_spread_of_their_prompt_as_unit():
    found = standardised(torch.tensor([1.0, 2.0, 6.0]), [0, 0, 0])
    deviation = math.sqrt((4 + 1 + 9) / 2) + 1e-4
    assert found.tolist() == pytest.approx([-2 / deviation, -1 / deviation, 3 / deviation])


def test_equal_returns_and_a_response_alone_give_nothing():
    assert standardised(torch.tensor([2.0, 2.0, 5.0]), [0, 0, 1]).tolist() == [0, 0, 0]


def test_an_advantage_fades_with_the_macro_actions_behind():
    rollout = synthetic.rollout([synthetic.row(5), synthetic.row(2), synthetic.row(0)])
    parts = EveryNTokens(2).segment(rollout)
    found = spread_advantages(torch.tensor([1.0, -2.0, 3.0]), parts, gae_lambda=0.5)
    assert found.macro_advantages.tolist() == [[0.25, 0.5, 1.0], [-2.0, 0, 0], [0, 0, 0]]
