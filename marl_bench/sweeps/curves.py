"""Samples in, points of curves and their paired differences out."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from marl_bench.records import EvalSample
from marl_bench.reporting.pairs import generator
from marl_bench.sampling_curves import SamplingDifference, SamplingPoint
from marl_bench.statistics.bootstrap import cluster_bootstrap_interval
from marl_bench.statistics.intervals import LEVEL
from marl_bench.statistics.paired import paired_difference
from marl_bench.sweeps.collect import Collected
from marl_bench.sweeps.plan import Policy

PromptValues = Mapping[str, float]
"""Prompt id to its value; a prompt without one is absent."""

Columns = Mapping[str, PromptValues]
"""Metric to the values of the prompts."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One arm at one setting.

    Attributes:
        policies: The arm's policies, one a seed.
        x: N, or the temperature.
        columns: The values of each policy.
        samples: Responses, all policies together.
        unscored: Metric to the number of responses without a value.
        kl_above: Nats that are added to the mean `kl` of the columns.
    """

    policies: Sequence[Policy]
    x: float
    columns: Sequence[Columns]
    samples: int
    unscored: Mapping[str, int]
    kl_above: float = 0.0

    @property
    def label(self) -> str:
        """What a user reads."""
        return self.policies[0].label

    @property
    def role(self) -> str:
        """Role of the arm."""
        return self.policies[0].role

    def values(self, metric: str) -> PromptValues:
        """Returns each prompt's mean over the seeds that have a value."""
        found: dict[str, list[float]] = {}
        for columns in self.columns:
            for prompt, value in columns.get(metric, {}).items():
                found.setdefault(prompt, []).append(value)
        return {prompt: math.fsum(values) / len(values) for prompt, values in sorted(found.items())}

    def mean(self, metric: str) -> float | None:
        """Returns the mean over prompts, or None where none has a value."""
        return mean_of(self.values(metric))

    @property
    def kl(self) -> float | None:
        """KL to the SFT model in nats a response, or a bound on it."""
        measured = self.mean("kl")
        return None if measured is None else measured + self.kl_above


@dataclasses.dataclass(frozen=True)
class Part:
    """What one policy adds to the settings of its arm.

    Attributes:
        policy: The policy.
        columns: N or temperature to the values of the prompts.
        samples: Number of responses.
        unscored: Metric to the number of responses without a value.
    """

    policy: Policy
    columns: Mapping[float, Columns]
    samples: int
    unscored: Mapping[str, int]


def settings_of(parts: Sequence[Part], *, kl_above: Callable[[float], float] = lambda _: 0.0) -> list[Setting]:
    """Returns the settings of all arms, in the order of arms and of N or temperature."""
    found = []
    for arm in dict.fromkeys(part.policy.arm for part in parts):
        own = [part for part in parts if part.policy.arm == arm]
        for x in sorted({x for part in own for x in part.columns}):
            here = [part for part in own if x in part.columns]
            unscored = {name: sum(part.unscored.get(name, 0) for part in here) for name in here[0].unscored}
            found.append(
                Setting(
                    policies=[part.policy for part in here],
                    x=x,
                    columns=[part.columns[x] for part in here],
                    samples=sum(part.samples for part in here),
                    unscored=unscored,
                    kl_above=kl_above(x),
                )
            )
    return found


def part_of(collected: Collected, columns: Mapping[float, Columns]) -> Part:
    """Returns the columns with the counts of the samples that they are made of."""
    samples = [sample for rows in collected.samples.values() for sample in rows]
    unscored: dict[str, int] = {}
    for sample in samples:
        for name, value in sample.metrics.items():
            unscored[name] = unscored.get(name, 0) + (value is None)
    return Part(collected.wanted.policy, columns, len(samples), unscored)


def mean_of(values: PromptValues) -> float | None:
    """Returns the mean over prompts, or None of none."""
    return math.fsum(values.values()) / len(values) if values else None


def columns_of(
    samples: Mapping[str, Sequence[EvalSample]], chosen: Callable[[Sequence[EvalSample], str], float | None]
) -> Columns:
    """Returns what `chosen` makes of each prompt's samples, for each metric that has a value somewhere."""
    names = {name for rows in samples.values() for sample in rows for name in sample.metrics}
    columns: dict[str, PromptValues] = {}
    for name in sorted(names):
        found = {prompt: chosen(rows, name) for prompt, rows in samples.items()}
        columns[name] = {prompt: value for prompt, value in found.items() if value is not None}
    return {name: values for name, values in columns.items() if values}


def points_of(settings: Sequence[Setting], *, leading: Sequence[str]) -> list[SamplingPoint]:
    """Returns all points, arm by arm, then by metric with the leading ones first, then by x."""
    arms = list(dict.fromkeys(setting.label for setting in settings))
    names = {name for setting in settings for columns in setting.columns for name in columns} - {"kl"}
    metrics = [*(name for name in leading if name in names), *sorted(names - set(leading))]
    found = []
    for arm in arms:
        own = sorted((one for one in settings if one.label == arm), key=lambda one: one.x)
        found += [point for metric in metrics for one in own if (point := _point(one, metric)) is not None]
    return found


def _point(setting: Setting, metric: str) -> SamplingPoint | None:
    values = setting.values(metric)
    mean = mean_of(values)
    if mean is None:
        return None
    interval = cluster_bootstrap_interval(
        list(values.values()), list(values), rng=generator(setting.label, metric, repr(setting.x), "sampling")
    )
    by_seed = [mean_of(columns.get(metric, {})) for columns in setting.columns]
    return SamplingPoint(
        arm=setting.policies[0].arm,
        label=setting.label,
        x=setting.x,
        metric=metric,
        mean=mean,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        kl=setting.kl,
        by_seed=[value for value in by_seed if value is not None],
        samples=setting.samples,
        unscored=setting.unscored.get(metric, 0),
    )


def difference_of(first: Setting, second: Setting, metric: str, *, level: float = LEVEL) -> SamplingDifference | None:
    """Returns first minus second over the prompts that both have, or None without any."""
    names = (first.label, repr(first.x), second.label, repr(second.x), metric)
    found = paired_difference(
        first.values(metric), second.values(metric), rng=generator(*names, "sampling"), level=level
    )
    if found is None:
        return None
    ends = found.interval
    return SamplingDifference(
        label=first.label,
        x=first.x,
        reference=second.label,
        reference_x=second.x,
        metric=metric,
        delta=found.delta,
        low=ends.low if ends else None,
        high=ends.high if ends else None,
        level=level,
    )


def from_peak(
    settings: Sequence[Setting], metric: str, to: Setting, *, also: Sequence[str]
) -> list[SamplingDifference]:
    """Returns `to` minus the setting of the highest mean, on that metric and on others; empty where `to` is that setting.

    The peak is picked among all the others, so its intervals have the level that holds for all of them at once (Bonferroni).
    """
    others = [setting for setting in settings if setting is not to and setting.mean(metric) is not None]
    peak = max(others, key=lambda setting: setting.mean(metric) or 0.0, default=None)
    own = to.mean(metric)
    if peak is None or own is None or (peak.mean(metric) or 0.0) <= own:
        return []
    level = 1 - (1 - LEVEL) / len(others)
    found = (difference_of(to, peak, name, level=level) for name in (metric, *also))
    return [one for one in found if one is not None]


def notes_on_seeds(settings: Sequence[Setting]) -> list[str]:
    """Returns what a reader must know of the seeds behind the points."""
    notes = ["All intervals are over prompts, for these seeds: another training run may say otherwise."]
    if len({len(setting.policies) for setting in settings}) > 1:
        notes.append("SFT is one model for all seeds and was sampled with one of them.")
    return notes
