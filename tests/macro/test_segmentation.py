"""Partitions, and sums and broadcasts over them."""

import dataclasses

import pytest
import torch

from marl_bench.errors import SegmentationError
from marl_bench.macro.segmentation import (
    check_partition,
    from_macro_ids,
    from_starts,
    positions,
    sum_over_macros,
    to_tokens,
    with_last_token_alone,
)

MASK = torch.tensor([[True, True, True, True, False], [True, False, False, False, False], [False] * 5])


def test_starts_become_macro_actions_and_padding_has_none():
    # Row 0 begins at 0 whatever stands there, and at 2; the start on its padding is ignored.
    starts = torch.tensor([[False, False, True, False, True], [False] * 5, [True] * 5])
    parts = from_starts(starts, MASK)
    assert parts.macro_ids.tolist() == [[0, 0, 1, 1, -1], [0, -1, -1, -1, -1], [-1] * 5]
    assert parts.macro_lengths.tolist() == [[2, 2], [1, 0], [0, 0]]
    assert parts.macro_mask.tolist() == [[True, True], [True, False], [False, False]]


def test_starts_are_left_as_they_were():
    starts = torch.zeros(3, 5, dtype=torch.bool)
    from_starts(starts, MASK)
    assert not starts.any()


def test_an_id_left_out_is_an_empty_macro_action():
    parts = from_macro_ids(torch.tensor([[0, 0, 2, -1]]))
    assert parts.macro_lengths.tolist() == [[2, 0, 1]]
    assert parts.macro_mask.tolist() == [[True, True, True]]


@pytest.mark.parametrize("rows", [0, 3])
def test_batches_without_rows_or_columns(rows):
    parts = from_starts(torch.zeros(rows, 0, dtype=torch.bool), torch.zeros(rows, 0, dtype=torch.bool))
    assert parts.macro_ids.shape == (rows, 0)
    assert not parts.macro_mask.any()
    check_partition(parts, torch.zeros(rows, 0, dtype=torch.bool))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([[3, 3]], [[3, 2, 1]]),
        ([[3, 1]], [[3, 0, 1]]),  # the rule cut before the last token: an empty one is left
        ([[1]], [[0, 1]]),
        ([[]], [[0]]),
        ([[3, 3], [2], []], [[3, 2, 1], [1, 1, 0], [0, 0, 0]]),
    ],
)
def test_last_token_alone(building, before, after):
    parts = with_last_token_alone(building.segmentation(before, padding=2))
    assert parts.macro_lengths.tolist() == after
    check_partition(parts, parts.macro_ids >= 0)


def test_positions_sums_and_broadcasts(building):
    parts = building.segmentation([[3, 2], [1]], padding=1)
    values = torch.tensor([[1.0, 2, 3, 4, 5, 99], [6.0, 99, 99, 99, 99, 99]])
    assert positions(parts.macro_ids).tolist() == [[0, 1, 2, 0, 1, 0], [0] * 6]
    sums = sum_over_macros(values, parts.macro_ids, 2)
    assert sums.tolist() == [[6.0, 9.0], [6.0, 0.0]]
    assert to_tokens(sums, parts.macro_ids).tolist() == [[6, 6, 6, 9, 9, 0], [6, 0, 0, 0, 0, 0]]


def _wrong(ids):
    return from_macro_ids(torch.tensor(ids))


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        ([[0, 0, -1, 1, -1], [0, -1, -1, -1, -1], [-1] * 5], "row 0: a token without a macro action"),
        ([[0, 0, 1, 1, -1], [0, 0, -1, -1, -1], [-1] * 5], "row 1: a token without a macro action"),
        ([[0, 0, 1, 1, -1], [0, -1, -1, -1, -1], [0, -1, -1, -1, -1]], "row 2"),
        ([[0, 1, 0, 1, -1], [0, -1, -1, -1, -1], [-1] * 5], "out of order"),
        ([[2, 2, 3, 3, -1], [0, -1, -1, -1, -1], [-1] * 5], "not number 0"),
    ],
)
def test_what_is_no_partition_is_refused_with_its_row(ids, problem):
    with pytest.raises(SegmentationError, match=problem):
        check_partition(_wrong(ids), MASK)


def test_wrong_lengths_and_shapes_are_refused(building):
    parts = building.segmentation([[2, 2]])
    with pytest.raises(SegmentationError, match="does not count"):
        check_partition(dataclasses.replace(parts, macro_lengths=torch.tensor([[2, 1]])), parts.macro_ids >= 0)
    with pytest.raises(SegmentationError, match=r"macro_ids is \[1, 4\], the response mask is \[3, 5\]"):
        check_partition(parts, MASK)
