"""Labels of pairs by several judges: how far they agree, and how much more one of them likes the longer response."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from marl_bench.statistics.agreement import agreement, kappa_interval
from marl_bench.statistics.bootstrap import RESAMPLES, cluster_bootstrap_interval
from marl_bench.statistics.intervals import Interval
from marl_bench.statistics.length_control import length_controlled_win_rate
from marl_bench.statistics.win_rates import ScoredRate, win_rate

Winner = Literal["first", "second", "tie"]


@dataclasses.dataclass(frozen=True)
class Pair:
    """What is known of a pair of responses before anyone judges it.

    Attributes:
        cluster: The prompt; pairs of one prompt may depend on each other.
        length_gap: Length of the first response minus that of the second; None if the texts are not known.
    """

    cluster: str
    length_gap: int | None = None


@dataclasses.dataclass(frozen=True)
class JudgeLabels:
    """What one judge said.

    Attributes:
        name: Name in tables.
        scores: Pair id to 1 (the first response wins), 0 (the second does), 1/2 (tie) or anything between; unscored pairs are absent.
    """

    name: str
    scores: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Two judges on the pairs that both have scored.

    Attributes:
        judge: Name of the first.
        other: Name of the second, the one that is held for true.
        pairs: Pairs that both have scored.
        same: Share of the pairs on which both name the same winner, a tie being a third answer; None without pairs.
        kappa: Cohen's kappa of the three answers, its interval for independent pairs; None where it is not defined.
        decided: Pairs on which neither says tie.
        same_decided: Share of those with the same winner; None without any.
        longer: Share in which the longer response wins with the first judge, a tie as half, over shared pairs of unequal length.
        longer_other: Likewise with the second.
        length_bias: The first minus the second of these shares, with an interval over prompts; None without lengths.
    """

    judge: str
    other: str
    pairs: int
    same: Interval | None
    kappa: Interval | None
    decided: int
    same_decided: Interval | None
    longer: float | None
    longer_other: float | None
    length_bias: Interval | None


@dataclasses.dataclass(frozen=True)
class JudgeSummary:
    """One judge on all pairs.

    Attributes:
        judge: Its name.
        rate: Win rate of the first response, with counts and bounds.
        length_controlled: The win rate at equal lengths; None without lengths or where the fit is not defined.
        longer: Share in which the longer response wins, a tie as half, with an interval over prompts; None without lengths.
    """

    judge: str
    rate: ScoredRate
    length_controlled: Interval | None
    longer: Interval | None


def winner(score: float) -> Winner:
    """Returns who wins by a score of the first response."""
    return "tie" if score == 0.5 else "first" if score > 0.5 else "second"


def compare_labels(
    judge: JudgeLabels,
    other: JudgeLabels,
    pairs: Mapping[str, Pair],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Agreement:
    """Returns how far two judges agree on the pairs that both have scored."""
    shared = [key for key in pairs if key in judge.scores and key in other.scores]
    first, second = ([winner(one.scores[key]) for key in shared] for one in (judge, other))
    clusters = [pairs[key].cluster for key in shared]
    decided = [row for row in zip(first, second, clusters, strict=True) if "tie" not in row[:2]]
    unequal = [key for key in shared if pairs[key].length_gap]
    own, others = ([longer_score(one.scores[key], pairs[key]) for key in unequal] for one in (judge, other))
    return Agreement(
        judge=judge.name,
        other=other.name,
        pairs=len(shared),
        same=_same(first, second, clusters),
        kappa=kappa_interval(first, second) if shared else None,
        decided=len(decided),
        same_decided=_same(*zip(*decided, strict=True)) if decided else None,
        longer=float(np.mean(own)) if own else None,
        longer_other=float(np.mean(others)) if others else None,
        length_bias=cluster_bootstrap_interval(
            np.subtract(own, others), [pairs[key].cluster for key in unequal], rng=rng, resamples=resamples
        )
        if unequal
        else None,
    )


def summarise_labels(
    judge: JudgeLabels, pairs: Mapping[str, Pair], *, rng: np.random.Generator, resamples: int = RESAMPLES
) -> JudgeSummary:
    """Returns a judge's win rates of the first response, raw and at equal lengths, and its liking for the longer one."""
    keys = list(pairs)
    scored = [key for key in keys if key in judge.scores]
    with_length = [key for key in scored if pairs[key].length_gap is not None]
    unequal = [key for key in with_length if pairs[key].length_gap]
    return JudgeSummary(
        judge=judge.name,
        rate=win_rate([judge.scores.get(key) for key in keys], [pairs[key].cluster for key in keys]),
        length_controlled=length_controlled_win_rate(
            [judge.scores[key] for key in with_length],
            [float(pairs[key].length_gap or 0) for key in with_length],
            [pairs[key].cluster for key in with_length],
            rng=rng,
            resamples=resamples,
        )
        if with_length
        else None,
        longer=cluster_bootstrap_interval(
            [longer_score(judge.scores[key], pairs[key]) for key in unequal],
            [pairs[key].cluster for key in unequal],
            rng=rng,
            resamples=resamples,
        )
        if unequal
        else None,
    )


def majority(name: str, judges: Sequence[JudgeLabels], pairs: Mapping[str, Pair]) -> JudgeLabels:
    """Returns the answer that more judges give than any other; where two answers lead, it is a tie; pairs that one judge left are unscored."""
    scores = {}
    for key in pairs:
        if all(key in judge.scores for judge in judges):
            counts = Counter(winner(judge.scores[key]) for judge in judges).most_common()
            leads = len(counts) == 1 or counts[0][1] > counts[1][1]
            scores[key] = {"first": 1.0, "second": 0.0, "tie": 0.5}[counts[0][0]] if leads else 0.5
    return JudgeLabels(name, scores)


def _same(first: Sequence[str], second: Sequence[str], clusters: Sequence[str]) -> Interval | None:
    return agreement(first, second, clusters=clusters) if first else None


def longer_score(score: float, pair: Pair) -> float:
    """Returns the score of a pair's longer response."""
    return score if (pair.length_gap or 0) > 0 else 1 - score
