"""How a model reads rows of prompt and response: aligned, joined or packed, with all logits at once or in chunks.

The plan stands on the model, as transformers' own switches for attention and checkpointing do, because whoever asks for log-probs has the
model in hand and nothing else.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import torch

from marl_bench.batches import Tokens
from marl_bench.models.batch_sizes import Rows
from marl_bench.models.chunked_logits import causal_lm, chunked_log_probs, head_of, selected_log_probs

_ATTRIBUTE = "marl_bench_forward"
IN_ONE_PASS = "marl_bench_in_one_pass"
"""Attribute of a model whose weights are there during its passes only: calls a function within one. The function calls `forward` itself."""


@dataclasses.dataclass(frozen=True)
class ForwardPlan:
    """How a model reads rows.

    Attributes:
        rows: How rows stand in the model's input.
        logits_chunk_tokens: Response tokens whose logits exist at a time, or None for all.
    """

    rows: Rows = "aligned"
    logits_chunk_tokens: int | None = None


PLAIN = ForwardPlan()


def forward_plan(model: Any) -> ForwardPlan:
    """Returns the plan of a model; aligned rows and all logits at once unless one was set."""
    plan: ForwardPlan = getattr(model, _ATTRIBUTE, PLAIN)
    return plan


def set_forward_plan(model: Any, plan: ForwardPlan) -> None:
    """Sets the plan of a model."""
    setattr(model, _ATTRIBUTE, plan)


@dataclasses.dataclass(frozen=True)
class Layout:
    """Rows as a model reads them.

    Attributes:
        inputs: `input_ids` and, where padding or packing makes it necessary, `attention_mask` and `position_ids`.
        reads: Bool, the shape of `input_ids`: the positions whose outputs belong to the response tokens, in the order of the rows.
    """

    inputs: dict[str, torch.Tensor]
    reads: torch.Tensor


def layout(tokens: Tokens, *, ahead: bool, rows: Rows) -> Layout:
    """Returns the rows as a model reads them.

    `aligned` rows have the prompts' ends in one column, with padding on both sides; `joined` rows begin in the first column, with padding on
    the right: there is less of it where long prompts have short responses, and it needs no mask, because no token looks to its right; `packed`
    rows stand one after another in one row without padding, and transformers tells them apart where positions begin again, if it is given no
    mask.

    Args:
        tokens: Ids and masks.
        ahead: True reads the position before each response token (log-probs, critic), and leaves each row's last token out; False that of
            the token (reward model).
        rows: How they stand.
    """
    ids = torch.cat([tokens.prompt_ids, tokens.response_ids], dim=1)
    mask = torch.cat([tokens.prompt_mask, tokens.response_mask], dim=1)
    positions = (mask.long().cumsum(dim=1) - 1).clamp(min=0)
    reads = torch.cat([torch.zeros_like(tokens.prompt_mask), tokens.response_mask], dim=1)
    if ahead:
        reads = torch.nn.functional.pad(reads[:, 1:], (0, 1), value=False)
    if rows == "aligned":
        stop = -1 if ahead else None
        inputs = {"attention_mask": mask[:, :stop].long(), "position_ids": positions[:, :stop]}
        return Layout({"input_ids": ids[:, :stop], **inputs}, reads[:, :stop])
    kept = mask & (positions < mask.sum(dim=1, keepdim=True) - 1) if ahead else mask
    if rows == "packed":
        inputs = {"input_ids": ids[kept].unsqueeze(0), "position_ids": positions[kept].unsqueeze(0)}
        return Layout(inputs, reads[kept].unsqueeze(0))
    lengths = kept.sum(dim=1, keepdim=True)
    places = torch.arange(max(int(lengths.max()), 1), device=ids.device).expand(len(tokens), -1)
    # A row is one piece: it begins where its prompt does.
    columns = (kept.int().argmax(dim=1, keepdim=True) + places).clamp(max=ids.shape[1] - 1)
    real = places < lengths
    # Without a mask attention is causal by itself and leaves out its upper half; positions count from 0 by default.
    return Layout({"input_ids": ids.gather(1, columns)}, reads.gather(1, columns) & real)


def planned_log_probs(
    policy: Any, tokens: Tokens, plan: ForwardPlan, *, temperature: float, entropies: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Returns [N] log-probs (and entropies) of the N response tokens, row by row."""
    rows = layout(tokens, ahead=True, rows=plan.rows)
    ids = tokens.response_ids[tokens.response_mask]
    if plan.logits_chunk_tokens is not None:
        chunked = functools.partial(
            chunked_log_probs,
            temperature=temperature,
            chunk_tokens=plan.logits_chunk_tokens,
            entropies=entropies,
        )
        in_one_pass = getattr(policy, IN_ONE_PASS, None)
        if in_one_pass is None:
            return chunked(head_of(policy), _hidden_of_policy(policy, policy, rows), ids)
        found: tuple[torch.Tensor, torch.Tensor | None] = in_one_pass(
            lambda: chunked(head_of(policy), _hidden_of_policy(policy, policy.forward, rows), ids)
        )
        return found
    # Of one row positions can be asked for, which more architectures know than a mask.
    wanted = rows.reads[0].nonzero().squeeze(1) if plan.rows == "packed" else rows.reads
    logits = policy(**rows.inputs, use_cache=False, logits_to_keep=wanted).logits
    logits = logits.view(len(ids), logits.shape[-1])
    return selected_log_probs(logits, ids, temperature=temperature, entropies=entropies)


def on_tokens(values: torch.Tensor, tokens: Tokens) -> torch.Tensor:
    """Returns [B, T] with the N values on the response tokens, 0 on padding, with gradients."""
    return values.new_zeros(tokens.response_mask.shape).masked_scatter(tokens.response_mask, values)


def _hidden_of_policy(policy: Any, call: Callable[..., Any], rows: Layout) -> torch.Tensor:
    """Returns [N, H], the trunk's outputs for the response tokens.

    The whole model is called through `call`, with no logits to make, so that whatever wraps it or hooks into it works as always.
    """
    outputs: list[Any] = []
    watch = (
        causal_lm(policy).get_decoder().register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    )
    try:
        none = torch.empty(0, dtype=torch.long, device=rows.reads.device)
        call(**rows.inputs, use_cache=False, logits_to_keep=none)
    finally:
        watch.remove()
    hidden: torch.Tensor = outputs[-1][0][rows.reads]
    return hidden
