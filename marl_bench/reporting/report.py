"""Writes the report in the formats that were asked for, from records alone."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path

from marl_bench.errors import RunFolderError
from marl_bench.reporting.comparison import Comparison
from marl_bench.reporting.contents import Contents, gather
from marl_bench.reporting.document import report_markdown
from marl_bench.reporting.formats import DEFAULT_FORMATS
from marl_bench.reporting.frames import SCORE_COLUMNS, Row, cost_rows, score_rows
from marl_bench.reporting.html.page import PAGE, Picture, write_html
from marl_bench.reporting.latex import as_latex, document
from marl_bench.reporting.plain_data import as_data
from marl_bench.reporting.plots.plot import file_names
from marl_bench.reporting.sections import OPEN_CELLS
from marl_bench.run_dir import RunDir, write_bytes_atomically

REPORT = "report.md"
LATEX = "report.tex"
DATA = "report.json"
SCORES = "scores.csv"
COSTS = "costs.csv"
_ORDER = (REPORT, PAGE, LATEX, DATA, SCORES, COSTS)
TABLES = "tables"
PLOTS = "plots"


@dataclasses.dataclass(frozen=True)
class ReportFiles:
    """A comparison and the files that hold it.

    Attributes:
        comparison: The numbers.
        out: Folder of the files.
        written: The files, in the order in which a reader would open them.
    """

    comparison: Comparison
    out: Path
    written: Sequence[Path]

    @property
    def report(self) -> Path:
        """The file to open first: Markdown if it was asked for."""
        return self.written[0]

    @property
    def page(self) -> Path | None:
        """The page with every response, or None if it was not asked for."""
        return next((path for path in self.written if path.name == PAGE), None)

    @property
    def scores(self) -> Path:
        """arm, seed, metric, value; nothing in it comes from the clock."""
        return self.out / SCORES

    @property
    def costs(self) -> Path:
        """arm, seed, metric, value of everything from the clock and the memory."""
        return self.out / COSTS

    @property
    def plots(self) -> Sequence[Path]:
        """The files of the plots."""
        return [path for path in self.written if path.parent.name == PLOTS]


def write_report(
    run_dirs: Sequence[RunDir], *, out: Path, force: bool = False, formats: Sequence[str] = DEFAULT_FORMATS
) -> ReportFiles:
    """Compares the arms of one or more experiments and writes the report into `out`.

    The same records give byte-identical files.

    Args:
        run_dirs: Folders of the experiments.
        out: Folder of the files; made if missing, files of an earlier report are replaced.
        force: Compare trained arms of unequal budgets too, with a warning in the report.
        formats: Some of `formats.FORMATS`; plots are drawn only as far as these need them.

    Raises:
        RecordError: Records cannot be read or do not belong together.
        RunFolderError: `out` cannot be written.
    """
    wanted = set(formats)
    contents = gather(run_dirs, force=force, pictures=wanted | ({"svg"} if "html" in wanted else set()))
    files = dict(_files(contents, wanted))
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            write_bytes_atomically(out / name, data)
        if "html" in wanted:
            _write_page(out / PAGE, contents)
        for name in _stale(contents, wanted):
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise RunFolderError(f"{out}: cannot write the report there ({error.strerror or error}).") from error
    names = [*files, *([PAGE] if "html" in wanted else [])]
    names.sort(key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    return ReportFiles(contents.comparison, out, [out / name for name in names])


def _files(contents: Contents, formats: Set[str]) -> Iterator[tuple[str, bytes]]:
    """Yields name and bytes of every file but the page, which does not fit into memory with all its samples."""
    plots = [(plot, plot.files(formats)) for plot in contents.gallery.plots]
    for _, drawn in plots:
        for name, data in drawn.items():
            yield f"{PLOTS}/{name}", data
    if "csv" in formats:
        yield SCORES, csv_text(SCORE_COLUMNS, _in_full(score_rows(contents.cells)))
        yield COSTS, csv_text(SCORE_COLUMNS, _in_full(cost_rows(contents.cells)))
        for named in contents.tables():
            yield f"{TABLES}/{named.name}.csv", csv_text(named.table.columns, named.table.rows)
    if "latex" in formats:
        tables = contents.tables()
        for named in tables:
            yield f"{TABLES}/{named.name}.tex", as_latex(named).encode()
        title = f"{', '.join(contents.comparison.setting.experiments)}: token PPO against macro PPO"
        yield LATEX, document(title, tables, folder=TABLES).encode()
    if "json" in formats:
        text = json.dumps(as_data(contents, formats), indent=2, ensure_ascii=False, allow_nan=False)
        yield DATA, f"{text}\n".encode()
    if "md" in formats:
        pictures = [(plot, f"{PLOTS}/{next(iter(drawn))}") for plot, drawn in plots if drawn]
        yield REPORT, report_markdown(contents.comparison, pictures, contents.sampling, contents.settings).encode()


def _write_page(path: Path, contents: Contents) -> None:
    pictures = [
        Picture(plot.heading, plot.caption, plot.svg, plot.dark_svg, plot.alt) for plot in contents.gallery.plots
    ]
    write_html(path, contents.run_dirs, contents.comparison, contents.sections(), pictures)


def _stale(contents: Contents, formats: Set[str]) -> Iterator[str]:
    """Yields the files that an earlier report may have written in these formats and that these records do not give."""
    for left_out in contents.gallery.left_out:
        yield from (f"{PLOTS}/{name}" for name in file_names(left_out.name, formats))
    if not contents.comparison.open_cells:  # a run that was cut off may have listed some
        yield from (f"{TABLES}/{OPEN_CELLS}.{ending}" for ending in ("csv", "tex"))


def csv_text(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Returns rows as CSV in UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(rows)
    return text.getvalue().encode()


def _in_full(rows: Iterable[Row]) -> Iterator[Sequence[object]]:
    for arm, seed, metric, value in rows:
        yield arm, seed, metric, repr(value)
