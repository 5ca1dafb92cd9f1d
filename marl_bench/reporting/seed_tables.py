"""What single seeds do not decide: interquartile means, and how often a seed of one arm is above a seed of another."""

from collections.abc import Iterator, Sequence

from marl_bench.reporting.comparison import ORACLE, Arm, ArmSummary, Comparison
from marl_bench.reporting.formatting import NONE, interval, metric_name, number, percent, percent_interval, plus_minus
from marl_bench.reporting.tables import Table
from marl_bench.statistics.robust import interquartile_mean, probability_of_improvement

FEWEST_SEEDS = 3
"""Below it neither quantity says more than the seeds themselves."""


def seeds_table(comparison: Comparison) -> Table | None:
    """Returns interquartile means and probabilities of improvement over seeds, or None where no arm has three seeds."""
    if not any(len(found.seeds) >= FEWEST_SEEDS for found in comparison.arms):
        return None
    references = [arm for arm in (comparison.start, comparison.token) if arm is not None]
    metrics = [comparison.primary_metric, *([ORACLE] if comparison.primary_metric != ORACLE else [])]
    rows = [
        [
            metric_name(metric),
            found.arm.label,
            str(len(found.metrics[metric].by_seed)),
            plus_minus(found.metrics[metric].mean, found.metrics[metric].over_seeds),
            *_interquartile(found, metric),
            *(cell for reference in references for cell in _improvement(comparison, found, reference, metric)),
        ]
        for metric in metrics
        for found in comparison.arms
        if metric in found.metrics
    ]
    heads = ["Metric", "Arm", "Seeds", "Mean ± seeds", "Interquartile mean", "95 %"]
    for reference in references:
        heads += [f"P(better than {reference.label})", "95 %"]
    note = (
        "Over seeds, each with its mean over prompts. Interquartile mean: without the lowest and the highest quarter of the seeds (below "
        "four seeds nothing is left out, so it is the mean). P: the chance that a seed of the arm is better than a seed of the other, over "
        "all pairs of seeds, a tie as half (Mann-Whitney); with few seeds its interval is wide even where every seed is better. "
        f"– below {FEWEST_SEEDS} seeds of either, or where neither end of the metric is better."
    )
    return Table("Robust summaries over seeds", heads, rows, note, text_columns=2)


def _interquartile(found: ArmSummary, metric: str) -> Iterator[str]:
    values = _by_seed(found, metric)
    middle = interquartile_mean(values) if len(values) >= FEWEST_SEEDS else None
    yield number(middle.estimate) if middle else NONE
    yield interval(middle)


def _improvement(comparison: Comparison, found: ArmSummary, reference: Arm, metric: str) -> Iterator[str]:
    other = next(one for one in comparison.arms if one.arm == reference)
    values, other_values = _by_seed(found, metric), _by_seed(other, metric)
    better = comparison.higher_is_better.get(metric)
    if found is other or better is None or min(len(values), len(other_values)) < FEWEST_SEEDS:
        yield from (NONE, NONE)
        return
    chance = probability_of_improvement(*((values, other_values) if better else (other_values, values)))
    yield percent(chance.estimate)
    yield percent_interval(chance)


def _by_seed(found: ArmSummary, metric: str) -> Sequence[float]:
    summary = found.metrics.get(metric)
    return list(summary.by_seed.values()) if summary else []
