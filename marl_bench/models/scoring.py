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
        hidden = self.classifier.base_model(**model_inputs(tokens, drop_last=ahead), use_cache=False).last_hidden_state
        values: torch.Tensor = self.classifier.score(hidden[:, -tokens.response_width :]).squeeze(-1).float()
        return values + float(getattr(self.classifier.config, SCORE_OFFSET, 0.0))


def model_inputs(tokens: Tokens, *, drop_last: bool) -> dict[str, torch.Tensor]:
    """Returns `input_ids`, `attention_mask` and `position_ids` of prompt and response; `drop_last` leaves the last column out."""
    ids = torch.cat([tokens.prompt_ids, tokens.response_ids], dim=1)
    mask = torch.cat([tokens.prompt_mask, tokens.response_mask], dim=1).long()
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    stop = -1 if drop_last else None
    return {"input_ids": ids[:, :stop], "attention_mask": mask[:, :stop], "position_ids": positions[:, :stop]}


@dataclasses.dataclass(frozen=True)
class LogProbs:
    """Log-probs of the response tokens and the entropies of their distributions, [B, T] float32, 0 on padding."""

    token_log_probs: torch.Tensor
    token_entropies: torch.Tensor | None


def response_log_probs(policy: Any, tokens: Tokens, *, temperature: float, entropies: bool = False) -> LogProbs:
    """Returns the log-probs of the response tokens under the policy at a temperature, with the policy's gradients."""
    logits = policy(
        **model_inputs(tokens, drop_last=True), use_cache=False, logits_to_keep=tokens.response_width
    ).logits
    return log_probs_of_logits(logits, tokens, temperature=temperature, entropies=entropies)


def log_probs_of_logits(
    logits: torch.Tensor, tokens: Tokens, *, temperature: float, entropies: bool = False
) -> LogProbs:
    """Returns log-probs (and entropies in nats) from [B, T, V] logits, accumulated in float32."""
    scaled = logits.float() / temperature if temperature != 1 else logits.float()
    chosen = scaled.gather(-1, tokens.response_ids.unsqueeze(-1)).squeeze(-1)
    normaliser = scaled.logsumexp(dim=-1)
    log_probs = torch.where(tokens.response_mask, chosen - normaliser, 0)
    if not entropies:
        return LogProbs(log_probs, None)
    with torch.no_grad():
        expected = (torch.softmax(scaled, dim=-1) * scaled).sum(dim=-1)
        return LogProbs(log_probs, torch.where(tokens.response_mask, normaliser - expected, 0))


def last_token_scores(model: TokenValues, tokens: Tokens) -> torch.Tensor:
    """Returns [B] float32, the score at each response's last token."""
    values: torch.Tensor = model(tokens, ahead=False)
    last = (tokens.response_mask.sum(dim=1, keepdim=True) - 1).clamp(min=0)
    return values.gather(1, last).squeeze(1)


def micro_batches(tokens: Tokens, *, size: int) -> Iterator[tuple[torch.Tensor, Tokens]]:
    """Yields (row indices, rows) of at most `size` rows of similar length, with the columns that are padding in all of them cut off."""
    lengths = tokens.response_mask.sum(dim=1) * (tokens.prompt_width + 1) + tokens.prompt_mask.sum(dim=1)
    for index in torch.split(lengths.argsort(stable=True), size):
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
    compute: Callable[[Tokens], torch.Tensor], tokens: Tokens, *, size: int, halvings: Halvings | None = None
) -> torch.Tensor:
    """Returns [B] or [B, T] float32: `compute` of every row without gradients, [b, t] results padded with 0 and put back in order.

    Args:
        compute: Gives [b] or [b, t] float32 for b rows.
        tokens: All rows.
        size: Rows of a micro-batch.
        halvings: Halves them where memory runs out; None leaves that an error.
    """
    if halvings is None:
        return _in_micro_batches(compute, tokens, size)
    return halvings.retried(
        SCORING, min(size, max(len(tokens), 1)), lambda fitting: _in_micro_batches(compute, tokens, fitting)
    )


@torch.no_grad()
def _in_micro_batches(compute: Callable[[Tokens], torch.Tensor], tokens: Tokens, size: int) -> torch.Tensor:
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
