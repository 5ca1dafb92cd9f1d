"""Updates to parity: worked curves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marl_bench.statistics.parity import smoothed, smoothing_window, speed_up, updates_to_parity


def test_trailing_mean_by_hand() -> None:
    # Window 3 over 3, 6, 0, 9: 3; (3 + 6)/2; (3 + 6 + 0)/3; (6 + 0 + 9)/3.
    assert smoothed([3.0, 6.0, 0.0, 9.0], window=3) == pytest.approx([3.0, 4.5, 3.0, 5.0])


def test_window_one_changes_nothing() -> None:
    assert smoothed([1.0, -2.0, 4.0], window=1) == pytest.approx([1.0, -2.0, 4.0])


def test_smoothing_never_looks_ahead() -> None:
    short = smoothed([1.0, 5.0, 2.0], window=2)
    longer = smoothed([1.0, 5.0, 2.0, 1000.0], window=2)
    assert np.array_equal(short, longer[:3])


def test_window_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="give 1 or more"):
        smoothed([1.0], window=0)


@pytest.mark.parametrize(("updates", "window"), [(1, 1), (7, 1), (8, 2), (12, 3), (20, 5), (80, 5)])
def test_window_is_a_quarter_of_the_curve_up_to_five(updates: int, window: int) -> None:
    assert smoothing_window(updates) == window


def test_first_update_at_the_target_counts() -> None:
    # Trailing means of 2 over 0, 2, 4, 0, 6: 0, 1, 3, 2, 3.
    scores = [0.0, 2.0, 4.0, 0.0, 6.0]
    assert updates_to_parity(scores, 1.0, window=2) == 2
    assert updates_to_parity(scores, 2.5, window=2) == 3
    assert updates_to_parity(scores, 3.1, window=2) is None


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60), st.integers(1, 5))
def test_a_curve_reaches_its_own_final_score(scores: list[float], window: int) -> None:
    reached = updates_to_parity(scores, float(smoothed(scores, window=window)[-1]), window=window)
    assert reached is not None
    assert 1 <= reached <= len(scores)


def test_speed_up_is_the_ratio_of_updates() -> None:
    assert speed_up(80, 50) == 1.6
    assert speed_up(50, 50) == 1.0
