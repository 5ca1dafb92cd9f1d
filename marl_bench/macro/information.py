"""Termination rules that cut by what policy, reference model and critic say: `entropy`, `surprise_budget`, `value_change`."""

import torch
from pydantic import Field

from marl_bench.batches import Rollout
from marl_bench.config import Section
from marl_bench.interfaces import TerminationSpec
from marl_bench.macro.starts import StartsRule, gathered


class EntropyParameters(Section):
    """Parameters of `entropy`."""

    quantile: float = Field(
        0.8, gt=0, lt=1, description="tokens with an entropy above this quantile of their response begin a macro action"
    )


class SurpriseBudgetParameters(Section):
    """Parameters of `surprise_budget`."""

    nats: float = Field(
        8.0, gt=0, allow_inf_nan=False, description="NLL under the reference model at which a macro action is full"
    )


class ValueChangeParameters(Section):
    """Parameters of `value_change`."""

    threshold: float = Field(
        0.1, ge=0, allow_inf_nan=False, description="a larger move of the critic's value begins a macro action"
    )


def entropy_starts(token_entropies: torch.Tensor, mask: torch.Tensor, *, quantile: float) -> torch.Tensor:
    """Returns [B, T] bool, True at tokens whose policy entropy is above the quantile of their own response.

    The quantile of T entropies is the ceil(quantile * T)-th smallest, without interpolation, so at most T - ceil(quantile * T) tokens are
    marked, and none of equal entropies. Entropies 0.1, 2.0, 0.3, 1.5, 0.2 at 0.6: the third smallest is 0.3, tokens 1 and 3 are marked.

    Args:
        token_entropies: [B, T].
        mask: [B, T] bool, right-padded.
        quantile: Between 0 and 1.
    """
    if not mask.shape[1]:
        return torch.zeros_like(mask)
    ascending = token_entropies.masked_fill(~mask, torch.inf).sort(dim=1).values
    # 0.7 * 10 is 7.000000000000001: without the margin its ceiling would be 8.
    rank = (mask.sum(dim=1).double() * quantile - 1e-9).ceil().long().clamp(min=1)
    return token_entropies > ascending.gather(1, (rank - 1).unsqueeze(1))


def surprise_budget_starts(token_nll: torch.Tensor, *, nats: float) -> torch.Tensor:
    """Returns [B, T] bool, True at the token after one with which the macro action's summed NLL reaches the budget.

    NLL 3, 4, 2, 9, 1 with 5 nats: 3 + 4 is full, 2 + 9 is full, 1 is the rest; macro actions begin at 0 (never marked), 2 and 4.

    Args:
        token_nll: [B, T], right-padded.
        nats: The budget.
    """
    nll_at = token_nll.double().T.contiguous()
    starts_at = torch.zeros(nll_at.shape, dtype=torch.bool, device=token_nll.device)
    spent = nll_at.new_zeros(token_nll.shape[0])
    for t in range(nll_at.shape[0]):
        full = spent >= nats
        starts_at[t] = full
        spent = torch.where(full, 0, spent) + nll_at[t]
    return starts_at.T.contiguous()


def value_change_starts(token_values: torch.Tensor, *, threshold: float) -> torch.Tensor:
    """Returns [B, T] bool, True at tokens whose value is more than the threshold away from that of the token before.

    A token's value is that of the state before it, so the cut stands behind the token that moved the value. Values 0.0, 0.05, 0.4, 0.35 at
    0.1: token 2 is marked, token 1 has moved the value by 0.35.

    Args:
        token_values: [B, T], right-padded.
        threshold: In units of the score.
    """
    values = token_values.double()
    starts = torch.zeros(values.shape, dtype=torch.bool, device=values.device)
    starts[:, 1:] = (values[:, 1:] - values[:, :-1]).abs() > threshold
    return starts


def _build_entropy(parameters: EntropyParameters) -> StartsRule:
    def starts(rollout: Rollout) -> torch.Tensor:
        entropies = gathered(rollout.token_entropies, "token_entropies")
        return entropy_starts(entropies, rollout.tokens.response_mask, quantile=parameters.quantile)

    return StartsRule(starts, needs=frozenset({"entropies"}))


def _build_surprise_budget(parameters: SurpriseBudgetParameters) -> StartsRule:
    def starts(rollout: Rollout) -> torch.Tensor:
        return surprise_budget_starts(-rollout.token_ref_log_probs, nats=parameters.nats)

    return StartsRule(starts, needs=frozenset({"ref_logprobs"}))


def _build_value_change(parameters: ValueChangeParameters) -> StartsRule:
    def starts(rollout: Rollout) -> torch.Tensor:
        return value_change_starts(rollout.token_values, threshold=parameters.threshold)

    return StartsRule(starts, needs=frozenset({"values"}))


ENTROPY = TerminationSpec(
    "entropy",
    "1",
    "cuts before tokens at which the policy is among its most undecided of the response",
    _build_entropy,
    EntropyParameters,
)
SURPRISE_BUDGET = TerminationSpec(
    "surprise_budget",
    "1",
    "cuts when the summed NLL reaches a budget: macro actions of equal information",
    _build_surprise_budget,
    SurpriseBudgetParameters,
)
VALUE_CHANGE = TerminationSpec(
    "value_change", "1", "cuts where the critic's value moves", _build_value_change, ValueChangeParameters
)
