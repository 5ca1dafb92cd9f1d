"""Writes a comparison of sides as Markdown, CSV and JSON."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from marl_bench.errors import RunFolderError
from marl_bench.reporting.contrast_tables import as_data, as_markdown_text, csv_rows
from marl_bench.reporting.regression import MarginVerdict
from marl_bench.reporting.side_by_side import SideBySide
from marl_bench.run_dir import write_json_atomically, write_text_atomically


def write_comparison(found: SideBySide, verdicts: Sequence[MarginVerdict], *, out: Path) -> list[Path]:
    """Writes `compare.md`, `compare.csv` and `compare.json` into a folder; the same records give the same bytes.

    Raises:
        RunFolderError: The folder cannot be written.
    """
    text = io.StringIO()
    rows = csv_rows(found)
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    paths = [out / f"compare.{ending}" for ending in ("md", "csv", "json")]
    try:
        write_text_atomically(paths[0], as_markdown_text(found, verdicts))
        write_text_atomically(paths[1], text.getvalue())
        write_json_atomically(paths[2], as_data(found, verdicts))
    except OSError as error:
        raise RunFolderError(f"{out}: cannot write the comparison there ({error.strerror or error}).") from error
    return paths
