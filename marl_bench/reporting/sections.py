"""The sections of a report in their one order, for all formats: tables with what must be read before and after them."""

import dataclasses
from collections.abc import Iterator, Sequence

from marl_bench.reporting.agreement import agreement_table
from marl_bench.reporting.comparison import ORACLE, Comparison
from marl_bench.reporting.judged import JudgedRates
from marl_bench.reporting.judged_tables import (
    judged_ranking_table,
    judged_sentences,
    judged_subsets_table,
    judged_table,
)
from marl_bench.reporting.pass_at_k import pass_at_k_table
from marl_bench.reporting.provenance import data_table
from marl_bench.reporting.ranking import oracle_ranking_table
from marl_bench.reporting.sampling_tables import curve_tables, curves_title, read_sampling
from marl_bench.reporting.seed_tables import seeds_table
from marl_bench.reporting.subsets import subsets_table
from marl_bench.reporting.tables import (
    Table,
    arms_table,
    budget_table,
    controls_table,
    costs_table,
    diagnostics_table,
    differences_table,
    metrics_table,
    open_cells_table,
    over_optimisation_table,
    parity_table,
    scores_table,
    win_rates_table,
)
from marl_bench.sampling_curves import SamplingCurves

COSTS = "costs"
"""Name of the table that comes from the clock and the memory."""
OPEN_CELLS = "open_cells"


@dataclasses.dataclass(frozen=True)
class NamedTable:
    """A table with the name of its file, which is also its label in LaTeX."""

    name: str
    table: Table


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        title: Its heading.
        tables: Its tables; one that has the section's title needs no heading of its own.
        warnings: What must be known before any of its numbers.
        before: Sentences above the tables, an item each.
        after: Sentences below them, likewise.
    """

    title: str
    tables: Sequence[NamedTable] = ()
    warnings: Sequence[str] = ()
    before: Sequence[str] = ()
    after: Sequence[str] = ()


def result_sections(comparison: Comparison, sampling: Sequence[SamplingCurves]) -> list[Section]:
    """Returns what was found: arms and their differences first, then what explains them."""
    return [section for section in _results(comparison, sampling) if section is not None]


def _results(comparison: Comparison, sampling: Sequence[SamplingCurves]) -> Iterator[Section | None]:
    yield _of("scores", scores_table(comparison))
    yield _of("differences", differences_table(comparison))
    yield _controls(comparison)
    yield _of("seeds", seeds_table(comparison))
    yield _win_rates(comparison)
    yield _of("ranking_oracle", oracle_ranking_table(comparison))
    for place, judged in enumerate(comparison.judged, start=1):
        yield _judged(judged, f"win_rates_judge_{place}")
        yield _of(f"ranking_judge_{place}", judged_ranking_table(judged))
    yield _of("agreement", agreement_table(comparison.agreements))
    yield _of("pass_at_k", pass_at_k_table(comparison))
    yield _of("other_metrics", metrics_table(comparison))
    yield _of("subsets", subsets_table(comparison))
    yield _of("parity", parity_table(comparison))
    yield _of("over_optimisation", over_optimisation_table(comparison))
    yield from _sampling(sampling)
    yield _of("macro_actions", diagnostics_table(comparison))


def arm_tables(comparison: Comparison) -> list[NamedTable]:
    """Returns what the arms are and what they were given."""
    return [NamedTable("arms", arms_table(comparison)), NamedTable("budget", budget_table(comparison))]


def data_tables(comparison: Comparison) -> list[NamedTable]:
    """Returns what was read, dropped and cut, if the data are described."""
    table = data_table(comparison)
    return [NamedTable("data", table)] if table else []


def run_sections(comparison: Comparison, settings: Table | None) -> list[Section]:
    """Returns what stands beside arms, budget and data: how runs differ, costs, cells that are not in the numbers."""
    found = [
        _of("settings", settings),
        _of(COSTS, costs_table(comparison)),
        _of(OPEN_CELLS, open_cells_table(comparison)),
    ]
    return [section for section in found if section is not None]


def all_tables(
    comparison: Comparison, sampling: Sequence[SamplingCurves], settings: Table | None
) -> Iterator[NamedTable]:
    """Yields every table in the order of the report."""
    for section in result_sections(comparison, sampling):
        yield from section.tables
    yield from arm_tables(comparison)
    yield from data_tables(comparison)
    for section in run_sections(comparison, settings):
        yield from section.tables


def _of(name: str, table: Table | None) -> Section | None:
    return Section(table.title, [NamedTable(name, table)]) if table else None


def _controls(comparison: Comparison) -> Section | None:
    explained = [
        f"{found.arm.label}: {found.arm.isolates}"
        for found in comparison.arms
        if found.arm.role == "control" and found.arm.isolates
    ]
    table = controls_table(comparison)
    if not table and not explained:
        return None
    title = "Macro PPO against its controls"
    return Section(title, [NamedTable("controls", table)] if table else [], before=explained)


def _win_rates(comparison: Comparison) -> Section | None:
    table = win_rates_table(comparison)
    if table or comparison.judged:
        return _of("win_rates_oracle", table)
    known = any(ORACLE in one.metrics for one in comparison.arms)
    reason = "there is no pair of arms to compare" if known else "the task has no oracle, and no judge was asked"
    return Section("Win rates", before=[f"None: {reason}."])


def _judged(judged: JudgedRates, name: str) -> Section:
    table, subsets = judged_table(judged), judged_subsets_table(judged)
    tables = [NamedTable(name, table), *([NamedTable(f"{name}_subsets", subsets)] if subsets else [])]
    return Section(table.title, tables, warnings=judged.warnings(), after=list(judged_sentences(judged)))


def _sampling(sampling: Sequence[SamplingCurves]) -> Iterator[Section]:
    seen: dict[str, int] = {}
    for curves in sampling:
        tables = []
        for table in curve_tables(curves):
            place = seen[curves.kind] = seen.get(curves.kind, 0) + 1
            tables.append(NamedTable(curves.kind if place == 1 else f"{curves.kind}_{place}", table))
        yield Section(curves_title(curves), tables, before=read_sampling(curves))
