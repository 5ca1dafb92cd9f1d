"""Labels of pairs: agreement, majority and length bias on numbers that can be counted by hand."""

import numpy as np
import pytest

from marl_bench.statistics.pair_labels import (
    JudgeLabels,
    Pair,
    compare_labels,
    longer_score,
    majority,
    summarise_labels,
    winner,
)


def labels(name, *scores):
    return JudgeLabels(name, {str(number): score for number, score in enumerate(scores) if score is not None})


def pairs(*gaps):
    return {str(number): Pair(f"prompt {number}", gap) for number, gap in enumerate(gaps)}


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("score", "name"), [(1.0, "first"), (0.75, "first"), (0.5, "tie"), (0.25, "second"), (0.0, "second")]
)
def test_a_mean_over_both_orders_names_a_winner(score, name):
    assert winner(score) == name


def test_agreement_counts_shared_pairs_only_and_a_tie_is_an_answer():
    # Shared are pairs 0 to 3: same, same (tie), different, different.
    judge, person = labels("m", 1.0, 0.5, 1.0, 0.5, 1.0), labels("p", 1.0, 0.5, 0.0, 1.0)
    found = compare_labels(judge, person, pairs(1, 1, 1, 1, 1), rng=rng(), resamples=50)
    assert found.pairs == 4
    assert found.same.estimate == 0.5
    # Neither says tie in pairs 0 and 2, and they agree in one of them.
    assert (found.decided, found.same_decided.estimate) == (2, 0.5)
    # Shares m: first 2/4, tie 2/4; p: first 2/4, tie 1/4, second 1/4. Chance 4/16 + 2/16 = 3/8; (1/2 - 3/8) / (5/8) = 1/5.
    assert found.kappa.estimate == pytest.approx(0.2)


def test_length_bias_is_the_difference_of_how_often_the_longer_response_wins():
    # First longer, first longer, second longer, equal. The judge: wins, wins, loses -> the longer one wins 3 of 3; the person: wins, tie,
    # wins -> 1.5 of 3. The pair of equal lengths says nothing.
    judge, person = labels("m", 1.0, 1.0, 0.0, 0.0), labels("p", 1.0, 0.5, 1.0, 1.0)
    found = compare_labels(judge, person, pairs(5, 2, -3, 0), rng=rng(), resamples=50)
    assert (found.longer, found.longer_other) == (1.0, 0.5)
    assert found.length_bias.estimate == 0.5


def test_swapping_the_responses_of_every_pair_changes_no_agreement_and_no_bias():
    generator = np.random.default_rng(4)
    scores = generator.choice([0.0, 0.5, 1.0], size=(2, 40))
    gaps = [int(gap) for gap in generator.integers(-9, 10, size=40)]
    as_is = compare_labels(labels("m", *scores[0]), labels("p", *scores[1]), pairs(*gaps), rng=rng())
    swapped = compare_labels(
        labels("m", *(1 - scores[0])), labels("p", *(1 - scores[1])), pairs(*(-gap for gap in gaps)), rng=rng()
    )
    assert as_is.same == swapped.same
    assert as_is.kappa.estimate == pytest.approx(swapped.kappa.estimate, abs=1e-12)
    assert as_is.length_bias.estimate == pytest.approx(swapped.length_bias.estimate, abs=1e-12)


def test_without_a_shared_pair_or_without_lengths_there_is_nothing_to_say():
    nothing = compare_labels(labels("m", 1.0, None), labels("p", None, 1.0), pairs(1, 1), rng=rng())
    assert (nothing.pairs, nothing.same, nothing.kappa, nothing.same_decided, nothing.length_bias) == (
        0,
        None,
        None,
        None,
        None,
    )
    unknown = {"0": Pair("a"), "1": Pair("b")}
    assert compare_labels(labels("m", 1.0, 0.0), labels("p", 1.0, 1.0), unknown, rng=rng()).length_bias is None


def test_the_majority_is_a_tie_where_two_answers_lead_and_unscored_where_one_is_missing():
    three = [labels("a", 1, 1, 1, 0.5), labels("b", 1, 0, 0, 0.5), labels("c", 0, 0.5, None, 1)]
    found = majority("all", three, pairs(0, 0, 0, 0))
    # first twice; one each; one annotator left it; tie twice.
    assert found.scores == {"0": 1.0, "1": 0.5, "3": 0.5}


def test_a_summary_counts_unscored_pairs_and_rates_the_longer_response():
    found = summarise_labels(labels("m", 1.0, 0.5, None, 0.0), pairs(3, 3, 3, -3), rng=rng(), resamples=50)
    assert (found.rate.wins, found.rate.ties, found.rate.losses, found.rate.unscored) == (1, 1, 1, 1)
    assert found.rate.rate.estimate == 0.5
    assert found.longer.estimate == pytest.approx((1 + 0.5 + 1) / 3)


def test_the_score_of_the_longer_response():
    assert longer_score(0.75, Pair("p", 4)) == 0.75
    assert longer_score(0.75, Pair("p", -4)) == 0.25
