"""What a report holds, gathered once for all of its formats."""

import dataclasses
from collections.abc import Collection, Iterator, Sequence

from marl_bench.records import Cell
from marl_bench.reporting.agreement import agreement_table, with_agreements
from marl_bench.reporting.compare import compare
from marl_bench.reporting.comparison import Comparison
from marl_bench.reporting.judged import with_judgements
from marl_bench.reporting.judged_tables import judged_ranking_table, judged_subsets_table, judged_table
from marl_bench.reporting.pass_at_k import pass_at_k_table
from marl_bench.reporting.plots.gallery import draw_plots
from marl_bench.reporting.plots.plot import Gallery
from marl_bench.reporting.provenance import data_table
from marl_bench.reporting.ranking import oracle_ranking_table
from marl_bench.reporting.sampling_tables import curve_tables, read_all_curves
from marl_bench.reporting.seed_tables import seeds_table
from marl_bench.reporting.side_settings import settings_that_differ
from marl_bench.reporting.sides import Side, is_complete
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
from marl_bench.run_dir import RunDir, read_cells, read_config
from marl_bench.sampling_curves import SamplingCurves


@dataclasses.dataclass(frozen=True)
class NamedTable:
    """A table with the name of its file, which is also its label in LaTeX."""

    name: str
    table: Table


@dataclasses.dataclass(frozen=True)
class Contents:
    """Everything of which the formats are made.

    Attributes:
        run_dirs: The experiments.
        cells: Their cells.
        comparison: The numbers.
        sampling: Best-of-N and temperature sweeps.
        settings: Settings that differ between the runs, or None.
        gallery: The plots, in the formats that were asked for.
    """

    run_dirs: Sequence[RunDir]
    cells: Sequence[Cell]
    comparison: Comparison
    sampling: Sequence[SamplingCurves]
    settings: Table | None
    gallery: Gallery

    def tables(self) -> list[NamedTable]:
        """Returns all tables that these records allow, in the order of the report, costs among them."""
        return [
            NamedTable(name, table)
            for name, table in _tables(self.comparison, self.sampling, self.settings)
            if table is not None
        ]


def gather(run_dirs: Sequence[RunDir], *, force: bool, pictures: Collection[str]) -> Contents:
    """Reads the records, compares the arms and draws the plots.

    Args:
        run_dirs: The experiments.
        force: Compare trained arms of unequal budgets too.
        pictures: Formats of the plots: `png`, `svg`, both or neither.

    Raises:
        RecordError: Records cannot be read or do not belong together.
    """
    by_run = [read_cells(run_dir) for run_dir in run_dirs]
    cells = [cell for found in by_run for cell in found]
    comparison = with_agreements(with_judgements(compare(cells, force=force), run_dirs), run_dirs)
    return Contents(
        run_dirs=run_dirs,
        cells=cells,
        comparison=comparison,
        sampling=[curves for run_dir in run_dirs for curves in read_all_curves(run_dir.root)],
        settings=settings_table(run_dirs, by_run),
        gallery=draw_plots(cells, comparison, run_dirs=run_dirs, formats=pictures),
    )


def settings_table(run_dirs: Sequence[RunDir], by_run: Sequence[Sequence[Cell]]) -> Table | None:
    """Returns the settings in which several runs differ, a column a run; None for one run or equal ones."""
    if len(run_dirs) < 2:
        return None
    sides = [
        Side(
            given=str(run_dir.root),
            name=run_dir.root.resolve().name,
            root=run_dir.root,
            cells=[cell for cell in cells if is_complete(cell)],
            others=[],
            open_cells=[],
            config=read_config(run_dir),
            arm_named=False,
            is_reference=False,
        )
        for run_dir, cells in zip(run_dirs, by_run, strict=True)
    ]
    rows = [[name, *values] for name, values in settings_that_differ(sides)]
    if not rows:
        return None
    names = [side.name for side in sides]
    heads = [name if names.count(name) == 1 else f"{name} ({place})" for place, name in enumerate(names, start=1)]
    return Table("Settings that differ between the runs", ["Setting", *heads], rows, text_columns=len(heads) + 1)


def _tables(
    comparison: Comparison, sampling: Sequence[SamplingCurves], settings: Table | None
) -> Iterator[tuple[str, Table | None]]:
    yield "scores", scores_table(comparison)
    yield "other_metrics", metrics_table(comparison)
    yield "pass_at_k", pass_at_k_table(comparison)
    yield "subsets", subsets_table(comparison)
    yield "differences", differences_table(comparison)
    yield "controls", controls_table(comparison)
    yield "seeds", seeds_table(comparison)
    yield "win_rates_oracle", win_rates_table(comparison)
    yield "ranking_oracle", oracle_ranking_table(comparison)
    for place, judged in enumerate(comparison.judged, start=1):
        yield f"win_rates_judge_{place}", judged_table(judged)
        yield f"win_rates_judge_{place}_subsets", judged_subsets_table(judged)
        yield f"ranking_judge_{place}", judged_ranking_table(judged)
    yield "agreement", agreement_table(comparison.agreements)
    yield "parity", parity_table(comparison)
    yield "over_optimisation", over_optimisation_table(comparison)
    seen: dict[str, int] = {}
    for curves in sampling:
        for table in curve_tables(curves):
            place = seen[curves.kind] = seen.get(curves.kind, 0) + 1
            yield curves.kind if place == 1 else f"{curves.kind}_{place}", table
    yield "macro_actions", diagnostics_table(comparison)
    yield "arms", arms_table(comparison)
    yield "budget", budget_table(comparison)
    yield "data", data_table(comparison)
    yield "settings", settings
    yield "costs", costs_table(comparison)
    yield "open_cells", open_cells_table(comparison)
