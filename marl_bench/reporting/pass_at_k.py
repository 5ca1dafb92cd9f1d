"""pass@k by difficulty: of tasks whose samples pass or do not."""

import re
from collections.abc import Mapping

import numpy as np

from marl_bench.reporting.arm_cells import ArmCells
from marl_bench.reporting.comparison import Comparison, PassRate
from marl_bench.reporting.formatting import NONE, percent, percent_interval
from marl_bench.reporting.tables import Table
from marl_bench.statistics.proportions import clustered_wilson_interval

_METRIC = re.compile(r"pass@(\d+)")

ALL = "all"
"""Stands for the problems of all subsets together."""


def pass_rates(arm: ArmCells) -> dict[str, dict[int, PassRate]]:
    """Returns subset (with `ALL` behind them) to k to the rate; empty for tasks without such metrics.

    Each problem's value is the unbiased estimate from its own samples, as the task's metric gives it for each seed; problems are the
    independent unit.
    """
    cells = arm.cells.values()
    names = sorted({name for cell in cells for name in cell.columns.metrics if _METRIC.fullmatch(name)})
    subsets = _subsets(arm)
    known = sorted(set(subsets.values()))
    found: dict[str, dict[int, PassRate]] = {}
    for subset in [*(known if len(known) > 1 else []), ALL]:
        inside = np.array([subset in (ALL, subsets.get(prompt)) for prompt in arm.prompts])
        for name in names:
            scores = arm.scores(name, seeds=list(arm.cells))
            scored = np.isfinite(scores) & inside
            if scored.any():
                problems = np.nonzero(scored)[1]
                rate = PassRate(clustered_wilson_interval(scores[scored], problems), len(np.unique(problems)))
                found.setdefault(subset, {})[int(name.removeprefix("pass@"))] = rate
    return found


def pass_at_k_table(comparison: Comparison) -> Table | None:
    """Returns pass@k by subset and arm, or None for tasks without it."""
    arms = [found for found in comparison.arms if found.pass_at_k]
    ks = sorted({k for found in arms for rates in found.pass_at_k.values() for k in rates})
    if not ks:
        return None
    subsets = list(dict.fromkeys(subset for found in arms for subset in found.pass_at_k if subset != ALL))
    rows = [
        [subset, found.arm.label, str(max(rate.problems for rate in rates.values())), *_cells(rates, ks)]
        for subset in [*subsets, ALL]
        for found in arms
        if (rates := found.pass_at_k.get(subset))
    ]
    heads = ["Difficulty", "Arm", "Problems", *(head for k in ks for head in (f"Pass@{k}", "95 %"))]
    note = (
        "Unbiased estimates from the samples of each problem (1 − C(n − c, k) / C(n, k) with c of n passing), means over seeds; "
        "Wilson intervals for clusters of one problem. They say what other problems would give with these policies."
    )
    return Table("Pass@k by difficulty", heads, rows, note, text_columns=2)


def _subsets(arm: ArmCells) -> dict[str, str]:
    """Returns prompt id to subset."""
    return {
        prompt: cell.columns.subsets[code]
        for cell in arm.cells.values()
        for prompt, code in zip(cell.columns.prompt_ids, cell.columns.prompt_subsets, strict=True)
    }


def _cells(rates: Mapping[int, PassRate], ks: list[int]) -> list[str]:
    found = []
    for k in ks:
        rate = rates.get(k)
        found += [percent(rate.rate.estimate), percent_interval(rate.rate)] if rate else [NONE, NONE]
    return found
