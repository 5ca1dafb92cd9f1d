"""Best-of-N on the policies of a finished run."""

from collections.abc import Iterator, Mapping, Sequence

from marl_bench.errors import ConfigError
from marl_bench.records import EvalSample
from marl_bench.reporting.comparison import ORACLE
from marl_bench.sampling_curves import SamplingCurves, SamplingDifference
from marl_bench.statistics.best_of_n import best_of_n_kl, choice_probabilities, mean_of_chosen
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

SIZES = (1, 2, 4, 8, 16, 32)
"""Values of N unless a user asks for others."""


def check_sizes(sizes: Sequence[int], *, temperature: float) -> list[int]:
    """Returns the values of N, sorted, with 1 among them: it is where every curve begins.

    Raises:
        ConfigError: One is below 1, or the samples are greedy.
    """
    if not sizes or min(sizes) < 1:
        raise ConfigError(
            f"--n {','.join(map(str, sizes))}: should be whole numbers of 1 and more, for example 1,2,4,8."
        )
    if temperature == 0 and max(sizes) > 1:
        raise ConfigError(
            "evaluation.temperature=0: greedy samples are all alike, so there is no best of them; give one above 0."
        )
    return sorted({1, *sizes})


def temperature_of(plan: SweepPlan) -> float:
    """Returns the temperature at which best-of-N samples."""
    config = plan.config
    given = config.evaluation.temperature
    return float(config.sampling.temperature if given is None else given)


def wanted_samples(plan: SweepPlan, sizes: Sequence[int]) -> list[Wanted]:
    """Returns the samples that best-of-N needs: the largest N of each policy, once."""
    return [Wanted(policy, temperature_of(plan), max(sizes)) for policy in plan.policies]


def best_of_n(plan: SweepPlan, sizes: Sequence[int], *, done: Done) -> SamplingCurves:
    """Samples what is missing and returns the curves; raises as `collect`.

    Args:
        plan: What is sampled.
        sizes: Values of N as `check_sizes` gives them.
        done: Told how many responses are there.
    """
    parts = [_part(one, plan.score, sizes) for one in collect(plan, wanted_samples(plan, sizes), done)]
    settings = settings_of(parts, kl_above=lambda size: best_of_n_kl(int(size)))
    metrics = _compared(plan, settings)
    return SamplingCurves(
        kind="best_of_n",
        chosen_by=plan.score,
        prompts=len(plan.prompts),
        samples_per_prompt=max(sizes),
        seeds=plan.seeds,
        points=points_of(settings, leading=metrics),
        notes=_notes(plan, settings),
        score=plan.score,
        differences=[*_along(settings, metrics), *_against_start(settings, metrics)],
    )


def _part(collected: Collected, score: str, sizes: Sequence[int]) -> Part:
    return part_of(collected, {float(size): _chosen(collected.samples, score, size) for size in sizes})


def _chosen(samples: Mapping[str, Sequence[EvalSample]], score: str, size: int) -> Columns:
    """Returns each prompt's expected metrics of the best of `size` by score."""
    shares = {
        prompt: choice_probabilities([sample.metrics[score] for sample in rows], size)
        for prompt, rows in samples.items()
    }

    def expected(rows: Sequence[EvalSample], name: str) -> float | None:
        return mean_of_chosen(shares[rows[0].prompt_id], [sample.metrics[name] for sample in rows])

    return columns_of(samples, expected)


def _compared(plan: SweepPlan, settings: Sequence[Setting]) -> list[str]:
    """Returns the metrics that curves are compared by."""
    known = {name for setting in settings for columns in setting.columns for name in columns}
    return [plan.score, *([ORACLE] if ORACLE in known and plan.score != ORACLE else [])]


def _along(settings: Sequence[Setting], metrics: Sequence[str]) -> Iterator[SamplingDifference]:
    """Yields for each arm what the largest N adds to one sample, and how far the oracle has come down from its peak."""
    for label in dict.fromkeys(setting.label for setting in settings):
        own = [setting for setting in settings if setting.label == label]
        if len(own) > 1:
            gains = (difference_of(own[-1], own[0], metric) for metric in metrics)
            yield from (found for found in gains if found is not None)
        if ORACLE in metrics:
            # A peak at N = 1 has no better: then the gain above says it already, at the level of a single pair.
            yield from (
                found
                for found in from_peak(own, ORACLE, own[-1], also=[name for name in metrics if name != ORACLE])
                if found.reference_x > 1
            )


def _against_start(settings: Sequence[Setting], metrics: Sequence[str]) -> Iterator[SamplingDifference]:
    """Yields one response of each other arm minus the best of as many SFT responses as stay within the arm's KL."""
    start = [setting for setting in settings if setting.role == "start"]
    for arm in (setting for setting in settings if setting.role != "start" and setting.x == 1):
        within = [one for one in start if one.kl is not None and arm.kl is not None and one.kl <= arm.kl]
        reference = max(within or start[:1], key=lambda one: one.x, default=None)
        if reference is not None:
            found = (difference_of(arm, reference, metric) for metric in metrics)
            yield from (one for one in found if one is not None)


def _notes(plan: SweepPlan, settings: Sequence[Setting]) -> list[str]:
    rule = plan.evaluation.run.spec.reward_kind == "rule" and list(plan.config.reward.sources) == ["task"]
    notes = [
        f"Sampled at temperature {temperature_of(plan):g}; every N uses all {max(int(one.x) for one in settings)} responses of a prompt (mean "
        "over all subsets of N).",
        "KL at N = 1 is measured. For N > 1 it is an upper bound: ln N − (N − 1) / N plus the mean log-ratio of the chosen responses to the "
        "SFT model (Stiennon et al. 2020; Beirami et al. 2024).",
    ]
    if rule:
        notes.append(
            "The task's own rule chooses, and it is what is measured too: best-of-N by it says how often one of N responses does well "
            "(as pass@k does), not what a user without the rule would get."
        )
    return [*notes, *notes_on_seeds(settings)]
