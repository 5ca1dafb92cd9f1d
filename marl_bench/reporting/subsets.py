"""Metrics by subset of the data: difficulty, kind of request, source of the prompts."""

from collections.abc import Mapping, Sequence

from marl_bench.records import EvalSample
from marl_bench.reporting.comparison import ORACLE, Comparison
from marl_bench.reporting.formatting import metric_name, number, titled
from marl_bench.reporting.tables import Table

_SAME_EVERYWHERE = {"finished", "response_tokens", "rouge1", "rouge2"}
"""Left out, because the table would be long: what says little by subset."""


def means_by_subset(samples: Sequence[EvalSample]) -> dict[str, dict[str, float]]:
    """Returns subset to metric to the mean over its scored samples; empty where all samples are of one subset."""
    found: dict[str, dict[str, list[float]]] = {}
    for sample in samples:
        columns = found.setdefault(sample.subset, {})
        for name, value in sample.metrics.items():
            if value is not None:
                columns.setdefault(name, []).append(float(value))
    if len(found) < 2:
        return {}
    return {
        subset: {name: sum(values) / len(values) for name, values in columns.items()}
        for subset, columns in sorted(found.items())
    }


def subsets_table(comparison: Comparison) -> Table | None:
    """Returns every metric by subset, one column an arm, or None where the data have one subset only."""
    subsets = sorted({subset for found in comparison.arms for subset in found.by_subset})
    if not subsets:
        return None
    known = {name for found in comparison.arms for means in found.by_subset.values() for name in means}
    first = [name for name in (comparison.primary_metric, ORACLE) if name in known]
    names = [*first, *sorted(known - set(first) - _SAME_EVERYWHERE)]
    rows = [
        [titled(metric_name(name)), subset, *(_mean(found.by_subset, subset, name) for found in comparison.arms)]
        for name in names
        for subset in subsets
        if any(name in found.by_subset.get(subset, {}) for found in comparison.arms)
    ]
    heads = ["Metric", "Subset", *(found.arm.label for found in comparison.arms)]
    return Table("Results by subset", heads, rows, "Means over samples and seeds.", text_columns=2)


def _mean(by_subset: Mapping[str, Mapping[str, float]], subset: str, name: str) -> str:
    return number(by_subset.get(subset, {}).get(name))
