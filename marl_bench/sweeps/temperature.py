"""Temperature sweeps on the policies of a finished run."""

import math
from collections.abc import Iterator, Sequence

from marl_bench.errors import ConfigError
from marl_bench.metrics.diversity import diversity
from marl_bench.records import EvalSample, Prompt
from marl_bench.reporting.comparison import ORACLE
from marl_bench.sampling_curves import SamplingCurves, SamplingDifference
from marl_bench.sweeps.collect import Collected, Done, Wanted, collect
from marl_bench.sweeps.curves import (
    Columns,
    Part,
    Setting,
    columns_of,
    difference_of,
    from_peak,
    notes_on_seeds,
    part_of,
    points_of,
    settings_of,
)
from marl_bench.sweeps.plan import SweepPlan

TEMPERATURES = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
"""Temperatures unless a user asks for others."""

HOTTEST = 10.0
"""Above it every token is about as probable as any other; such a number is a mistake."""


def check_temperatures(temperatures: Sequence[float]) -> list[float]:
    """Returns the temperatures, sorted.

    Raises:
        ConfigError: One is negative, not finite or above `HOTTEST`.
    """
    wrong = [one for one in temperatures if not 0 <= one <= HOTTEST]
    if wrong or not temperatures:
        raise ConfigError(
            f"--temperatures {','.join(f'{one:g}' for one in temperatures)}: should be numbers above 0 and up to {HOTTEST:g}, or 0 for greedy."
        )
    return sorted({float(one) for one in temperatures})


def wanted_samples(plan: SweepPlan, temperatures: Sequence[float], samples: int) -> list[Wanted]:
    """Returns the samples that the sweep needs; greedy ones are all alike, so there is one."""
    return [
        Wanted(policy, temperature, samples if temperature > 0 else 1)
        for policy in plan.policies
        for temperature in temperatures
    ]


def sweep_temperature(plan: SweepPlan, temperatures: Sequence[float], samples: int, *, done: Done) -> SamplingCurves:
    """Samples what is missing and returns the curves; raises as `collect`.

    Args:
        plan: What is sampled.
        temperatures: As `check_temperatures` gives them.
        samples: Responses a prompt and temperature.
        done: Told how many responses are there.
    """
    settings = settings_of([_part(one) for one in collect(plan, wanted_samples(plan, temperatures, samples), done)])
    known = {name for setting in settings for columns in setting.columns for name in columns}
    metrics = [plan.score, *([ORACLE] if ORACLE in known and plan.score != ORACLE else [])]
    return SamplingCurves(
        kind="temperature",
        chosen_by="",
        prompts=len(plan.prompts),
        samples_per_prompt=samples,
        seeds=plan.seeds,
        points=points_of(settings, leading=metrics),
        notes=_notes(plan, settings, samples),
        score=plan.score,
        differences=[*_from_trained(plan, settings, metrics), *_between_arms(settings, metrics)],
    )


def _part(collected: Collected) -> Part:
    """Returns the means over each prompt's samples; from several parts an arm's settings are made, one a temperature."""
    columns = {**columns_of(collected.samples, _mean), **_diversity(collected)}
    return part_of(collected, {collected.wanted.temperature: columns})


def _mean(rows: Sequence[EvalSample], name: str) -> float | None:
    values = [value for sample in rows if (value := sample.metrics[name]) is not None]
    return math.fsum(values) / len(values) if values else None


def _diversity(collected: Collected) -> Columns:
    """Returns how much the samples of a prompt differ; empty with one sample a prompt."""
    if collected.wanted.samples < 2:
        return {}
    columns: dict[str, dict[str, float]] = {}
    for prompt, rows in collected.samples.items():
        found = diversity().compute([Prompt(prompt, "")] * len(rows), [sample.response for sample in rows])
        for name, values in found.items():
            known = [value for value in values if value is not None]
            if known:
                columns.setdefault(name, {})[prompt] = math.fsum(known) / len(known)
    return columns


def _from_trained(plan: SweepPlan, settings: Sequence[Setting], metrics: Sequence[str]) -> Iterator[SamplingDifference]:
    """Yields for each arm how far the temperature of training stays below the best one."""
    for label in dict.fromkeys(setting.label for setting in settings):
        own = [setting for setting in settings if setting.label == label]
        trained = next((one for one in own if one.x == plan.config.sampling.temperature), None)
        if trained is not None:
            for metric in metrics:
                yield from from_peak(own, metric, trained, also=())


def _between_arms(settings: Sequence[Setting], metrics: Sequence[str]) -> Iterator[SamplingDifference]:
    """Yields the token arm minus SFT, and each arm behind it minus the token arm (or SFT, if there is none), temperature by temperature."""
    labels = {role: next((one.label for one in settings if one.role == role), None) for role in ("start", "token")}
    by_key = {(setting.label, setting.x): setting for setting in settings}
    for metric in metrics:
        for setting in settings:
            against = labels["start"] if setting.role == "token" else labels["token"] or labels["start"]
            reference = by_key.get((against or "", setting.x))
            if setting.role != "start" and reference is not None:
                found = difference_of(setting, reference, metric)
                if found is not None:
                    yield found


def _notes(plan: SweepPlan, settings: Sequence[Setting], samples: int) -> list[str]:
    greedy = " (one at 0, which is greedy)" if any(setting.x == 0 for setting in settings) else ""
    return [
        f"{samples} responses a prompt and temperature{greedy}; trained at temperature "
        f"{plan.config.sampling.temperature:g}. Temperatures share their random numbers.",
        f"KL: from the SFT model at temperature {plan.reference_temperature:g} to the arm at the row's temperature, measured.",
        *notes_on_seeds(settings),
    ]
