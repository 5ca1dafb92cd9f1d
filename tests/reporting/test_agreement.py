"""Judges held against each other in the report: the table, and the warning about a liking for length that people do not share."""

from marl_bench.reporting.agreement import agreement_table, length_warnings, points
from marl_bench.statistics.intervals import Interval
from marl_bench.statistics.pair_labels import Agreement


def held(judge, other, bias, **changes):
    found = {
        "pairs": 40,
        "same": Interval(0.75, 0.6, 0.9),
        "kappa": None,
        "decided": 30,
        "same_decided": Interval(0.8, 0.7, 0.9),
        "longer": 0.7,
        "longer_other": 0.5,
        "length_bias": bias,
    }
    return Agreement(judge, other, **(found | changes))


ABOVE, ACROSS = Interval(0.2, 0.05, 0.35), Interval(0.2, -0.05, 0.45)


def test_a_judge_that_likes_length_more_than_people_do_is_named_once():
    found = [
        held("openai:m", "labels:anna", ABOVE),
        held("openai:m", "labels:ben", ABOVE),
        held("openai:m", "majority of 2 annotators", ABOVE),
    ]
    assert length_warnings(found) == [
        "judge openai:m: the longer response wins 70.0 % of its pairs, and 50.0 % of the same pairs with majority of 2 annotators; a difference "
        "of +20.0 [+5.0, +35.0] points. Read its win rates at equal length."
    ]


def test_no_warning_without_evidence_without_lengths_among_people_or_among_models():
    assert length_warnings([held("openai:m", "labels:anna", ACROSS)]) == []
    assert length_warnings([held("openai:m", "labels:anna", None)]) == []
    assert length_warnings([held("labels:anna", "labels:ben", ABOVE)]) == []
    assert length_warnings([held("openai:m", "openai:n", ABOVE)]) == []


def test_the_table_shows_what_is_known_and_a_dash_for_the_rest():
    table = agreement_table(
        [held("openai:m", "labels:anna", None, same_decided=None, decided=0, longer=None, longer_other=None)]
    )
    assert table.rows == [
        ["openai:m", "labels:anna", "40", "75.0 %", "[60.0, 90.0] %", "–", "–", "– of 0", "–", "–", "–"],
    ]
    assert agreement_table([]) is None


def test_points_carry_their_sign():
    assert points(Interval(-0.034, -0.073, 0.006)) == "-3.4 [-7.3, +0.6]"
