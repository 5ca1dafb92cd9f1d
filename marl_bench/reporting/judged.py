"""Win rates by judges: what stands in the judgements of an experiment, counted."""

import collections
import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from marl_bench.judgements import (
    IDENTICAL,
    MAX_UNSCORED,
    JudgedPair,
    Judgement,
    Verdict,
    judgement_folders,
    read_judgement,
    read_pairs,
)
from marl_bench.reporting.comparison import Comparison
from marl_bench.reporting.pairs import generator
from marl_bench.reporting.ranking import judged_ranking
from marl_bench.run_dir import RunDir
from marl_bench.statistics.bradley_terry import BradleyTerry
from marl_bench.statistics.intervals import Interval
from marl_bench.statistics.length_control import length_controlled_win_rate
from marl_bench.statistics.power import minimum_detectable_difference
from marl_bench.statistics.win_rates import ScoredRate, win_rate

FIRST: Mapping[str, str] = {"arm_first": "arm", "reference_first": "reference"}
"""Order of a verdict to who was read first."""

LEAST_CONSISTENT = 0.5
"""Below this share of pairs with the same winner in both orders, the verdicts say more of the position than of the responses."""
FIRST_RATE_OFF = 0.1
"""So far from one half the first-position rate, with its whole interval on that side, is a warning."""


@dataclasses.dataclass(frozen=True)
class JudgedRate:
    """One arm against another by one judge.

    Attributes:
        arm: Label of the arm.
        reference: Label of the arm it is held against.
        found: Rate over scored pairs with its interval, counts and bounds.
        length_controlled: The rate at equal length, or None where the fit says nothing.
        consistency: Share of the pairs scored in both orders whose verdicts agree, pairs of one text left out; None where one order was asked.
        seeds: Seeds of the pairs.
        detectable: Difference from one half that so many prompts show with chance 80 %; None where nothing varies.
        by_subset: Subset to its rate; empty where there is one subset only.
    """

    arm: str
    reference: str
    found: ScoredRate
    length_controlled: Interval | None
    consistency: float | None
    seeds: Sequence[int]
    detectable: float | None
    by_subset: Mapping[str, ScoredRate]


@dataclasses.dataclass(frozen=True)
class JudgedRates:
    """One judgement, counted.

    Attributes:
        name: Its folder.
        judgement: Who judged, and how.
        rates: One a comparison.
        pairs: Number of pairs.
        unscored: Of these, without a score.
        statuses: Status to the number of verdicts; zeros left out.
        paths: How verdicts were read, to their number.
        consistency: As in `JudgedRate`, over all comparisons.
        first_rate: Share of the verdicts other than ties that went to the response read first, clustered by prompt; None without any.
        tokens: Tokens read and written for all verdicts.
        ranking: Strengths of three or more arms; None without them.
    """

    name: str
    judgement: Judgement
    rates: Sequence[JudgedRate]
    pairs: int
    unscored: int
    statuses: Mapping[str, int]
    paths: Mapping[str, int]
    consistency: float | None
    first_rate: Interval | None
    tokens: tuple[int, int]
    ranking: BradleyTerry | None = None

    def warnings(self) -> list[str]:
        """Returns what a reader must know before any rate of this judge."""
        found = []
        if self.consistency is not None and self.consistency < LEAST_CONSISTENT:
            found.append(
                f"judge {self.judgement.judge}: only {100 * self.consistency:.0f} % of the pairs have the same winner in both orders; its "
                "verdicts follow the position of the responses more than the responses."
            )
        rate = self.first_rate
        if rate is not None and rate.excludes(0.5) and abs(rate.estimate - 0.5) > FIRST_RATE_OFF:
            remedy = "" if self.judgement.order == "both" else "; judge both orders"
            found.append(
                f"judge {self.judgement.judge}: the response read first won {100 * rate.estimate:.0f} % of the verdicts that name a winner"
                f"{remedy}."
            )
        if self.unscored > MAX_UNSCORED * self.pairs:
            causes = ", ".join(
                f"{count} {status}" for status, count in self.statuses.items() if status not in ("ok", "tie")
            )
            found.append(
                f"judge {self.judgement.judge}: {self.unscored} of {self.pairs} pairs have no score ({causes}); see the bounds of the rates."
            )
        return found


def read_judged(
    experiments: Iterable[Path], *, labels: Mapping[str, str], names: Sequence[str] | None = None
) -> list[JudgedRates]:
    """Returns the judgements of experiments, counted; those of one name, judge and protocol are one. Sorted by name.

    Args:
        experiments: Folders of the experiments.
        labels: Folder name of an arm to its label; an arm that is not in it reads as its folder name.
        names: Only these judgements; None means all.

    Raises:
        RecordError: A judgement is damaged.
    """
    groups: dict[tuple[str, ...], list[tuple[Judgement, list[JudgedPair]]]] = {}
    for experiment in experiments:
        for folder in judgement_folders(experiment):
            if names is None or folder.name in names:
                one = read_judgement(folder)
                key = (folder.name, one.judge, one.protocol, one.order, str(one.seed))
                groups.setdefault(key, []).append((one, list(read_pairs(folder))))
    return [
        count_judged(
            key[0], _joined([one for one, _ in group]), [pair for _, pairs in group for pair in pairs], labels=labels
        )
        for key, group in sorted(groups.items())
    ]


def _joined(parts: Sequence[Judgement]) -> Judgement:
    """Returns the parts of a judgement that stand in several experiments as one."""
    costs = [part.cost for part in parts if part.cost is not None]
    return dataclasses.replace(
        parts[0],
        prompts=sorted({name for part in parts for name in part.prompts}),
        cost=sum(costs) if len(costs) == len(parts) else None,
        notes=list(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def with_judgements(comparison: Comparison, run_dirs: Iterable[RunDir]) -> Comparison:
    """Returns the comparison with what judges said in its experiments, in the order of its arms; their warnings stand among its own.

    Raises:
        RecordError: A judgement is damaged.
    """
    labels = {found.arm.name: found.arm.label for found in comparison.arms}
    places = {label: place for place, label in enumerate(labels.values())}
    last = len(places)
    judged = [
        dataclasses.replace(
            found,
            rates=sorted(found.rates, key=lambda rate: (places.get(rate.reference, last), places.get(rate.arm, last))),
        )
        for found in read_judged([run_dir.root for run_dir in run_dirs], labels=labels)
    ]
    warnings = [warning for found in judged for warning in found.warnings()]
    return dataclasses.replace(comparison, judged=judged, warnings=[*comparison.warnings, *warnings])


def count_judged(
    name: str, judgement: Judgement, pairs: Sequence[JudgedPair], *, labels: Mapping[str, str]
) -> JudgedRates:
    """Returns the rates and counts of one judgement."""
    groups: dict[tuple[str, str], list[JudgedPair]] = {}
    for pair in pairs:
        groups.setdefault((pair.arm, pair.reference), []).append(pair)
    verdicts = [verdict for pair in pairs for verdict in pair.verdicts]
    decided = [
        (pair.prompt_id, float(verdict.winner == FIRST[verdict.order]))
        for pair in pairs
        for verdict in pair.verdicts
        if verdict.winner in FIRST.values()
    ]
    first = win_rate([won for _, won in decided], [prompt for prompt, _ in decided]) if decided else None
    return JudgedRates(
        name=name,
        judgement=judgement,
        rates=[_rate(group, judgement, labels=labels) for group in groups.values()],
        pairs=len(pairs),
        unscored=sum(pair.score is None for pair in pairs),
        statuses=_counts(verdict.status for verdict in verdicts),
        paths=_counts(verdict.path for verdict in verdicts if verdict.path),
        consistency=_consistency(pairs),
        first_rate=first.rate if first else None,
        tokens=(_sum(verdicts, "prompt_tokens"), _sum(verdicts, "completion_tokens")),
        ranking=judged_ranking(pairs, judge=judgement.judge, labels=labels),
    )


def _rate(pairs: Sequence[JudgedPair], judgement: Judgement, *, labels: Mapping[str, str]) -> JudgedRate:
    arm, reference = pairs[0].arm, pairs[0].reference
    scores, prompts = [pair.score for pair in pairs], [pair.prompt_id for pair in pairs]
    subsets = sorted({pair.subset for pair in pairs})
    return JudgedRate(
        arm=labels.get(arm, arm),
        reference=labels.get(reference, reference),
        found=win_rate(scores, prompts),
        length_controlled=length_controlled_win_rate(
            scores,
            [pair.arm_words - pair.reference_words for pair in pairs],
            prompts,
            rng=generator(arm, reference, judgement.judge, "length"),
        ),
        consistency=_consistency(pairs),
        seeds=sorted({pair.seed for pair in pairs}),
        detectable=_detectable(pairs),
        by_subset={subset: _subset_rate(pairs, subset) for subset in subsets} if len(subsets) > 1 else {},
    )


def _subset_rate(pairs: Sequence[JudgedPair], subset: str) -> ScoredRate:
    mine = [pair for pair in pairs if pair.subset == subset]
    return win_rate([pair.score for pair in mine], [pair.prompt_id for pair in mine])


def _consistency(pairs: Iterable[JudgedPair]) -> float | None:
    same = [
        pair.verdicts[0].winner == pair.verdicts[1].winner
        for pair in pairs
        if pair.score is not None
        and pair.verdicts[0].path != IDENTICAL
        and [verdict.order for verdict in pair.verdicts] == ["arm_first", "reference_first"]
    ]
    return sum(same) / len(same) if same else None


def _detectable(pairs: Sequence[JudgedPair]) -> float | None:
    by_prompt: dict[str, list[float]] = {}
    for pair in pairs:
        if pair.score is not None:
            by_prompt.setdefault(pair.prompt_id, []).append(pair.score)
    means = [statistics.fmean(scores) for scores in by_prompt.values()]
    if len(means) < 2 or min(means) == max(means):
        return None
    return minimum_detectable_difference(statistics.stdev(means), len(means))


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(collections.Counter(names).items()))


def _sum(verdicts: Iterable[Verdict], name: str) -> int:
    return sum(getattr(verdict, name) for verdict in verdicts)
