"""The vectorised method against a loop over rows, on the same random tensors."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence

import torch

from marl_bench.batches import Rollout, StepCounts, TokenRewards, Tokens
from marl_bench.bench.clock import clock
from marl_bench.bench.row_loop import LoopSettings, RowStarts, Solved, above_macro_mean, every_n_tokens, solve
from marl_bench.errors import MarlBenchError
from marl_bench.interfaces import TerminationRule
from marl_bench.macro.losses import clipped_policy_loss, clipped_value_loss, log_ratios, loss_weights
from marl_bench.macro.segmentation import to_tokens
from marl_bench.macro.smdp import generalized_advantages, macro_rewards, macro_values

LOOPS: Mapping[str, RowStarts] = {
    "fixed(n=5)": every_n_tokens(5),
    "fixed(n=10)": every_n_tokens(10),
    "perplexity(rule=macro)": above_macro_mean,
}
"""Rules for which there is a loop to compare with."""

LOOP_REPEATS = 5


@dataclasses.dataclass(frozen=True)
class LoopComparison:
    """The vectorised method against the loop, on the same tensors.

    Attributes:
        rule: Canonical rule text.
        rows: B.
        tokens: T; responses have between T/2 and T tokens.
        loop_seconds: Of each repeat.
        vectorised_seconds: Of each repeat.
    """

    rule: str
    rows: int
    tokens: int
    loop_seconds: Sequence[float]
    vectorised_seconds: Sequence[float]

    @property
    def ratio(self) -> float:
        """How many times as long the loop takes: median of the repeats over median of the repeats."""
        return statistics.median(self.loop_seconds) / statistics.median(self.vectorised_seconds)


def compare_with_loop(
    rule: TerminationRule, *, name: str, rows: int, tokens: int, device: torch.device, repeats: int = LOOP_REPEATS
) -> LoopComparison:
    """Times both on random responses, after checking that they give the same results.

    Raises:
        MarlBenchError: They do not.
    """
    batch = random_batch(rows=rows, tokens=tokens, device=device)
    settings = LoopSettings()

    def loop() -> Solved:
        return solve(*batch, row_starts=LOOPS[name], settings=settings)

    def vectorised() -> Solved:
        return solve_vectorised(*batch, rule=rule, settings=settings)

    with torch.no_grad():
        _check_same(loop(), vectorised(), name=name)
        seconds: dict[Callable[[], Solved], list[float]] = {loop: [], vectorised: []}
        for _ in range(repeats):
            for timed, found in seconds.items():
                began = clock(device)
                timed()
                found.append(clock(device) - began)
    return LoopComparison(name, rows, tokens, seconds[loop], seconds[vectorised])


def solve_vectorised(
    rollout: Rollout,
    rewards: TokenRewards,
    new_log_probs: torch.Tensor,
    new_values: torch.Tensor,
    *,
    rule: TerminationRule,
    settings: LoopSettings,
) -> Solved:
    """Returns what `row_loop.solve` returns, with the functions of `marl_bench.macro`."""
    parts = rule.segment(rollout)
    found = generalized_advantages(
        macro_rewards(rewards.token_kl_rewards, rewards.scores, parts, reduction="sum", gamma=settings.gamma),
        macro_values(rollout.token_values, parts, pooling="equal"),
        parts,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
    )
    advantages = to_tokens(found.macro_advantages, parts.macro_ids)
    returns = to_tokens(found.macro_returns, parts.macro_ids)
    counts = StepCounts(int(rollout.tokens.response_mask.sum()), int(parts.macro_mask.sum()), len(rollout.tokens))
    weights = loss_weights(parts, "token", counts, dtype=new_values.dtype)
    ratios = log_ratios(new_log_probs, rollout.token_log_probs, parts, level="token")
    policy_loss, _ = clipped_policy_loss(ratios, advantages, weights, clip_range=settings.clip_range)
    value_loss = clipped_value_loss(new_values, rollout.token_values, returns, weights, clip_range=0.0)
    return Solved(advantages, returns, policy_loss, value_loss)


def random_batch(
    *, rows: int, tokens: int, device: torch.device
) -> tuple[Rollout, TokenRewards, torch.Tensor, torch.Tensor]:
    """Returns a rollout of random responses of T/2 to T tokens, rewards, and the updated models' log-probs and values."""
    draw = torch.Generator().manual_seed(0)
    lengths = torch.randint(max(tokens // 2, 1), tokens + 1, (rows, 1), generator=draw)
    mask = torch.arange(tokens) < lengths

    def normal(scale: float) -> torch.Tensor:
        return torch.where(mask, scale * torch.randn(rows, tokens, generator=draw), 0).to(device)

    def log_probs() -> torch.Tensor:
        return torch.where(mask, -2 * torch.rand(rows, tokens, generator=draw), 0).to(device)

    old, values = log_probs(), normal(1.0)
    prompt = torch.zeros(rows, 1, dtype=torch.int64)
    ids = torch.zeros(rows, tokens, dtype=torch.int64)
    finished = torch.ones(rows, dtype=torch.bool)
    parts = (prompt, torch.ones_like(prompt, dtype=torch.bool), ids, mask, finished)
    rollout = Rollout(
        tokens=Tokens(*(part.to(device) for part in parts)),
        token_log_probs=old,
        token_ref_log_probs=log_probs(),
        token_values=values,
        row_seeds=list(range(rows)),
        texts=[""] * rows,
    )
    rewards = TokenRewards(normal(0.01), torch.randn(rows, generator=draw).to(device))
    return rollout, rewards, old + normal(0.2), values + normal(0.1)


def _check_same(one: Solved, other: Solved, *, name: str) -> None:
    for field in dataclasses.fields(Solved):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if not torch.allclose(mine, theirs, rtol=1e-4, atol=1e-5):
            difference = float((mine - theirs).abs().max())
            raise MarlBenchError(
                f"bench macro: {field.name} of '{name}' differ by {difference:.3g} between loop and vectorised code."
            )
