"""What a report holds, gathered once for all of its formats."""

import dataclasses
from collections.abc import Collection, Sequence

from marl_bench.records import Cell
from marl_bench.reporting.agreement import with_agreements
from marl_bench.reporting.compare import compare
from marl_bench.reporting.comparison import Comparison
from marl_bench.reporting.judged import with_judgements
from marl_bench.reporting.plots.gallery import draw_plots
from marl_bench.reporting.plots.plot import Gallery
from marl_bench.reporting.sampling_tables import read_all_curves
from marl_bench.reporting.sections import NamedTable, Section, all_tables, result_sections, run_sections
from marl_bench.reporting.side_settings import settings_that_differ
from marl_bench.reporting.sides import Side, is_complete
from marl_bench.reporting.tables import Table
from marl_bench.run_dir import RunDir, read_cells, read_config
from marl_bench.sampling_curves import SamplingCurves


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

    def sections(self) -> list[Section]:
        """Returns the sections with tables that stand by themselves: results, differing settings, costs, cells left out."""
        return [*result_sections(self.comparison, self.sampling), *run_sections(self.comparison, self.settings)]

    def tables(self) -> list[NamedTable]:
        """Returns all tables that these records allow, in the order of the report, costs among them."""
        return list(all_tables(self.comparison, self.sampling, self.settings))


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
