"""The golden vectors of the method: one response of seven tokens, before whitening, to the four digits in which they are written."""

import math

import pytest
import torch
from marl_bench_baselines.macro_ppo import MacroPpo

from marl_bench.config import PpoConfig
from marl_bench.macro.diagnostics import macro_figures
from marl_bench.macro.smdp import macro_rewards, macro_values
from marl_bench.macro.termination import EveryNTokens
from marl_bench.training.experience import token_rewards

BETA, SCORE = 0.05, 1.0
WHOLE = math.inf


def _solve(building, *, n, method):
    """Returns V, R, A and return of every macro action under a preset."""
    ppo = PpoConfig(method=method, kl_coef=BETA)
    values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    rollout = building.rollout([building.row(7, values=values, log_probs=[0.01 * t for t in range(1, 8)])], padding=2)
    baseline = MacroPpo(EveryNTokens(n), ppo)
    parts = baseline.segment(rollout)
    rewards = token_rewards(rollout, torch.tensor([SCORE]), ppo=ppo, kl_coef=BETA, score_std=1.0)
    found = baseline.advantages(rollout, parts, rewards)
    options = ppo.method_options()
    return {
        "V": macro_values(rollout.token_values, parts, pooling=options.value_pooling)[0].tolist(),
        "R": macro_rewards(rewards.token_kl_rewards, rewards.scores, parts, reduction=options.macro_reward, gamma=1)[
            0
        ].tolist(),
        "A": found.macro_advantages[0].tolist(),
        "return": found.macro_returns[0].tolist(),
    }


def _four_digits(numbers):
    return pytest.approx(numbers, abs=5.1e-5)


@pytest.mark.parametrize(
    ("n", "advantages"),
    [
        (1, [0.7389, 0.6730, 0.6043, 0.5324, 0.4572, 0.3787, 0.2965]),
        (3, [0.7475, 0.4742, 0.2965]),
        (5, [0.6688, 0.3435]),
        (WHOLE, [0.5860]),
    ],
)
@pytest.mark.parametrize("method", ["corrected", "paper"])
def test_summed_rewards(building, method, n, advantages):
    assert _solve(building, n=n, method=method)["A"] == _four_digits(advantages)


def test_summed_rewards_and_pooled_values_of_three_tokens(building):
    solved = _solve(building, n=3, method="corrected")
    # R: -.0005 - .0010 - .0015; -.0020 - .0025 - .0030; -.0035 + 1.
    assert solved["R"] == _four_digits([-0.0030, -0.0075, 0.9965])
    assert solved["V"] == _four_digits([0.2, 0.5, 0.7])
    assert solved["return"] == _four_digits([0.9475, 0.9742, 0.9965])


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (
            1,
            {
                "V": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0, 0.7],
                "A": [0.7009, 0.6331, 0.5622, 0.4881, 0.4106, 0.3296, 0.9817, 0.2965],
            },
        ),
        (
            3,
            {
                "V": [0.2, 0.5, 0, 0.7],
                "R": [-0.0010, -0.0025, 0, 0.9965],
                "A": [0.7076, 0.4301, 0.9817, 0.2965],
                "return": [0.9076, 0.9301, 0.9817, 0.9965],
            },
        ),
        (5, {"V": [0.3, 0.6, 0.7], "R": [-0.0015, -0.0030, 0.9965], "A": [0.6582, 0.3787, 0.2965]}),
        (WHOLE, {"V": [0.35, 0.7], "A": [0.6299, 0.2965]}),
    ],
)
def test_released_arithmetic_with_its_empty_macro_action(building, n, expected):
    solved = _solve(building, n=n, method="official_code")
    for name, numbers in expected.items():
        assert solved[name] == _four_digits(numbers), name


@pytest.mark.parametrize("length", [1, 2, 4, 5, 6, 7, 11])
@pytest.mark.parametrize("n", [1, 3, 5, 10])
def test_the_empty_macro_action_appears_exactly_where_n_divides_all_but_the_last_token(building, length, n):
    baseline = MacroPpo(EveryNTokens(n), PpoConfig(method="official_code"))
    lengths = baseline.segment(building.rollout([building.row(length)])).macro_lengths[0].tolist()
    assert (0 in lengths) == ((length - 1) % n == 0)
    assert lengths[-1] == 1


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 9, 10, 11, 100])
@pytest.mark.parametrize("n", [1, 3, 5, 10, WHOLE])
def test_fixed_counts_are_the_ceiling_of_length_over_n(building, length, n):
    parts = EveryNTokens(n).segment(building.rollout([building.row(length)]))
    assert int(parts.macro_mask.sum()) == (1 if n == WHOLE else math.ceil(length / n))


@pytest.mark.parametrize(("n", "share"), [(1, 0.0062), (3, 0.184), (5, 0.377), (10, 0.630)])
def test_share_of_the_terminal_delta_that_reaches_the_first_macro_action(building, n, share):
    # lambda^(M - 1) at T = 100: .95^99, .95^33, .95^19, .95^9.
    rollout = building.rollout([building.row(100)])
    baseline = MacroPpo(EveryNTokens(n), PpoConfig())
    parts = baseline.segment(rollout)
    rewards = token_rewards(rollout, torch.tensor([SCORE]), ppo=baseline.ppo, kl_coef=BETA, score_std=1.0)
    found = baseline.advantages(rollout, parts, rewards)
    # All values and KL rewards are 0, so the only delta is the terminal one, 1.
    assert found.macro_advantages[0, 0].item() == pytest.approx(share, rel=1e-2)
    figures = macro_figures(rollout, parts, found, gamma=1.0, gae_lambda=0.95, lambda_per="macro")
    assert figures["first_macro_credit"] == pytest.approx(share, rel=1e-2)
