"""Estimated against true advantages of the macro actions of one rule."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch

from marl_bench.batches import Rollout, Segmentation, TokenRewards
from marl_bench.config import PpoConfig
from marl_bench.diagnosis.monte_carlo import StateValues
from marl_bench.interfaces import PolicyBaseline
from marl_bench.macro.smdp import macro_rewards
from marl_bench.records import Prompt
from marl_bench.statistics.bootstrap import cluster_bootstrap_interval
from marl_bench.statistics.correlation import cluster_bootstrap_correlation
from marl_bench.statistics.intervals import Interval

_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class MacroAction:
    """One macro action with its two advantages.

    Attributes:
        prompt_id: Id of the prompt.
        row: Row of the rollout.
        begin: Its first token.
        end: The token behind its last.
        estimated: The advantage that training would use, before whitening.
        true: The Monte-Carlo advantage.
        noise: Sampling variance of the Monte-Carlo advantage.
    """

    prompt_id: str
    row: int
    begin: int
    end: int
    estimated: float
    true: float
    noise: float


@dataclasses.dataclass(frozen=True)
class Quality:
    """How good the advantages of a rule are, with 95 % intervals over prompts where there are several.

    Attributes:
        rule: Canonical rule text, with options if it has any.
        macro_actions: How many were compared.
        mean_length: Mean tokens of those.
        correlation: Between estimated and true advantages; None where one of them does not vary.
        ceiling: The correlation that exact estimates would show against Monte-Carlo values of this noise; None where noise is all there is.
        bias: Mean of estimated minus true advantages.
        right_sign: Share of estimated advantages that have the sign of the true one, among those macro actions whose true advantage is further
            from 0 than its standard error; None where there is none.
    """

    rule: str
    macro_actions: int
    mean_length: float
    correlation: Interval | None
    ceiling: float | None
    bias: Interval
    right_sign: Interval | None


def chosen_macros(segmentation: Segmentation, *, most: int) -> torch.Tensor:
    """Returns [B, M] bool: of each response up to `most` macro actions that have tokens, evenly spread, the first and the last among them."""
    chosen = torch.zeros_like(segmentation.macro_mask)
    for row, lengths in enumerate(segmentation.macro_lengths):
        real = (lengths > 0).nonzero().squeeze(1)
        picked = np.unique(np.linspace(0, len(real) - 1, min(most, len(real))).round().astype(np.int64))
        chosen[row, real[torch.from_numpy(picked).to(real.device)]] = True
    return chosen


def states_of(segmentation: Segmentation, chosen: torch.Tensor) -> torch.Tensor:
    """Returns [B, T] bool, the states before the first and behind the last token of the chosen macro actions (those at the end left out)."""
    begins, ends = _spans(segmentation)
    rows, width = segmentation.macro_ids.shape
    states = torch.zeros(rows, width + 1, dtype=torch.bool)
    for places in (begins, ends):
        states[chosen.nonzero()[:, 0].cpu(), places[chosen].cpu()] = True
    return states[:, :-1].to(segmentation.macro_ids.device)


def compare_advantages(
    baseline: PolicyBaseline,
    rollout: Rollout,
    segmentation: Segmentation,
    rewards: TokenRewards,
    found: StateValues,
    *,
    chosen: torch.Tensor,
    prompts: Sequence[Prompt],
) -> list[MacroAction]:
    """Returns the chosen macro actions with the baseline's advantages and the true ones.

    The true advantage of a macro action from token a to b is R + gamma^(b - a) V(b) - V(a), R the whole discounted reward of its tokens whatever
    reward the baseline uses, V the Monte-Carlo values.
    """
    ppo: PpoConfig = baseline.ppo
    estimated = baseline.advantages(rollout, segmentation, rewards).macro_advantages
    whole_rewards = macro_rewards(
        rewards.token_kl_rewards, rewards.scores, segmentation, reduction="sum", gamma=ppo.gamma
    )
    begins, ends = _spans(segmentation)
    actions = []
    for row, macro in chosen.nonzero().tolist():
        begin, end = int(begins[row, macro]), int(ends[row, macro])
        discount = ppo.gamma ** (end - begin)
        true = (
            float(whole_rewards[row, macro])
            + discount * float(found.values[row, end])
            - float(found.values[row, begin])
        )
        noise = discount**2 * float(found.variances[row, end]) + float(found.variances[row, begin])
        actions.append(MacroAction(prompts[row].id, row, begin, end, float(estimated[row, macro]), true, noise))
    return actions


def quality(rule: str, actions: Sequence[MacroAction], *, rng: np.random.Generator) -> Quality:
    """Returns how good the estimated advantages of a rule are; intervals by bootstrap over prompts with the given generator."""
    prompts = [str(action.row) for action in actions]
    estimated, true = ([getattr(action, name) for action in actions] for name in ("estimated", "true"))
    errors = [one - other for one, other in zip(estimated, true, strict=True)]
    # Where nothing is left to win or lose, what stands here is rounding.
    clear = [action for action in actions if abs(action.true) > max(math.sqrt(action.noise), _ROUNDING)]
    signs = [float((action.estimated > 0) == (action.true > 0)) for action in clear]
    return Quality(
        rule=rule,
        macro_actions=len(actions),
        mean_length=sum(action.end - action.begin for action in actions) / len(actions),
        correlation=cluster_bootstrap_correlation(estimated, true, prompts, rng=rng),
        ceiling=_ceiling(actions),
        bias=_over_prompts(errors, prompts, rng=rng),
        right_sign=_over_prompts(signs, [str(action.row) for action in clear], rng=rng) if clear else None,
    )


def _over_prompts(values: Sequence[float], prompts: Sequence[str], *, rng: np.random.Generator) -> Interval:
    mean = sum(values) / len(values)
    return cluster_bootstrap_interval(values, prompts, rng=rng) or Interval(mean, mean, mean)


def _ceiling(actions: Sequence[MacroAction]) -> float | None:
    """Returns the square root of the share of the variance of the Monte-Carlo advantages that is not their sampling variance."""
    variance = float(np.var([action.true for action in actions], ddof=1)) if len(actions) > 1 else 0.0
    if variance <= 0:
        return None
    share = 1 - sum(action.noise for action in actions) / len(actions) / variance
    return math.sqrt(share) if share > 0 else None


def _spans(segmentation: Segmentation) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns first token and token behind the last of every macro action, [B, M]."""
    ends = segmentation.macro_lengths.cumsum(dim=1)
    return ends - segmentation.macro_lengths, ends
