"""Updates to parity: when a learning curve first reaches another arm's final score."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SMOOTHING_UPDATES = 5
"""Window of the trailing mean; shorter curves use a quarter of their length."""


def smoothing_window(updates: int) -> int:
    """Returns the window in updates for a curve of that length: a quarter of it, at least 1, at most 5."""
    return max(1, min(SMOOTHING_UPDATES, updates // 4))


def smoothed(scores: Sequence[float], *, window: int) -> npt.NDArray[np.float64]:
    """Returns the trailing mean over `window` updates; the first updates average what there is.

    Raises:
        ValueError: The window is below 1.
    """
    if window < 1:
        raise ValueError(f"smoothed: a window of {window} updates; give 1 or more.")
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(scores, dtype=np.float64))])
    last = np.arange(1, len(scores) + 1)
    first = np.maximum(0, last - window)
    averages: npt.NDArray[np.float64] = (sums[last] - sums[first]) / (last - first)
    return averages


def updates_to_parity(scores: Sequence[float], target: float, *, window: int) -> int | None:
    """Returns the first update (from 1) whose smoothed score is at least `target`, or None if none is.

    Scores: one an update, higher is better. The target must be smoothed with the same window.
    """
    # A cumulative sum rounds: without a tolerance a curve could miss its own final score.
    tolerance = 1e-9 * max(1.0, abs(target))
    reached = np.flatnonzero(smoothed(scores, window=window) >= target - tolerance)
    return int(reached[0]) + 1 if reached.size else None


def speed_up(reference_updates: int, updates: int) -> float:
    """Returns how many times fewer updates were needed than the reference needed for the same score."""
    return reference_updates / updates
