"""The termination rule `perplexity`: cuts where the reference model is more surprised than before. Three rules, never mixed."""

from typing import Literal

import torch
from pydantic import Field

from marl_bench.batches import Rollout
from marl_bench.config import Section
from marl_bench.interfaces import TerminationSpec
from marl_bench.macro.starts import StartsRule

PerplexityKind = Literal["macro", "prefix", "token"]


class PerplexityParameters(Section):
    """Parameters of `perplexity`."""

    rule: PerplexityKind = Field(
        "macro",
        description="what a token's NLL is compared with: the mean of its macro action, the mean of the response so far, or the last token",
    )


def perplexity_starts(token_nll: torch.Tensor, *, rule: PerplexityKind) -> torch.Tensor:
    """Returns [B, T] bool, True at tokens whose negative log-likelihood is greater than that of what stands before them.

    `macro`: NLL_t > mean NLL of the macro action that it would otherwise join. `prefix`: NLL_t > mean NLL of the whole response before it.
    `token`: NLL_t > NLL_(t-1). For NLL 1.0, 0.2, 0.7, 0.6, 0.64, 0.4: `macro` begins one at 2 (0.7 > 0.6; after it the means are 0.7, 0.65,
    0.647), `prefix` at 2 and 4 (0.64 > 0.625), `token` at 2 and 4. The first token is never marked.

    Args:
        token_nll: [B, T], right-padded; what stands on padding changes nothing before it.
        rule: Which of the three.
    """
    # Means are compared as NLL * count > sum in float64, so equal NLLs make no cut by rounding and rows do not depend on their place.
    nll = token_nll.double()
    if rule == "token":
        starts = torch.zeros(nll.shape, dtype=torch.bool, device=nll.device)
        starts[:, 1:] = nll[:, 1:] > nll[:, :-1]
        return starts
    if rule == "prefix":
        counts = torch.arange(nll.shape[1], device=nll.device)
        sums = torch.zeros_like(nll)
        sums[:, 1:] = nll[:, :-1].cumsum(dim=1)
        return nll * counts > sums
    return _above_macro_mean(nll)


def _above_macro_mean(nll: torch.Tensor) -> torch.Tensor:
    # One loop over columns for the whole batch, on contiguous [T, B] slices.
    nll_at = nll.T.contiguous()
    starts_at = torch.zeros(nll_at.shape, dtype=torch.bool, device=nll.device)
    sums, counts = nll.new_zeros(nll.shape[0]), nll.new_zeros(nll.shape[0])
    for now, cut in zip(nll_at, starts_at, strict=True):
        torch.gt(now * counts, sums, out=cut)
        sums.masked_fill_(cut, 0).add_(now)
        counts.masked_fill_(cut, 0).add_(1)
    return starts_at.T.contiguous()


def _build(parameters: PerplexityParameters) -> StartsRule:
    def starts(rollout: Rollout) -> torch.Tensor:
        return perplexity_starts(-rollout.token_ref_log_probs, rule=parameters.rule)

    return StartsRule(starts, needs=frozenset({"ref_logprobs"}))


PERPLEXITY = TerminationSpec(
    "perplexity",
    "1",
    "cuts before tokens that surprise the reference model more than what stands before them",
    _build,
    PerplexityParameters,
)
