"""Win rate at equal length: what is left of a win rate once longer responses no longer win for being longer."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from marl_bench.statistics.bootstrap import RESAMPLES, percentile_interval, resampled_counts
from marl_bench.statistics.intervals import LEVEL, Interval

_STEPS = 30
_LARGEST_STEP = 2.0  # logits a Newton step: without a limit a first step can leap over the maximum
_LARGEST_LOGIT = 20.0  # resamples without a maximum (every longer response wins) end here: rates 0 or 1
_VALUES_AT_ONCE = 4_000_000


def length_controlled_win_rate(
    scores: Sequence[float | None],
    length_gaps: Sequence[float],
    clusters: Sequence[str],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval | None:
    """Returns the win rate that a logistic fit gives at a length gap of 0, with its bootstrap interval over prompts.

    P(win) = sigmoid(a + b tanh(gap / s)), s the standard deviation of the gaps; the result is sigmoid(a). Fitted by maximum likelihood
    to the scores, a tie being half a win.

    Args:
        scores: One a pair, from 0 (lost) over 1/2 (tie) to 1 (won); None where the pair is unscored: it is left out.
        length_gaps: Length of the arm's response minus that of the reference, one a pair, in any one unit (words).
        clusters: The prompt of each pair.
        rng: Generator of the resamples.
        resamples: Number of resamples.
        level: Nominal coverage.

    Returns:
        None where the fit has no maximum or cannot tell length from quality: fewer than two prompts, gaps that are all equal, or scores
        that a threshold of the gap separates into wins and losses (all wins among them).

    Raises:
        ValueError: Scores, gaps and clusters differ in number, or a score is outside 0..1.

    Source: Dubois et al. (2024), "Length-controlled AlpacaEval", equation 2, without the terms of single prompts and of the model.
    """
    if not len(scores) == len(length_gaps) == len(clusters):
        raise ValueError(
            f"length_controlled_win_rate: {len(scores)} scores, {len(length_gaps)} gaps and {len(clusters)} prompt ids differ in number."
        )
    known = [row for row, score in enumerate(scores) if score is not None]
    wins = np.array([scores[row] for row in known], dtype=np.float64)
    gaps = np.array([length_gaps[row] for row in known], dtype=np.float64)
    if not np.all((wins >= 0) & (wins <= 1)):
        raise ValueError("length_controlled_win_rate: scores lie between 0 (lost) and 1 (won); None is unscored.")
    names, position = np.unique(
        np.array([clusters[row] for row in known], dtype=object).astype(str), return_inverse=True
    )
    if names.size < 2 or np.ptp(gaps) == 0:
        return None
    lengths = np.tanh(gaps / gaps.std())
    if _is_separated(wins, lengths):
        return None
    start = _fit(wins, lengths, np.ones((1, wins.size)), start=(0.0, 0.0))
    estimate = _sigmoid(start[0])
    counts = resampled_counts(names.size, resamples=resamples, rng=rng)
    at_once = max(1, _VALUES_AT_ONCE // wins.size)
    fits = [
        _fit(wins, lengths, counts[row : row + at_once][:, position], start=(float(start[0][0]), float(start[1][0])))
        for row in range(0, resamples, at_once)
    ]
    rates = _sigmoid(np.concatenate([intercepts for intercepts, _ in fits]))
    return percentile_interval(float(estimate[0]), rates, clusters=names.size, level=level)


def _is_separated(wins: npt.NDArray[np.float64], lengths: npt.NDArray[np.float64]) -> bool:
    """Returns True if some threshold of the length has no part of a loss on one side and no part of a win on the other."""
    won, lost = lengths[wins > 0], lengths[wins < 1]
    if not won.size or not lost.size:
        return True
    return bool(won.min() >= lost.max() or won.max() <= lost.min())


def _sigmoid(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shares: npt.NDArray[np.float64] = 1 / (1 + np.exp(-logits))
    return shares


def _fit(
    wins: npt.NDArray[np.float64],
    lengths: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    *,
    start: tuple[float, float],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns a and b for each row of weights, [resamples, pairs], by Newton's method on all rows at once."""
    intercept, slope = np.full(len(weights), start[0]), np.full(len(weights), start[1])
    moments = np.stack([np.ones_like(lengths), lengths, np.square(lengths)])
    for _ in range(_STEPS):
        chances = _sigmoid(intercept[:, None] + slope[:, None] * lengths)
        to_intercept, to_slope = moments[:2] @ (weights * (wins - chances)).T
        aa, ab, bb = moments @ (weights * chances * (1 - chances)).T
        # What is added keeps the matrix invertible in resamples without a maximum, and moves no other.
        aa, bb = aa + 1e-9, bb + 1e-9
        determinant = aa * bb - ab * ab
        step_a = np.clip((bb * to_intercept - ab * to_slope) / determinant, -_LARGEST_STEP, _LARGEST_STEP)
        step_b = np.clip((aa * to_slope - ab * to_intercept) / determinant, -_LARGEST_STEP, _LARGEST_STEP)
        intercept = np.clip(intercept + step_a, -_LARGEST_LOGIT, _LARGEST_LOGIT)
        slope = np.clip(slope + step_b, -_LARGEST_LOGIT, _LARGEST_LOGIT)
        # Newton squares the error: after a step of 1e-6 what is left is below 1e-11.
        if max(np.abs(step_a).max(), np.abs(step_b).max()) < 1e-6:
            break
    return intercept, slope
