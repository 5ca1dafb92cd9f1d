"""Every option and every rule against plain Python lists, on random ragged batches."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marl_bench.batches import StepCounts
from marl_bench.macro.information import entropy_starts, surprise_budget_starts, value_change_starts
from marl_bench.macro.losses import clipped_policy_loss, clipped_value_loss, log_ratios, loss_weights
from marl_bench.macro.perplexity import perplexity_starts
from marl_bench.macro.punctuation import CLAUSE_ENDS, SENTENCE_ENDS, boundary_starts
from marl_bench.macro.segmentation import from_starts, to_tokens
from marl_bench.macro.smdp import generalized_advantages, kl_penalty, macro_rewards, macro_values, whiten
from marl_bench.macro.termination import EveryNTokens
from marl_bench.macro.vocabulary import FIRST_MERGED, merge_table, vocabulary_starts

NUMBERS = st.floats(-2, 2, width=32)
# A coarse grid, so that equal numbers and equal means are frequent.
STEPS = st.integers(0, 8).map(lambda step: step / 4)
TIGHT = 1e-9


@st.composite
def cut_rows(draw):
    """Returns ragged rows: per row the lengths of its macro actions, an empty one before the last token included at times."""
    rows = draw(st.lists(st.lists(st.integers(1, 4), max_size=5), min_size=1, max_size=4))
    return [[*lengths[:-1], 0, 1] if lengths and draw(st.booleans()) else lengths for lengths in rows]


@st.composite
def batches(draw, *, columns):
    """Returns the rows, and for each of `columns` numbers for every token."""
    rows = draw(cut_rows())
    numbers = [[[draw(NUMBERS) for _ in range(sum(lengths))] for lengths in rows] for _ in range(columns)]
    return rows, numbers


def _parts(lengths):
    places = iter(range(sum(lengths)))
    return [[next(places) for _ in range(length)] for length in lengths]


def _tensor(rows, width):
    return torch.tensor([[*row, *[0.0] * (width - len(row))] for row in rows], dtype=torch.float64).view(
        len(rows), width
    )


def _close(tensor, rows, *, tolerance=TIGHT):
    for found, expected in zip(tensor.tolist(), rows, strict=True):
        assert found[: len(expected)] == pytest.approx(expected, abs=tolerance)
        assert not any(found[len(expected) :])


@settings(deadline=None, max_examples=200)
@given(
    batch=batches(columns=2),
    reduction=st.sampled_from(["sum", "mean"]),
    pooling=st.sampled_from(["equal", "last", "first", "position_late", "position_early"]),
    lambda_per=st.sampled_from(["macro", "token"]),
    gamma=st.sampled_from([1.0, 0.97, 0.5]),
    gae_lambda=st.sampled_from([0.0, 0.95, 1.0]),
    ends=st.lists(NUMBERS, min_size=4, max_size=4),
)
def test_rewards_values_and_advantages(
    building, reference, batch, reduction, pooling, lambda_per, gamma, gae_lambda, ends
):
    rows, (kl_rewards, values) = batch
    scores, end_values = [float(i + 1) for i in range(len(rows))], ends[: len(rows)]
    segmentation = building.segmentation(rows, padding=1)
    width = segmentation.macro_ids.shape[1]
    rewards = macro_rewards(
        _tensor(kl_rewards, width),
        torch.tensor(scores, dtype=torch.float64),
        segmentation,
        reduction=reduction,
        gamma=gamma,
    )
    pooled = macro_values(_tensor(values, width), segmentation, pooling=pooling)
    found = generalized_advantages(
        rewards,
        pooled,
        segmentation,
        gamma=gamma,
        gae_lambda=gae_lambda,
        lambda_per=lambda_per,
        end_values=torch.tensor(end_values, dtype=torch.float64),
    )
    parts = [_parts(lengths) for lengths in rows]
    expected_rewards = [
        reference.macro_rewards(r, score, p, reduction=reduction, gamma=gamma)
        for r, score, p in zip(kl_rewards, scores, parts, strict=True)
    ]
    expected_values = [reference.macro_values(v, p, pooling=pooling) for v, p in zip(values, parts, strict=True)]
    expected = [
        reference.advantages(r, v, p, gamma=gamma, gae_lambda=gae_lambda, lambda_per=lambda_per, end_value=end)
        for r, v, p, end in zip(expected_rewards, expected_values, parts, end_values, strict=True)
    ]
    _close(rewards, expected_rewards)
    _close(pooled, expected_values)
    _close(found.macro_advantages, expected)
    _close(
        found.macro_returns,
        [[a + v for a, v in zip(*row, strict=True)] for row in zip(expected, expected_values, strict=True)],
    )
    on_tokens = [reference.on_tokens(row, p) for row, p in zip(expected, parts, strict=True)]
    laid_out = to_tokens(found.macro_advantages, segmentation.macro_ids)
    _close(laid_out, on_tokens)
    # Equal advantages have no spread but that of rounding, and whitening divides it by 1e-8.
    _close(whiten(laid_out, segmentation.macro_ids >= 0), reference.whitened(on_tokens), tolerance=1e-6)


@settings(deadline=None, max_examples=200)
@given(
    batch=batches(columns=4),
    level=st.sampled_from(["token", "macro", "macro_geometric"]),
    average=st.sampled_from(["token", "macro", "sequence"]),
    value_clip=st.sampled_from([0.0, 0.2]),
)
def test_losses(building, reference, batch, level, average, value_clip):
    rows, (new, old, advantages, values) = batch
    segmentation = building.segmentation(rows, padding=1)
    width = segmentation.macro_ids.shape[1]
    parts = [_parts(lengths) for lengths in rows]
    counts = StepCounts(
        tokens=sum(map(sum, rows)), macros=sum(length > 0 for row in rows for length in row), responses=len(rows)
    )
    weights = loss_weights(segmentation, average, counts, dtype=torch.float64)
    expected_weights = reference.loss_weights(parts, average=average)
    _close(weights, expected_weights)
    ratios = log_ratios(_tensor(new, width), _tensor(old, width), segmentation, level=level)
    expected_ratios = [reference.log_ratios(n, o, p, level=level) for n, o, p in zip(new, old, parts, strict=True)]
    _close(ratios, expected_ratios)
    loss, _ = clipped_policy_loss(ratios, _tensor(advantages, width), weights, clip_range=0.2)
    terms = _flat(expected_weights, expected_ratios, advantages)
    assert loss.item() == pytest.approx(
        sum(w * reference.policy_loss(r, a, clip_range=0.2) for w, r, a in terms), abs=1e-7
    )
    # Old log-probs and advantages stand in for old values and returns.
    critic = clipped_value_loss(
        *(_tensor(each, width) for each in (values, old, advantages)), weights, clip_range=value_clip
    )
    expected = sum(
        w * reference.value_loss(v, o, a, clip_range=value_clip)
        for w, v, o, a in _flat(expected_weights, values, old, advantages)
    )
    assert critic.item() == pytest.approx(expected, abs=TIGHT)


def _flat(*columns):
    return list(zip(*([number for row in column for number in row] for column in columns), strict=True))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1), st.sampled_from(["k1", "k2", "k3"]))
def test_kl_estimators(reference, pairs, estimator):
    log_probs, ref_log_probs = (torch.tensor(column, dtype=torch.float64) for column in zip(*pairs, strict=True))
    expected = [reference.kl_estimate(p, q, estimator) for p, q in pairs]
    assert kl_penalty(log_probs, ref_log_probs, estimator).tolist() == pytest.approx(expected, abs=TIGHT)


RAGGED = st.lists(st.lists(STEPS | st.floats(0, 8, width=32), max_size=12), min_size=1, max_size=4)


def _padded(rows):
    mask = _mask(rows)
    numbers = torch.tensor([[*row, *[0.0] * (mask.shape[1] - len(row))] for row in rows], dtype=torch.float32)
    return numbers, mask


def _mask(rows):
    lengths = torch.tensor([len(row) for row in rows])
    return torch.arange(int(lengths.max()) + 2) < lengths.unsqueeze(1)


def _compare(building, starts, mask, expected):
    segmentation = from_starts(starts, mask)
    assert [building.starts(segmentation, row) for row in range(len(expected))] == expected


@settings(deadline=None)
@given(RAGGED, st.sampled_from(["macro", "prefix", "token"]))
def test_perplexity(building, reference, rows, rule):
    nll, mask = _padded(rows)
    expected = [reference.perplexity_starts(row, rule=rule) for row in rows]
    _compare(building, perplexity_starts(nll, rule=rule), mask, expected)


@settings(deadline=None)
@given(RAGGED, st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.8, 0.99]))
def test_entropy(building, reference, rows, quantile):
    entropies, mask = _padded(rows)
    expected = [reference.entropy_starts(row, quantile=quantile) for row in rows]
    _compare(building, entropy_starts(entropies, mask, quantile=quantile), mask, expected)


@settings(deadline=None)
@given(RAGGED, st.sampled_from([0.25, 1.0, 3.0, 100.0]))
def test_surprise_budget(building, reference, rows, nats):
    nll, mask = _padded(rows)
    expected = [reference.surprise_budget_starts(row, nats=nats) for row in rows]
    _compare(building, surprise_budget_starts(nll, nats=nats), mask, expected)


@settings(deadline=None)
@given(RAGGED, st.sampled_from([0.0, 0.25, 1.0, 3.0]))
def test_value_change(building, reference, rows, threshold):
    values, mask = _padded(rows)
    expected = [reference.value_change_starts(row, threshold=threshold) for row in rows]
    _compare(building, value_change_starts(values, threshold=threshold), mask, expected)


# White space as the text has it: a space alone, in runs, before and after newlines.
TOKEN_TEXTS = st.sampled_from(
    [
        "",
        "a",
        " B",
        ".",
        "?",
        "!)",
        ",",
        ";",
        "--",
        "–",
        "—",
        "\n",
        " ",
        "\r",
        "\t",
        ".\n\n C",
        "。",
        "，」",
        '."',
        "…",
        "3.5",
        "😀",
        "؟",
        ". D. E",
    ]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.lists(TOKEN_TEXTS, max_size=12), min_size=1, max_size=4), st.booleans())
def test_sentence_and_clause(building, reference, rows, clauses):
    mask = _mask(rows)
    ends = [[len("".join(row[: t + 1])) for t in range(len(row))] for row in rows]
    texts = ["".join(row) for row in rows]
    offsets = [list(zip([0, *row], row, strict=False)) for row in ends]
    starts = boundary_starts(texts, offsets, mask, ends=CLAUSE_ENDS if clauses else SENTENCE_ENDS)
    expected = [reference.boundary_starts(text, row, clauses=clauses) for text, row in zip(texts, ends, strict=True)]
    _compare(building, starts, mask, expected)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(2, 4), max_size=14), min_size=1, max_size=4), st.integers(1, 6))
def test_vocabulary(building, reference, rows, k):
    merges = merge_table(rows, k=k)
    ids, mask = _padded(rows)
    expected = [reference.merged_starts(row, merges, first_merged=FIRST_MERGED) for row in rows]
    _compare(building, vocabulary_starts(ids.long(), mask, merges=merges), mask, expected)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.sampled_from([1, 2, 3, math.inf]))
def test_fixed(building, reference, lengths, n):
    segmentation = EveryNTokens(n).segment(building.rollout([building.row(length) for length in lengths]))
    assert [building.starts(segmentation, i) for i in range(len(lengths))] == [
        reference.fixed_starts(length, n=n) for length in lengths
    ]
