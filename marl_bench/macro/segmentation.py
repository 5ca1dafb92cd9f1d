"""Partitions of response tokens into macro actions, and sums and broadcasts over them."""

import torch

from marl_bench.batches import Segmentation
from marl_bench.errors import SegmentationError


def from_starts(starts: torch.Tensor, mask: torch.Tensor) -> Segmentation:
    """Returns the segmentation whose macro actions begin where `starts` is True.

    Args:
        starts: [B, T] bool; the first token of a response begins a macro action whatever stands here, padding is ignored.
        mask: [B, T] bool, right-padded.
    """
    starts = starts & mask
    starts[:, :1] = mask[:, :1]
    macro_ids = torch.where(mask, starts.long().cumsum(dim=1) - 1, -1)
    return from_macro_ids(macro_ids)


def from_macro_ids(macro_ids: torch.Tensor) -> Segmentation:
    """Returns the segmentation with these ids ([B, T] int64, -1 on padding, not decreasing); an id left out is an empty macro action."""
    counts = macro_ids.amax(dim=1) + 1 if macro_ids.numel() else macro_ids.new_zeros(macro_ids.shape[0])
    width = max(int(counts.max()) if counts.numel() else 0, 1)
    columns = torch.arange(width, device=macro_ids.device)
    mask = columns < counts.unsqueeze(1)
    lengths = sum_over_macros(torch.ones_like(macro_ids), macro_ids, width)
    return Segmentation(macro_ids, lengths, mask)


def with_last_token_alone(segmentation: Segmentation) -> Segmentation:
    """Returns the segmentation with each response's last token as a macro action of its own.

    Where the rule itself began a macro action at the last token, an empty one is left before it, as in the released code
    (METHOD, section 4: `official_code`).
    """
    ids = segmentation.macro_ids
    mask = ids >= 0
    last = mask & (mask.cumsum(dim=1) == mask.sum(dim=1, keepdim=True))
    return from_macro_ids(torch.where(last, ids + 1, ids))


def check_partition(segmentation: Segmentation, mask: torch.Tensor) -> None:
    """Checks that the macro actions partition exactly the response tokens, in order.

    Raises:
        SegmentationError: They do not; the text names the first row and what is wrong there.
    """
    ids = segmentation.macro_ids
    if ids.shape != mask.shape:
        raise SegmentationError(
            f"segmentation: macro_ids is {list(ids.shape)}, the response mask is {list(mask.shape)}."
        )
    both_real = mask[:, 1:] & mask[:, :-1]
    steps = ids[:, 1:] - ids[:, :-1]
    problems = {
        "a token without a macro action, or a macro action on padding": ((ids >= 0) != mask).any(dim=1),
        "the first macro action is not number 0": mask[:, 0] & (ids[:, 0] > 1) if mask.shape[1] else mask.any(dim=1),
        "macro actions out of order": (both_real & ((steps < 0) | (steps > 2))).any(dim=1),
        "macro_lengths does not count the tokens": segmentation.macro_lengths.sum(dim=1) != mask.sum(dim=1),
    }
    for problem, rows in problems.items():
        if bool(rows.any()):
            row = int(rows.nonzero()[0])
            raise SegmentationError(
                f"segmentation, row {row}: {problem}; a rule must partition the response tokens. macro_ids: {ids[row].tolist()}."
            )


def sum_over_macros(token_values: torch.Tensor, macro_ids: torch.Tensor, width: int) -> torch.Tensor:
    """Returns [B, width], the sum of [B, T] values over each macro action; padding (id -1) is left out."""
    sums = token_values.new_zeros(macro_ids.shape[0], width + 1)
    # Padding goes to the extra first column. On one token a macro action the sum is that token's value, bit for bit.
    sums.scatter_add_(1, macro_ids + 1, token_values)
    return sums[:, 1:]


def to_tokens(macro_values: torch.Tensor, macro_ids: torch.Tensor) -> torch.Tensor:
    """Returns [B, T], each token with the [B, M] value of its macro action; 0 on padding."""
    # Padding reads an extra first column of zeros.
    return torch.nn.functional.pad(macro_values, (1, 0)).gather(1, macro_ids + 1)


def positions(macro_ids: torch.Tensor) -> torch.Tensor:
    """Returns [B, T] int64, each token's index within its macro action, from 0; 0 on padding."""
    columns = torch.arange(macro_ids.shape[1], device=macro_ids.device).expand_as(macro_ids)
    begins = torch.ones_like(macro_ids, dtype=torch.bool)
    begins[:, 1:] = macro_ids[:, 1:] != macro_ids[:, :-1]
    first = torch.where(begins, columns, 0).cummax(dim=1).values
    return torch.where(macro_ids >= 0, columns - first, 0)
