"""The contract of a termination rule, for every rule that is installed."""

import dataclasses

import pytest
import torch

from marl_bench.errors import ConfigError
from marl_bench.interfaces import TerminationRule
from marl_bench.macro.segmentation import check_partition
from marl_bench.planning import build_rule, plan_rule
from marl_bench.plugins import Registry
from marl_bench.training.rollout import GATHERED

VARIANTS = [
    "fixed(n=1)",
    "fixed(n=3)",
    "randomized(lengths=[1,2,3,5,10],repeats=2)",
    "perplexity(rule=prefix)",
    "perplexity(rule=token)",
    "entropy(quantile=0.3)",
    "surprise_budget(nats=2)",
    "value_change(threshold=0.5)",
    "vocabulary(k=20)",
]
TEXTS = [plugin.id for plugin in Registry().list("marl_bench.terminations")] + VARIANTS
LENGTHS = [12, 0, 1, 30, 2, 64, 7, 0]


@pytest.fixture(params=TEXTS)
def rule(request, registry, rows):
    try:
        built = build_rule(plan_rule(request.param, registry), registry)
    except ConfigError as error:  # a parser that is not installed names its extra
        assert "install marl-bench[" in str(error)
        pytest.skip(str(error))
    return built.fit(row.ids for row in rows)


@pytest.fixture(scope="module")
def rows(building):
    return [building.random_row(seed, length) for seed, length in enumerate(LENGTHS)]


def _ids(rule, rollout):
    """Returns the macro ids of every row without padding."""
    ids = rule.segment(rollout).macro_ids
    return [row[row >= 0].tolist() for row in ids]


def test_it_keeps_the_protocol(rule):
    assert isinstance(rule, TerminationRule)
    assert rule.needs <= GATHERED
    assert rule.nominal_length is None or rule.nominal_length >= 1


def test_it_returns_a_partition_without_empty_macro_actions(rule, building, rows):
    rollout = building.rollout(rows, padding=3)
    segmentation = rule.segment(rollout)
    check_partition(segmentation, rollout.tokens.response_mask)
    assert torch.equal(segmentation.macro_lengths > 0, segmentation.macro_mask)
    assert segmentation.macro_mask.any(dim=1).tolist() == [length > 0 for length in LENGTHS]
    assert 0 <= segmentation.fallbacks <= len(rows)


def test_it_is_deterministic_and_leaves_the_rollout_alone(rule, building, rows):
    rollout = building.rollout(rows)
    before = [
        tensor.clone() for tensor in (rollout.token_ref_log_probs, rollout.token_entropies, rollout.tokens.response_ids)
    ]
    assert _ids(rule, rollout) == _ids(rule, rollout)
    after = (rollout.token_ref_log_probs, rollout.token_entropies, rollout.tokens.response_ids)
    assert all(map(torch.equal, before, after))


def test_more_padding_changes_nothing(rule, building, rows):
    assert _ids(rule, building.rollout(rows)) == _ids(rule, building.rollout(rows, padding=9))


def test_rows_do_not_leak(rule, building, rows):
    together = _ids(rule, building.rollout(rows))
    assert [_ids(rule, building.rollout([row]))[0] for row in rows] == together
    assert _ids(rule, building.rollout(rows[::-1])) == together[::-1]


@pytest.mark.parametrize("lengths", [[0], [1], [0, 0, 0], [1, 0, 1]])
def test_responses_of_length_zero_and_one(rule, building, lengths):
    rollout = building.rollout([building.random_row(7, length) for length in lengths], padding=1)
    segmentation = rule.segment(rollout)
    check_partition(segmentation, rollout.tokens.response_mask)
    assert segmentation.macro_lengths.sum(dim=1).tolist() == lengths


def test_without_any_column(rule, building):
    segmentation = rule.segment(building.rollout([building.row(0)]))
    assert segmentation.macro_ids.shape == (1, 0)


@pytest.mark.parametrize("ids", [[11, 12, 2, 3, 11], [15, 16, 15], [17, 14, 2], [2], [9, 9, 9], [0, 1]])
def test_texts_in_other_scripts_emoji_and_newlines(rule, building, ids):
    row = building.Row(ids, *([-1.0] * len(ids) for _ in range(4)))
    rollout = building.rollout([row, building.random_row(3, 9)])
    check_partition(rule.segment(rollout), rollout.tokens.response_mask)


def test_it_reads_nothing_that_it_does_not_ask_for(rule, building, rows):
    rollout = building.rollout(rows)
    parts = {
        "logprobs": {"token_log_probs": torch.full_like(rollout.token_log_probs, torch.nan)},
        "ref_logprobs": {"token_ref_log_probs": torch.full_like(rollout.token_ref_log_probs, torch.nan)},
        "values": {"token_values": torch.full_like(rollout.token_values, torch.nan)},
        "entropies": {"token_entropies": None},
        "text": {"texts": None},
        "offsets": {"token_offsets": None},
    }
    left_out = {name: value for need, part in parts.items() if need not in rule.needs for name, value in part.items()}
    assert _ids(rule, dataclasses.replace(rollout, **left_out)) == _ids(rule, rollout)
