"""The same arithmetic as `marl_bench.macro`, one response and one macro action at a time: what the vectorised code is compared with.

Written here in the shape of the released code (ernie-research/MA-RLHF), which handles one row with Python lists of positions and slices
of tensors; nothing is copied from it. Rows of any length are handled, which the released code cannot do.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

import torch

from marl_bench.batches import Rollout, TokenRewards

RowStarts = Callable[[Rollout, int, int], list[int]]
"""From a rollout, a row and its number of tokens to the tokens that begin its macro actions."""


@dataclasses.dataclass(frozen=True)
class LoopSettings:
    """Settings of the arithmetic: summed rewards, mean values, token ratios, averages over tokens."""

    gamma: float = 1.0
    gae_lambda: float = 0.95
    clip_range: float = 0.2


@dataclasses.dataclass(frozen=True)
class Solved:
    """Advantages and returns on the tokens, [B, T], and the two losses."""

    token_advantages: torch.Tensor
    token_returns: torch.Tensor
    policy_loss: torch.Tensor
    value_loss: torch.Tensor


def every_n_tokens(n: int) -> RowStarts:
    """Returns the loop's `fixed(n)`."""
    return lambda _rollout, _row, length: list(range(0, length, n))


def above_macro_mean(rollout: Rollout, row: int, length: int) -> list[int]:
    """Returns the loop's `perplexity(rule=macro)`."""
    nll = (-rollout.token_ref_log_probs[row, :length]).tolist()
    starts, total, count = [0] if length else [], 0.0, 0
    for t, value in enumerate(nll):
        if value * count > total:
            starts.append(t)
            total, count = 0.0, 0
        total, count = total + value, count + 1
    return starts


def solve(
    rollout: Rollout,
    rewards: TokenRewards,
    new_log_probs: torch.Tensor,
    new_values: torch.Tensor,
    *,
    row_starts: RowStarts,
    settings: LoopSettings,
) -> Solved:
    """Returns advantages, returns and losses of a batch, row by row.

    Args:
        rollout: The responses.
        rewards: KL rewards and scores.
        new_log_probs: [B, T] of the policy that is updated.
        new_values: [B, T] of the critic that is updated.
        row_starts: Where the macro actions of a row begin.
        settings: The arithmetic's settings.
    """
    mask = rollout.tokens.response_mask
    advantages, returns = torch.zeros_like(new_values), torch.zeros_like(new_values)
    policy_loss, value_loss = new_values.new_zeros(()), new_values.new_zeros(())
    for row in range(mask.shape[0]):
        length = int(mask[row].sum())
        positions = [*row_starts(rollout, row, length), length]
        found = _row_advantages(rollout, rewards, row, positions, settings)
        for m, (advantage, value) in enumerate(found):
            inside = slice(positions[m], positions[m + 1])
            advantages[row, inside] = advantage
            returns[row, inside] = advantage + value
        ratio = (new_log_probs[row, :length] - rollout.token_log_probs[row, :length]).exp()
        clipped = ratio.clamp(1 - settings.clip_range, 1 + settings.clip_range)
        credit = advantages[row, :length]
        policy_loss = policy_loss - torch.minimum(ratio * credit, clipped * credit).sum()
        value_loss = value_loss + 0.5 * (new_values[row, :length] - returns[row, :length]).square().sum()
    tokens = max(int(mask.sum()), 1)
    return Solved(advantages, returns, policy_loss / tokens, value_loss / tokens)


def _row_advantages(
    rollout: Rollout, rewards: TokenRewards, row: int, positions: Sequence[int], settings: LoopSettings
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Returns (advantage, value) of each macro action of a row."""
    macro_rewards, macro_values = [], []
    for begin, end in itertools.pairwise(positions):
        reward = rewards.token_kl_rewards[row, begin:end]
        if settings.gamma != 1:
            reward = reward * settings.gamma ** torch.arange(end - begin)
        macro_rewards.append(reward.sum())
        macro_values.append(rollout.token_values[row, begin:end].mean())
    if macro_rewards:
        macro_rewards[-1] = macro_rewards[-1] + rewards.scores[row] * math.pow(
            settings.gamma, positions[-1] - positions[-2] - 1
        )
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    next_value, next_advantage = torch.zeros(()), torch.zeros(())
    for m in reversed(range(len(macro_rewards))):
        discount = settings.gamma ** (positions[m + 1] - positions[m])
        delta = macro_rewards[m] + discount * next_value - macro_values[m]
        next_advantage = delta + discount * settings.gae_lambda * next_advantage
        next_value = macro_values[m]
        found.append((next_advantage, next_value))
    return found[::-1]
