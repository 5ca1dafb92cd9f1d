"""Numbers as text."""

import pytest

from marl_bench.reporting.formatting import (
    interval,
    listed,
    metric_name,
    number,
    p_value,
    percent,
    plus_minus,
    signed,
    titled,
)
from marl_bench.statistics.intervals import Interval


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (-0.0001, "0.000"),
        (9.9996, "10.00"),
        (12.345, "12.35"),
        (-123.45, "-123.5"),
        (12345.6, "12,346"),
        (None, "–"),
    ],
)
def test_decimals_follow_the_size(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.5, "+0.500"), (-0.5, "-0.500"), (1e-6, "0.000"), (None, "–")])
def test_differences_carry_their_sign(value: float | None, text: str) -> None:
    assert signed(value) == text


def test_what_does_not_exist_is_a_dash() -> None:
    assert interval(None) == "–"
    assert plus_minus(1.0, None) == "1.000 ± –"
    assert percent(None) == "–"


def test_interval_and_half_width() -> None:
    found = Interval(1.0, 0.5, 1.5)
    assert interval(found) == "[0.500, 1.500]"
    assert plus_minus(1.0, found) == "1.000 ± 0.500"


def test_small_p_values_show_their_bound() -> None:
    assert p_value(0.0004) == "< 0.001"
    assert p_value(0.0214) == "0.021"


def test_names() -> None:
    assert metric_name("rougeL") == "ROUGE-L"
    assert metric_name("my_metric") == "my metric"
    assert titled("reward-model score") == "Reward-model score"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
