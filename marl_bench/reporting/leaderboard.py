"""Arms over tasks: scores with intervals over seeds, mean ranks, and the chance to be better than one arm."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from marl_bench.errors import RecordError, UnknownNameError
from marl_bench.reporting.comparison import ORACLE
from marl_bench.reporting.stored import Stored, stored_results
from marl_bench.statistics.intervals import Interval, mean_interval
from marl_bench.statistics.robust import probability_of_improvement

TOKEN_ARM = "token_ppo"


@dataclasses.dataclass(frozen=True)
class Standing:
    """One arm on one task.

    Attributes:
        by_seed: Seed to the mean over its samples.
        over_seeds: Interval over seeds; None with one.
        rank: Mean over seeds of its place among the arms of the task, 1 is best, equal scores share theirs; None where no seed is
            shared by all arms.
        improvement: Chance that a seed of it is better than a seed of the reference arm; None for the reference and where that is missing.
    """

    by_seed: Mapping[int, float]
    over_seeds: Interval | None
    rank: float | None
    improvement: Interval | None

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return sum(self.by_seed.values()) / len(self.by_seed)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One arm.

    Attributes:
        label: What a user types and reads.
        standings: Task to its standing; tasks without the arm are missing.
        mean_rank: Mean over its tasks, with an interval over seeds where all tasks have the same seeds; None as for the ranks.
        improvement: Mean over tasks, with the means of the tasks' bounds, which is wider than need be.
    """

    label: str
    standings: Mapping[str, Standing]
    mean_rank: Interval | float | None
    improvement: Interval | None


@dataclasses.dataclass(frozen=True)
class Leaderboard:
    """All arms, best mean rank first.

    Attributes:
        metrics: Task to the metric that is shown of it, in the order of the tasks.
        reference: Label of the arm that the others are held against.
        entries: The arms.
        warnings: What a reader must know before believing it.
        problems: Runs that could not be read.
    """

    metrics: Mapping[str, str]
    reference: str
    entries: Sequence[Entry]
    warnings: Sequence[str]
    problems: Sequence[str]


def leaderboard(
    paths: Sequence[Path], *, metric: str | None = None, against: str = TOKEN_ARM, force: bool = False
) -> Leaderboard:
    """Makes the leaderboard of stored runs and references.

    Args:
        paths: Runs and references, or folders that hold them.
        metric: Metric of every task; None takes each task's primary one.
        against: Label or folder name of the arm that the others are held against.
        force: Show runs of one task that stand on other task versions, data, SFT or reward models side by side, with a warning.

    Raises:
        RecordError: There is nothing to show, the same arm and seed stands there twice, or what stands side by side is not comparable.
        UnknownNameError: No arm is called `against`, or no task has the metric.
    """
    problems: list[str] = []
    stored = [one for one in stored_results(paths, problems) if one.cells and not _is_inside(one, paths)]
    if not stored:
        raise RecordError(f"{', '.join(map(str, paths))}: no complete cell there; a leaderboard needs finished runs.")
    arms = {one.label for one in stored} | {one.arm for one in stored}
    if against not in arms:
        raise UnknownNameError("arm", against, arms)
    reference = next(one.label for one in stored if against in (one.label, one.arm))
    warnings: list[str] = []
    by_task: dict[str, dict[str, dict[int, float]]] = {}
    metrics: dict[str, str] = {}
    better: dict[str, bool] = {}
    for task in sorted({one.task for one in stored}):
        of_task = [one for one in stored if one.task == task]
        name = metric or of_task[0].primary_metric
        scores = _scores(of_task, name)
        if not scores:
            continue
        warnings += _check_comparable(of_task, force=force)
        by_task[task], metrics[task], better[task] = scores, name, _direction(of_task, name)
    if not by_task:
        raise UnknownNameError("metric", str(metric), {name for one in stored for name in one.means})
    ranks = {task: _ranks(scores, higher=better[task]) for task, scores in by_task.items()}
    labels = list(dict.fromkeys(label for scores in by_task.values() for label in scores))
    entries = [_entry(label, by_task, ranks, better, reference) for label in labels]
    entries.sort(key=lambda entry: (_middle(entry.mean_rank), entry.label))
    return Leaderboard(metrics, reference, entries, warnings, problems)


def _is_inside(one: Stored, paths: Sequence[Path]) -> bool:
    """Returns True for a run's own later evaluations, unless they were named themselves: their settings are others."""
    folder = Path(one.source)
    return folder.parent.name == "evaluations" and folder not in paths


def _scores(stored: Sequence[Stored], metric: str) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for one in stored:
        for seed, value in one.means.get(metric, {}).items():
            by_seed = found.setdefault(one.label, {})
            if by_seed.setdefault(seed, value) != value:
                other = next(
                    each.source for each in stored if each.label == one.label and seed in each.means.get(metric, {})
                )
                raise RecordError(
                    f"{one.source}: arm {one.label}, seed {seed} of task {one.task} stands in {other} too, with another {metric}; "
                    "give the folders of the runs that are meant, one of each task."
                )
    return found


def _direction(stored: Sequence[Stored], metric: str) -> bool:
    """Returns True unless the records say that less of the metric is better; raises `RecordError` where no end is."""
    if metric == ORACLE:
        return True
    known = {cell.record.higher_is_better.get(metric) for one in stored for cell in one.cells.values()} - {None}
    if known == {False}:
        return False
    if known != {True} and metric not in {one.primary_metric for one in stored}:
        raise RecordError(f"metric {metric}: neither end of it is better, so arms have no ranks in it.")
    return True


def _check_comparable(stored: Sequence[Stored], *, force: bool) -> list[str]:
    warnings = []
    records = [cell.record for one in stored for cell in one.cells.values()]
    facts = {
        "task versions": {str(record.task["version"]) for record in records},
        "data": {record.digests.get("data", "")[:12] for record in records},
        "SFT models": {record.digests.get("sft", "")[:12] for record in records},
        "reward models": {record.digests.get("reward_model", "")[:12] for record in records},
        "configurations": {record.config_hash[:8] for record in records},
    }
    for name, values in facts.items():
        if len(values) > 1:
            text = f"task {stored[0].task}: other {name} stand side by side ({', '.join(sorted(values))})"
            if not force:
                raise RecordError(f"{text}; name one of the runs, or use --force to show them with this warning.")
            warnings.append(f"{text}; differences are not those of the arms alone.")
    return warnings


def _ranks(scores: Mapping[str, Mapping[int, float]], *, higher: bool) -> dict[str, dict[int, float]]:
    """Returns label to seed to place, for the seeds that all arms of a task have."""
    shared = sorted(set.intersection(*(set(by_seed) for by_seed in scores.values())))
    labels = list(scores)
    values = np.array([[scores[label][seed] for seed in shared] for label in labels]).reshape(len(labels), len(shared))
    places = rankdata(-values if higher else values, axis=0)
    return {label: dict(zip(shared, map(float, row), strict=True)) for label, row in zip(labels, places, strict=True)}


def _entry(
    label: str,
    by_task: Mapping[str, Mapping[str, Mapping[int, float]]],
    ranks: Mapping[str, Mapping[str, Mapping[int, float]]],
    better: Mapping[str, bool],
    reference: str,
) -> Entry:
    standings = {}
    for task, scores in by_task.items():
        if label not in scores:
            continue
        improvement = None
        if label != reference and reference in scores:
            sign = 1 if better[task] else -1
            improvement = probability_of_improvement(
                [sign * value for value in scores[label].values()],
                [sign * value for value in scores[reference].values()],
            )
        places = list(ranks[task][label].values())
        rank = sum(places) / len(places) if places else None
        by_seed = scores[label]
        standings[task] = Standing(by_seed, mean_interval(list(by_seed.values())), rank, improvement)
    chances = [standing.improvement for standing in standings.values() if standing.improvement is not None]
    means = [
        float(np.mean([getattr(chance, end) for chance in chances])) for end in ("estimate", "low", "high") if chances
    ]
    return Entry(label, standings, _mean_rank(label, standings, ranks), Interval(*means) if means else None)


def _mean_rank(
    label: str, standings: Mapping[str, Standing], ranks: Mapping[str, Mapping[str, Mapping[int, float]]]
) -> Interval | float | None:
    of_tasks = [standing.rank for standing in standings.values()]
    known = [rank for rank in of_tasks if rank is not None]
    if not known or len(known) < len(of_tasks):
        return None
    seeds = [set(ranks[task][label]) for task in standings]
    if all(each == seeds[0] for each in seeds):
        means = [float(np.mean([ranks[task][label][seed] for task in standings])) for seed in sorted(seeds[0])]
        return mean_interval(means) or means[0]
    return sum(known) / len(known)


def _middle(rank: Interval | float | None) -> float:
    return float("inf") if rank is None else rank.estimate if isinstance(rank, Interval) else rank
