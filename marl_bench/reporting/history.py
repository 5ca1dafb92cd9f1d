"""How results moved over versions, commits and dates: every stored run and reference of the same task, arm and configuration."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from marl_bench.errors import RecordError
from marl_bench.reporting.arm_cells import ArmCells, PromptIndex, arms_of
from marl_bench.reporting.comparison import ORACLE, Difference
from marl_bench.reporting.pairs import difference
from marl_bench.reporting.stored import Stored, stored_results
from marl_bench.statistics.intervals import Interval, mean_interval


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of a history.

    Attributes:
        stored: The arm of a run or reference.
        metric: Name of the metric.
        mean: Mean over seeds.
        over_seeds: Its interval over seeds; None with one.
        since: The stored arm that comes before it, or None for the first.
        change: Since then on shared prompts and seeds; None without shared ones.
        change_of_means: Since then from means alone, over shared seeds; None where `change` is known or no seed is shared.
        equal: True if every compared number is the same to its last bit.
    """

    stored: Stored
    metric: str
    mean: float
    over_seeds: Interval | None
    since: Stored | None
    change: Difference | None
    change_of_means: tuple[float, Interval | None] | None
    equal: bool


@dataclasses.dataclass(frozen=True)
class History:
    """All lines, in groups that belong together, and what could not be read."""

    entries: Sequence[Entry]
    problems: Sequence[str]


def history_of(paths: Sequence[Path], *, metrics: Sequence[str] = (), across: bool = False) -> History:
    """Returns how the results of each task, arm and configuration moved.

    Args:
        paths: Runs and references, or folders that hold them.
        metrics: Names of metrics; empty takes the primary metric and the oracle.
        across: One line of history for a task and arm whatever the configuration.

    Raises:
        RecordError: There is nothing, or a run that was named itself cannot be read.
    """
    problems: list[str] = []
    stored = stored_results(paths, problems)
    stored.sort(key=lambda one: (one.task, one.arm, "" if across else one.config_hash, one.date, one.source))
    entries = []
    for place, one in enumerate(stored):
        before = stored[place - 1] if place else None
        if before and (before.task, before.arm) != (one.task, one.arm):
            before = None
        if before and not across and before.config_hash != one.config_hash:
            before = None
        wanted = metrics or list(dict.fromkeys([one.primary_metric or _primary(stored, one.task), ORACLE]))
        entries += [_entry(one, before, metric) for metric in wanted if one.means.get(metric)]
    if not entries:
        known = sorted({name for one in stored for name in one.means})
        raise RecordError(f"no stored run has the metric {', '.join(metrics)}; known are {', '.join(known)}.")
    return History(entries, problems)


def _primary(stored: Sequence[Stored], task: str) -> str:
    return next((one.primary_metric for one in stored if one.task == task and one.primary_metric), "")


def _entry(one: Stored, before: Stored | None, metric: str) -> Entry:
    values = one.means[metric]
    mean, over_seeds = sum(values.values()) / len(values), mean_interval(list(values.values()))
    change = _change(one, before, metric) if before else None
    of_means, equal = None, False
    if before is not None and change is None:
        old = before.means.get(metric, {})
        moved = [values[seed] - old[seed] for seed in sorted(values.keys() & old.keys())]
        of_means = (sum(moved) / len(moved), mean_interval(moved)) if moved else None
        equal = bool(moved) and not any(moved)
    elif change is not None:
        over = change.over_prompts
        equal = over.higher == over.lower == 0
    return Entry(one, metric, mean, over_seeds, before, change, of_means, equal)


def _change(one: Stored, before: Stored, metric: str) -> Difference | None:
    if not one.cells or not before.cells:
        return None
    index = PromptIndex([*one.cells.values(), *before.cells.values()])
    new, old = _arm(one, index), _arm(before, index)
    directions = {cell.record.higher_is_better.get(metric) for cell in (*one.cells.values(), *before.cells.values())}
    better = directions.pop() if len(directions) == 1 else None
    return difference(new, old, metric, higher_is_better=better, reference_deviation=None)


def _arm(one: Stored, index: PromptIndex) -> ArmCells:
    [arm] = arms_of(list(one.cells.values()), index)
    return arm
