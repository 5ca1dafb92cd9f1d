"""The recipe of the README for other trainers, as it stands there."""

import re
from pathlib import Path

import pytest
import torch
from marl_bench_baselines.macro_ppo import MacroPpo

from marl_bench.batches import TokenRewards
from marl_bench.config import PpoConfig
from marl_bench.macro.segmentation import to_tokens
from marl_bench.macro.termination import EveryNTokens

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def macro_advantages():
    [code] = [
        block
        for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
        if "def macro_advantages" in block
    ]
    names = {}
    exec(code, names)
    return names["macro_advantages"]


def test_it_gives_the_advantages_of_macro_ppo(building, macro_advantages):
    rollout = building.rollout([building.random_row(seed, length) for seed, length in enumerate((12, 1, 7))], padding=2)
    mask = rollout.tokens.response_mask
    kl_rewards = torch.where(mask, -0.1 * rollout.token_log_probs, 0)
    scores = torch.tensor([1.0, -2.0, 3.0])
    baseline = MacroPpo(EveryNTokens(5), PpoConfig())
    parts = baseline.segment(rollout)
    expected = baseline.advantages(rollout, parts, TokenRewards(kl_rewards, scores))
    last = mask & (mask.cumsum(dim=1) == mask.sum(dim=1, keepdim=True))
    rewards = kl_rewards + torch.where(last, scores.unsqueeze(1), 0)
    found = macro_advantages(rewards, rollout.token_values, mask)
    for each, macro in zip(found, (expected.macro_advantages, expected.macro_returns), strict=True):
        torch.testing.assert_close(each, to_tokens(macro, parts.macro_ids), atol=1e-6, rtol=1e-5)


def test_what_stands_before_the_response_changes_nothing(building, macro_advantages):
    rollout = building.rollout([building.random_row(1, 9), building.random_row(2, 4)])
    mask, values = rollout.tokens.response_mask, rollout.token_values
    rewards = torch.where(mask, rollout.token_log_probs, 0)
    plain = macro_advantages(rewards, values, mask)
    shifted = macro_advantages(*(torch.nn.functional.pad(each, (3, 0)) for each in (rewards, values, mask)))
    for each, other in zip(plain, shifted, strict=True):
        torch.testing.assert_close(other[:, 3:], each)
