"""Estimated against true advantages, by hand."""

import numpy as np
import pytest
import torch
from marl_bench_baselines.macro_ppo import MacroPpo

from marl_bench.batches import TokenRewards
from marl_bench.config import PpoConfig
from marl_bench.diagnosis.advantages import MacroAction, chosen_macros, compare_advantages, quality, states_of
from marl_bench.diagnosis.monte_carlo import StateValues
from marl_bench.macro import synthetic
from marl_bench.macro.termination import EveryNTokens
from marl_bench.records import Prompt


@pytest.fixture
def seven():
    """One response of seven tokens with values .1 to .7, and the same numbers as its true values, each of variance .01."""
    values = [0.1 * t for t in range(1, 8)]
    rollout = synthetic.rollout([synthetic.row(7, values=values)])
    truth = StateValues(torch.tensor([[*values, 0.0]]).double(), torch.tensor([[0.01] * 7 + [0.0]]).double(), 0)
    rewards = TokenRewards(torch.full((1, 7), -0.01), torch.tensor([1.0]))
    return rollout, rewards, truth


def _compare(seven, *, n, **ppo):
    rollout, rewards, truth = seven
    baseline = MacroPpo(EveryNTokens(n), PpoConfig(**ppo))
    parts = baseline.segment(rollout)
    chosen = chosen_macros(parts, most=10)
    return compare_advantages(baseline, rollout, parts, rewards, truth, chosen=chosen, prompts=[Prompt("p", "")])


def test_true_advantages_by_hand(seven):
    found = _compare(seven, n=3)
    assert [(each.begin, each.end) for each in found] == [(0, 3), (3, 6), (6, 7)]
    # -.03 + .4 - .1;  -.03 + .7 - .4;  -.01 + 1 + 0 - .7
    assert [each.true for each in found] == pytest.approx([0.27, 0.27, 0.29], abs=1e-6)
    assert [each.noise for each in found] == pytest.approx([0.02, 0.02, 0.01])


def test_true_advantages_are_discounted_by_tokens(seven):
    [first, *_, last] = _compare(seven, n=3, gamma=0.5)
    # -.01 (1 + .5 + .25) + .125 * .4 - .1; one token: nothing to discount.
    assert first.true == pytest.approx(-0.0675, abs=1e-6)
    assert last.true == pytest.approx(0.29, abs=1e-6)


def test_with_true_values_of_the_first_state_and_lambda_zero_estimates_are_exact(seven):
    for n in (1, 2, 3, 7):
        found = _compare(seven, n=n, gae_lambda=0.0, value_pooling="first", gamma=0.9)
        assert [each.estimated for each in found] == pytest.approx([each.true for each in found], abs=1e-6)


def test_averaged_kl_rewards_change_the_estimate_and_not_the_truth(seven):
    summed, averaged = (_compare(seven, n=7, macro_reward=each, value_pooling="first")[0] for each in ("sum", "mean"))
    assert averaged.true == summed.true
    assert averaged.estimated - summed.estimated == pytest.approx(0.06, abs=1e-6)  # -.01 in place of -.07


def test_an_empty_macro_action_is_never_chosen(seven):
    found = _compare(seven, n=3, method="official_code")
    assert [(each.begin, each.end) for each in found] == [(0, 3), (3, 6), (6, 7)]


def test_chosen_macro_actions_are_evenly_spread_with_both_ends():
    rollout = synthetic.rollout([synthetic.row(9), synthetic.row(2), synthetic.row(0)])
    chosen = chosen_macros(EveryNTokens(1).segment(rollout), most=3)
    assert [row.nonzero().squeeze(1).tolist() for row in chosen] == [[0, 4, 8], [0, 1], []]


def test_states_are_those_at_both_ends_of_the_chosen_macro_actions():
    parts = EveryNTokens(3).segment(synthetic.rollout([synthetic.row(7), synthetic.row(4)]))
    chosen = torch.tensor([[True, False, True], [False, True, False]])
    states = states_of(parts, chosen)
    # 0-3 and 6-7 (7 is the end of the response and of the columns); 3-4: the state behind the last token stands on padding.
    assert [row.nonzero().squeeze(1).tolist() for row in states] == [[0, 3, 6], [3, 4]]


def _action(row, estimated, true, noise=0.0):
    return MacroAction(f"p{row}", row, 0, 2, estimated, true, noise)


def test_quality_by_hand():
    # Estimates are the truth plus one, and have the wrong sign once.
    actions = [_action(row, true + 1.0, true, noise=0.16) for row, true in enumerate((-3.0, -0.5, 1.0, 2.5))]
    found = quality("r", actions, rng=np.random.default_rng(0))
    assert found.correlation.estimate == pytest.approx(1)
    assert found.bias.estimate == pytest.approx(1)
    assert found.right_sign.estimate == pytest.approx(0.75)
    # Truth -3, -.5, 1, 2.5 has mean 0 and variance (9 + .25 + 1 + 6.25) / 3 = 5.5.
    assert found.ceiling == pytest.approx((1 - 0.16 / 5.5) ** 0.5)
    assert (found.macro_actions, found.mean_length) == (4, 2)


def test_signs_are_counted_where_the_truth_has_one():
    # The second is no further from 0 than its standard error, the third has lost all there was to lose.
    actions = [_action(0, 1.0, 2.0, noise=1.0), _action(1, -1.0, 0.5, noise=0.25), _action(2, -3.0, 0.0)]
    assert quality("r", actions, rng=np.random.default_rng(0)).right_sign.estimate == 1
    assert quality("r", actions[1:], rng=np.random.default_rng(0)).right_sign is None


def test_where_noise_is_all_there_is_no_ceiling():
    actions = [_action(row, 0.1 * row, true, noise=9.0) for row, true in enumerate((-1.0, 1.0, 0.5))]
    assert quality("r", actions, rng=np.random.default_rng(0)).ceiling is None
