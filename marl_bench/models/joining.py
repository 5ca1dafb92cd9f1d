"""Rows that were computed in parts, put together again: prompts padded on the left, responses on the right."""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch.nn.functional import pad

from marl_bench.batches import Rollout, Tokens

Record = TypeVar("Record")


def joined_on_left(tensors: Sequence[torch.Tensor], *, fill: int | bool) -> torch.Tensor:
    """Returns the rows of [b, p] tensors, which end together, as one [B, P] tensor."""
    width = max(tensor.shape[1] for tensor in tensors)
    return torch.cat([pad(tensor, (width - tensor.shape[1], 0), value=fill) for tensor in tensors])


def joined_on_right(tensors: Sequence[torch.Tensor], *, fill: int | bool | float) -> torch.Tensor:
    """Returns the rows of [b, t] tensors, which begin together, as one [B, T] tensor."""
    width = max(tensor.shape[1] for tensor in tensors)
    return torch.cat([pad(tensor, (0, width - tensor.shape[1]), value=fill) for tensor in tensors])


def joined_tokens(parts: Sequence[Tokens], *, pad_id: int) -> Tokens:
    """Returns the rows of all parts."""
    return Tokens(
        joined_on_left([part.prompt_ids for part in parts], fill=pad_id),
        joined_on_left([part.prompt_mask for part in parts], fill=False),
        joined_on_right([part.response_ids for part in parts], fill=pad_id),
        joined_on_right([part.response_mask for part in parts], fill=False),
        torch.cat([part.finished for part in parts]),
    )


def joined_rollouts(parts: Sequence[Rollout], *, pad_id: int) -> Rollout:
    """Returns the rows of all parts, which were gathered alike."""

    def tokenwise(name: str) -> torch.Tensor:
        return joined_on_right([getattr(part, name) for part in parts], fill=0.0)

    first = parts[0]
    offsets = [part.token_offsets for part in parts]
    return Rollout(
        tokens=joined_tokens([part.tokens for part in parts], pad_id=pad_id),
        token_log_probs=tokenwise("token_log_probs"),
        token_ref_log_probs=tokenwise("token_ref_log_probs"),
        token_values=tokenwise("token_values"),
        row_seeds=[seed for part in parts for seed in part.row_seeds],
        texts=[text for part in parts for text in part.texts],
        token_entropies=None if first.token_entropies is None else tokenwise("token_entropies"),
        token_offsets=None if offsets[0] is None else [row for found in offsets if found is not None for row in found],
        end_values=None if first.end_values is None else torch.cat([_present(part.end_values) for part in parts]),
        token_sampler_log_probs=(
            None if first.token_sampler_log_probs is None else tokenwise("token_sampler_log_probs")
        ),
        groups=None if first.groups is None else [group for part in parts for group in part.groups or ()],
    )


def _present(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None  # all parts were gathered alike
    return tensor


def moved(record: Record, device: torch.device) -> Record:
    """Returns a frozen record with its tensors, and those of the records in it, on a device."""

    def there(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.to(device)
        return moved(value, device) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value

    fields = dataclasses.fields(record)  # type: ignore[arg-type]  # a record is a dataclass
    return dataclasses.replace(record, **{field.name: there(getattr(record, field.name)) for field in fields})  # type: ignore[type-var]
