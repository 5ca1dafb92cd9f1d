"""Reads records, writes the report: Markdown, CSV, plots."""

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from marl_bench.errors import RunFolderError
from marl_bench.records import Cell
from marl_bench.reporting.compare import compare
from marl_bench.reporting.comparison import Comparison
from marl_bench.reporting.document import report_markdown
from marl_bench.reporting.frames import SCORE_COLUMNS, Row, cost_rows, score_rows
from marl_bench.reporting.plots.gallery import draw_plots
from marl_bench.reporting.plots.plot import Plot
from marl_bench.reporting.sampling_tables import read_all_curves
from marl_bench.run_dir import RunDir, read_cells, write_bytes_atomically, write_text_atomically

REPORT = "report.md"
SCORES = "scores.csv"
COSTS = "costs.csv"


@dataclasses.dataclass(frozen=True)
class ReportFiles:
    """A comparison and the files that hold it.

    Attributes:
        comparison: The numbers.
        report: Markdown; nothing in it comes from the clock.
        scores: arm, seed, metric, value; nothing in it comes from the clock.
        costs: arm, seed, metric, value of everything from the clock and the memory.
        plots: PNG files.
    """

    comparison: Comparison
    report: Path
    scores: Path
    costs: Path
    plots: Sequence[Path]


def write_report(run_dirs: Sequence[RunDir], *, out: Path, force: bool = False) -> ReportFiles:
    """Compares the arms of one or more experiments and writes the report into `out`.

    The same records give byte-identical files.

    Args:
        run_dirs: Folders of the experiments.
        out: Folder of the files; made if missing, files of an earlier report are replaced.
        force: Compare trained arms of unequal budgets too, with a warning in the report.

    Raises:
        RecordError: Records cannot be read or do not belong together.
        RunFolderError: `out` cannot be written.
    """
    cells = [cell for run_dir in run_dirs for cell in read_cells(run_dir)]
    comparison = compare(cells, force=force)
    plots = draw_plots(cells, comparison, folders=[run_dir.root for run_dir in run_dirs]).plots
    sampling = [curves for run_dir in run_dirs for curves in read_all_curves(run_dir.root)]
    text = report_markdown(comparison, plots, sampling)
    try:
        out.mkdir(parents=True, exist_ok=True)
        return _write(cells, comparison, plots, text, out=out)
    except OSError as error:
        raise RunFolderError(f"{out}: cannot write the report there ({error.strerror or error}).") from error


def _write(
    cells: Sequence[Cell], comparison: Comparison, plots: Sequence[Plot], text: str, *, out: Path
) -> ReportFiles:
    written = []
    for plot in plots:
        write_bytes_atomically(out / plot.file_name, plot.png)
        written.append(out / plot.file_name)
    write_text_atomically(out / SCORES, _csv_text(score_rows(cells)))
    write_text_atomically(out / COSTS, _csv_text(cost_rows(cells)))
    write_text_atomically(out / REPORT, text)
    return ReportFiles(comparison, out / REPORT, out / SCORES, out / COSTS, written)


def _csv_text(rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SCORE_COLUMNS)
    writer.writerows([arm, seed, metric, repr(value)] for arm, seed, metric, value in rows)
    return text.getvalue()
