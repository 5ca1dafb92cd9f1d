"""Win rates of judged pairs: ties are half wins, what is unscored is counted and bounded, prompts are the independent unit."""

import dataclasses
from collections.abc import Sequence

from marl_bench.statistics.intervals import LEVEL, Interval
from marl_bench.statistics.proportions import clustered_wilson_interval


@dataclasses.dataclass(frozen=True)
class ScoredRate:
    """A win rate with all that must stand beside it.

    Attributes:
        rate: Mean score of the scored pairs with its interval, clustered by prompt; None where no pair is scored.
        wins: Pairs with a score above one half.
        ties: Pairs with a score of one half.
        losses: Pairs with a score below one half.
        unscored: Pairs without a score.
        low_bound: The rate if every unscored pair were a loss.
        high_bound: The rate if every unscored pair were a win.
        clusters: Prompts with at least one scored pair.
    """

    rate: Interval | None
    wins: int
    ties: int
    losses: int
    unscored: int
    low_bound: float
    high_bound: float
    clusters: int

    @property
    def scored(self) -> int:
        """Number of scored pairs."""
        return self.wins + self.ties + self.losses

    @property
    def unscored_share(self) -> float:
        """Share of all pairs that have no score."""
        return self.unscored / (self.scored + self.unscored)


def win_rate(scores: Sequence[float | None], clusters: Sequence[str], *, level: float = LEVEL) -> ScoredRate:
    """Returns the win rate of pairs.

    Args:
        scores: One a pair, from 0 (lost) over 1/2 (tie) to 1 (won); None where the pair is unscored. With both orders judged, the mean
            of the two verdicts.
        clusters: The prompt of each pair. Pairs of one prompt (several samples or seeds) may depend on each other.
        level: Nominal coverage.

    Raises:
        ValueError: No pairs, scores and clusters differ in number, or a score is outside 0..1 (NaN among them).
    """
    if len(scores) != len(clusters) or not scores:
        raise ValueError(
            f"win_rate: {len(scores)} scores and {len(clusters)} prompt ids; give one id a pair, at least one pair."
        )
    known = [(score, cluster) for score, cluster in zip(scores, clusters, strict=True) if score is not None]
    wrong = [score for score, _ in known if not 0 <= score <= 1]
    if wrong:
        raise ValueError(f"win_rate: a score of {wrong[0]}; scores lie between 0 (lost) and 1 (won), None is unscored.")
    points, prompts = [score for score, _ in known], [cluster for _, cluster in known]
    unscored = len(scores) - len(known)
    total = sum(points)
    return ScoredRate(
        rate=clustered_wilson_interval(points, prompts, level=level) if known else None,
        wins=sum(score > 0.5 for score in points),
        ties=sum(score == 0.5 for score in points),
        losses=sum(score < 0.5 for score in points),
        unscored=unscored,
        low_bound=total / len(scores),
        high_bound=(total + unscored) / len(scores),
        clusters=len(set(prompts)),
    )
