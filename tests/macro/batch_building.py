"""Segmentations written by hand, beside the rollouts of the library."""

from collections.abc import Sequence

import torch

from marl_bench.batches import Segmentation
from marl_bench.macro.segmentation import from_macro_ids
from marl_bench.macro.synthetic import EOS, PAD, PIECES, Row, random_row, rollout, row

__all__ = ["EOS", "PAD", "PIECES", "Row", "random_row", "rollout", "row", "segmentation", "starts"]


def segmentation(lengths: Sequence[Sequence[int]], *, padding: int = 0) -> Segmentation:
    """Returns macro actions of the given lengths, row by row; 0 makes an empty one that is not the last."""
    ids = [[m for m, length in enumerate(row_lengths) for _ in range(length)] for row_lengths in lengths]
    width = max(map(len, ids), default=0) + padding
    return from_macro_ids(
        torch.tensor([[*row_ids, *[-1] * (width - len(row_ids))] for row_ids in ids]).view(len(ids), width)
    )


def starts(segmentation: Segmentation, index: int) -> list[int]:
    """Returns where the macro actions of a row begin, 0 left out."""
    ids = [number for number in segmentation.macro_ids[index].tolist() if number >= 0]
    return [t for t in range(1, len(ids)) if ids[t] != ids[t - 1]]
