"""Strengths of three or more systems from pairwise judgements: Bradley-Terry, ties as half wins, clustered by prompt."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from marl_bench.statistics.bootstrap import BOOTSTRAP_BELOW_CLUSTERS, RESAMPLES, percentile_interval, resampled_counts
from marl_bench.statistics.intervals import LEVEL, Interval

_STEPS = 50
_LARGEST_STEP = 1.0
_RIDGE = 1e-6  # keeps resamples finite in which a system never wins or never loses; moves others in the seventh digit


@dataclasses.dataclass(frozen=True)
class Contest:
    """One judged pair.

    Attributes:
        first: One system.
        second: The other.
        score: 1 where the first won, 1/2 for a tie, 0 where it lost, or a mean of several verdicts; None where unscored.
        cluster: The prompt.
    """

    first: str
    second: str
    score: float | None
    cluster: str


@dataclasses.dataclass(frozen=True)
class BradleyTerry:
    """Strengths of systems.

    Attributes:
        strengths: System to its log strength with interval, best first. The strengths add up to 0; a difference of d is a win rate of
            sigmoid(d).
        contests: Scored pairs that the fit rests on.
        unscored: Pairs left out.
        clusters: Prompts of the scored pairs.
    """

    strengths: Mapping[str, Interval]
    contests: int
    unscored: int
    clusters: int

    def win_probability(self, first: str, second: str) -> float:
        """Returns the modelled chance that the first beats the second, ties counting half."""
        return 1 / (1 + math.exp(self.strengths[second].estimate - self.strengths[first].estimate))


def bradley_terry(
    contests: Sequence[Contest], *, rng: np.random.Generator, resamples: int = RESAMPLES, level: float = LEVEL
) -> BradleyTerry | None:
    """Returns the strengths of all systems with their intervals over prompts.

    P(i beats j) = sigmoid(s_i - s_j), by maximum likelihood; a tie is half a win of each.

    Args:
        contests: Judged pairs of two or more systems.
        rng: Generator of the resamples.
        resamples: Number of resamples.
        level: Nominal coverage.

    Returns:
        None where no finite strengths fit (the systems fall into two groups of which one never won even half a contest against the
        other; then no contest tells how far they are apart) or all contests are of one prompt.

    Raises:
        ValueError: A contest of a system with itself, or a score outside 0..1.

    Source: Bradley & Terry (1952); the condition is Ford's (1957), as in Hunter (2004).
    """
    for contest in contests:
        if contest.first == contest.second or not (contest.score is None or 0 <= contest.score <= 1):
            raise ValueError(f"bradley_terry: {contest} is no contest of two systems with a score from 0 to 1 or None.")
    scored = [contest for contest in contests if contest.score is not None]
    systems = sorted({name for contest in scored for name in (contest.first, contest.second)})
    found = strengths_of_wins(systems, _wins_by_cluster(scored, systems), rng=rng, resamples=resamples, level=level)
    return dataclasses.replace(found, unscored=len(contests) - len(scored)) if found else None


def strengths_of_wins(
    systems: Sequence[str],
    wins: npt.NDArray[np.float64],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> BradleyTerry | None:
    """Returns what `bradley_terry` returns, from contests that are added up.

    Intervals: the expanded percentile bootstrap over clusters; from `BOOTSTRAP_BELOW_CLUSTERS` on estimate ± t(level, clusters - 1)
    times the cluster-robust standard error, which agrees with it there at a thousandth of its time and memory.

    Args:
        systems: Their names.
        wins: [clusters, systems, systems] wins of the row's system over the column's in each cluster, ties as halves.
        rng: Generator of the resamples.
        resamples: Number of resamples.
        level: Nominal coverage.
    """
    wins = wins[wins.any(axis=(1, 2))]
    if len(wins) < 2 or not _is_connected(wins.sum(axis=0)):
        return None
    estimate = _strengths(wins.sum(axis=0)[None])[0]
    if len(wins) >= BOOTSTRAP_BELOW_CLUSTERS:
        ends = _robust_intervals(estimate, wins, level=level)
    else:
        counts = resampled_counts(len(wins), resamples=resamples, rng=rng)
        resampled = _strengths((counts @ wins.reshape(len(wins), -1)).reshape(resamples, *wins.shape[1:]))
        ends = [
            percentile_interval(float(value), resampled[:, place], clusters=len(wins), level=level)
            for place, value in enumerate(estimate)
        ]
    found = dict(zip(systems, ends, strict=True))
    best_first = sorted(found, key=lambda name: (-found[name].estimate, name))
    return BradleyTerry({name: found[name] for name in best_first}, round(float(wins.sum())), 0, len(wins))


def _robust_intervals(
    strengths: npt.NDArray[np.float64], wins: npt.NDArray[np.float64], *, level: float
) -> list[Interval]:
    """Returns each strength with its Student t interval from the sandwich covariance over clusters (Liang & Zeger 1986)."""
    from scipy.special import stdtrit

    chances = 1 / (1 + np.exp(strengths[None, :] - strengths[:, None]))
    contests = wins + wins.transpose(0, 2, 1)
    scores = (wins - contests * chances).sum(axis=2)
    weights = contests.sum(axis=0) * chances * (1 - chances)
    bread = np.linalg.pinv(np.diag(weights.sum(axis=1)) - weights, hermitian=True)
    covariance = bread @ (scores.T @ scores) @ bread * len(wins) / (len(wins) - 1)
    halves = float(stdtrit(len(wins) - 1, (1 + level) / 2)) * np.sqrt(np.diag(covariance))
    return [
        Interval(float(one), float(one - half), float(one + half)) for one, half in zip(strengths, halves, strict=True)
    ]


def _wins_by_cluster(contests: Sequence[Contest], systems: Sequence[str]) -> npt.NDArray[np.float64]:
    """Returns [clusters, systems, systems]: wins of the row's system over the column's, ties as halves."""
    place = {name: number for number, name in enumerate(systems)}
    cluster = {name: number for number, name in enumerate(sorted({contest.cluster for contest in contests}))}
    wins = np.zeros((len(cluster), len(systems), len(systems)))
    for contest in contests:
        row, first, second = cluster[contest.cluster], place[contest.first], place[contest.second]
        score = contest.score or 0.0
        wins[row, first, second] += score
        wins[row, second, first] += 1 - score
    return wins


def _is_connected(wins: npt.NDArray[np.float64]) -> bool:
    """Returns True if wins lead from every system to every other."""
    reach = (wins > 0) | np.eye(len(wins), dtype=bool)
    for _ in range(len(wins).bit_length()):
        reach = (reach.astype(np.int64) @ reach.astype(np.int64)) > 0
    return bool(reach.all())


def _strengths(wins: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns [resamples, systems] log strengths of each table of wins, by Newton's method on all tables at once."""
    _, systems, _ = wins.shape
    contests = wins + wins.transpose(0, 2, 1)
    strengths = np.zeros(wins.shape[:2])
    identity = np.eye(systems)
    for _ in range(_STEPS):
        chances = 1 / (1 + np.exp(strengths[:, None, :] - strengths[:, :, None]))
        gradient = (wins - contests * chances).sum(axis=2) - _RIDGE * strengths
        weights = contests * chances * (1 - chances)
        # Minus the second derivative; strengths are free up to a constant, which the matrix of ones pins to a sum of 0.
        curvature = identity * weights.sum(axis=2)[:, :, None] - weights + _RIDGE * identity + 1.0 / systems
        step = np.clip(np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0], -_LARGEST_STEP, _LARGEST_STEP)
        strengths = strengths + step
        if np.abs(step).max() < 1e-9:
            break
    centred: npt.NDArray[np.float64] = strengths - strengths.mean(axis=1, keepdims=True)
    return centred
