"""Metrics by subset of the data: difficulty, kind of request, source of the prompts."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from marl_bench.reporting.comparison import ORACLE, Comparison
from marl_bench.reporting.formatting import metric_name, number, titled
from marl_bench.reporting.tables import Table
from marl_bench.sample_columns import SampleColumns

_SAME_EVERYWHERE = {"finished", "response_tokens", "rouge1", "rouge2"}
"""Left out, because the table would be long: what says little by subset."""


def means_by_subset(cells: Sequence[SampleColumns]) -> dict[str, dict[str, float]]:
    """Returns subset to metric to the mean over its scored samples; empty where all samples are of one subset."""
    subsets = sorted({subset for cell in cells for subset in cell.subsets})
    if len(subsets) < 2:
        return {}
    codes = [
        np.array([subsets.index(subset) for subset in cell.subsets])[cell.subset_codes] for cell in cells if len(cell)
    ]
    found: dict[str, dict[str, float]] = {subset: {} for subset in subsets}
    for name in sorted({name for cell in cells for name in cell.metrics}):
        values = np.concatenate([_column(cell, name) for cell in cells])
        scored = np.isfinite(values)
        places = np.concatenate(codes)[scored]
        sums = np.bincount(places, weights=values[scored], minlength=len(subsets))
        sizes = np.bincount(places, minlength=len(subsets))
        for place, subset in enumerate(subsets):
            if sizes[place]:
                found[subset][name] = float(sums[place] / sizes[place])
    return found


def _column(cell: SampleColumns, name: str) -> npt.NDArray[np.float64]:
    values = cell.metrics.get(name)
    return np.full(len(cell), np.nan) if values is None else values


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
