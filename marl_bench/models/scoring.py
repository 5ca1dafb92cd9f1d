"""Log-probs, values and scores of response tokens, in micro-batches without padding that nobody needs.

The models see prompt and response in one row: prompt left-padded, response right-padded, with explicit positions, so that padding changes
nothing. Logits and values are made for the T response positions only, never for the prompt.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from marl_bench.batches import Tokens
from marl_bench.models.batch_sizes import BatchSize, groups_of_rows
from marl_bench.models.chunked_logits import selected_log_probs
from marl_bench.models.forward import PLAIN, forward_plan, layout, on_tokens, planned_log_probs
from marl_bench.models.loading import SCORE_OFFSET
from marl_bench.models.out_of_memory import SCORING, Halvings


class TokenValues(nn.Module):
    """A trunk and a score head as a value for every response position: critic and reward model alike."""

    def __init__(self, classifier: Any) -> None:
        """Wraps a sequence classifier as `load_reward_model` gives it."""
        super().__init__()
        self.classifier = classifier

    def forward(self, tokens: Tokens, *, ahead: bool) -> torch.Tensor:
        """Returns [B, T] float32.

        Args:
            tokens: Ids and masks.
            ahead: True gives the value of the state before each token (critic), False that of the text up to and with it (reward model).
        """
        plan = forward_plan(self.classifier)
        rows = layout(tokens, ahead=ahead, rows=plan.rows)
        hidden = self.classifier.base_model(**rows.inputs, use_cache=False).last_hidden_state
        aligned = plan.rows == "aligned"
        read = hidden[:, -tokens.response_width :] if aligned else hidden[rows.reads]
        values: torch.Tensor = self.classifier.score(read).squeeze(-1).float()
        values = values + float(getattr(self.classifier.config, SCORE_OFFSET, 0.0))
        return values if aligned else on_tokens(values, tokens)


@dataclasses.dataclass(frozen=True)
class LogProbs:
    """Log-probs of the response tokens and the entropies of their distributions, [B, T] float32, 0 on padding."""

    token_log_probs: torch.Tensor
    token_entropies: torch.Tensor | None


def response_log_probs(policy: Any, tokens: Tokens, *, temperature: float, entropies: bool = False) -> LogProbs:
    """Returns the log-probs of the response tokens under the policy at a temperature, with the policy's gradients."""
    plan = forward_plan(policy)
    if plan != PLAIN:
        found, spread = planned_log_probs(policy, tokens, plan, temperature=temperature, entropies=entropies)
        return LogProbs(on_tokens(found, tokens), None if spread is None else on_tokens(spread, tokens))
    inputs = layout(tokens, ahead=True, rows="aligned").inputs
    logits = policy(**inputs, use_cache=False, logits_to_keep=tokens.response_width).logits
    found, spread = selected_log_probs(logits, tokens.response_ids, temperature=temperature, entropies=entropies)
    mask = tokens.response_mask
    return LogProbs(torch.where(mask, found, 0), None if spread is None else torch.where(mask, spread, 0))


def last_token_scores(model: TokenValues, tokens: Tokens) -> torch.Tensor:
    """Returns [B] float32, the score at each response's last token."""
    values: torch.Tensor = model(tokens, ahead=False)
    last = (tokens.response_mask.sum(dim=1, keepdim=True) - 1).clamp(min=0)
    return values.gather(1, last).squeeze(1)


def micro_batches(tokens: Tokens, *, size: BatchSize) -> Iterator[tuple[torch.Tensor, Tokens]]:
    """Yields (row indices, rows) of similar length and at most `size`, with the columns that are padding in all of them cut off.

    Raises:
        ConfigError: One row alone is longer than a limit on tokens.
    """
    prompts, responses = tokens.prompt_mask.sum(dim=1), tokens.response_mask.sum(dim=1)
    # Under a limit on tokens long prompts cost as much as long responses.
    lengths = responses * (tokens.prompt_width + 1) + prompts if size.tokens is None else prompts + responses
    order = lengths.argsort(stable=True)
    pairs = list(zip(prompts[order].tolist(), responses[order].tolist(), strict=True))
    for index in torch.split(order, groups_of_rows(pairs, size)):
        yield index, trimmed(tokens.rows(index))


def trimmed(tokens: Tokens) -> Tokens:
    """Returns the rows without the columns that are padding in all of them; at least one response column stays."""
    first = int(tokens.prompt_mask.any(dim=0).int().argmax())
    width = max(int(tokens.response_mask.sum(dim=1).max()), 1)
    return dataclasses.replace(
        tokens,
        prompt_ids=tokens.prompt_ids[:, first:],
        prompt_mask=tokens.prompt_mask[:, first:],
        response_ids=tokens.response_ids[:, :width],
        response_mask=tokens.response_mask[:, :width],
    )


def in_micro_batches(
    compute: Callable[[Tokens], torch.Tensor],
    tokens: Tokens,
    *,
    size: int | BatchSize,
    halvings: Halvings | None = None,
) -> torch.Tensor:
    """Returns [B] or [B, T] float32: `compute` of every row without gradients, [b, t] results padded with 0 and put back in order.

    Args:
        compute: Gives [b] or [b, t] float32 for b rows.
        tokens: All rows.
        size: Of a micro-batch.
        halvings: Halves them where memory runs out; None leaves that an error.
    """
    limit = BatchSize(size) if isinstance(size, int) else size
    if halvings is None:
        return _in_micro_batches(compute, tokens, limit)
    return halvings.retried(
        SCORING,
        min(limit.rows, max(len(tokens), 1)),
        lambda rows: _in_micro_batches(compute, tokens, dataclasses.replace(limit, rows=rows)),
    )


@torch.no_grad()
def _in_micro_batches(compute: Callable[[Tokens], torch.Tensor], tokens: Tokens, size: BatchSize) -> torch.Tensor:
    result: torch.Tensor | None = None
    for index, rows in micro_batches(tokens, size=size):
        part = compute(rows)
        if result is None:
            result = part.new_zeros(len(tokens), *((tokens.response_width,) if part.dim() == 2 else ()))
        if part.dim() == 2:
            result[index, : part.shape[1]] = torch.where(rows.response_mask, part, 0)
        else:
            result[index] = part
    if result is None:
        return torch.zeros(0)
    return result
