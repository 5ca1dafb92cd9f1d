"""Writes the page: one file that needs no network, the same bytes for the same records."""

import base64
import dataclasses
import hashlib
import importlib.resources
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from marl_bench.reporting.comparison import Comparison
from marl_bench.reporting.formatting import counted
from marl_bench.reporting.html.blocks import data_block
from marl_bench.reporting.html.browser import cell_data, index_data
from marl_bench.reporting.html.judged import index_judgements
from marl_bench.reporting.html.markup import (
    anchors,
    escaped,
    fact_list,
    link_list,
    prose,
    section_html,
    sentence_list,
    table_html,
)
from marl_bench.reporting.html.samples import Samples, cells_of, index_samples
from marl_bench.reporting.html.texts import AdvantageScale, text_chunks
from marl_bench.reporting.provenance import limit_sentences, run_facts, stage_facts
from marl_bench.reporting.reading import read
from marl_bench.reporting.sections import Section, arm_tables, data_tables
from marl_bench.run_dir import SAMPLES, RunDir, file_written_atomically

PAGE = "report.html"

ROWS = 10_000
"""Samples that the browser shows, if not told otherwise; each has a response of every arm and seed."""

_COMPRESSED_FROM_BYTES = 2_000_000
"""Below, the data stand in the page as plain JSON, which any browser and `grep` read."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A drawn plot.

    Attributes:
        title: What is seen in it.
        caption: How to read it.
        light: The picture for light backgrounds, SVG text or PNG bytes.
        dark: For dark backgrounds; None shows the light one there too.
        alt: Text for readers who cannot see it; title and caption if empty.
    """

    title: str
    caption: str
    light: str | bytes
    dark: str | bytes | None = None
    alt: str = ""


def write_html(
    path: Path,
    run_dirs: Sequence[RunDir],
    comparison: Comparison,
    sections: Sequence[Section],
    pictures: Sequence[Picture],
    *,
    rows: int = ROWS,
) -> None:
    """Writes the page; memory is bounded by `rows`, however many samples the runs have.

    Args:
        path: The file; replaced whole.
        run_dirs: Folders of the experiments, for samples, macro actions and judgements.
        comparison: Their comparison.
        sections: Sections with tables in the order of the page.
        pictures: Plots, likewise.
        rows: Samples that the browser shows: the first ones, in the order of evaluation.

    Raises:
        RecordError: A record is damaged.
    """
    cells = cells_of(run_dirs, comparison)
    samples = index_samples(cells, limit=rows)
    head, tail = _frame(comparison, sections, pictures, samples).split(_DATA)
    compress = sum((cell.folder / SAMPLES).stat().st_size for cell in cells) > _COMPRESSED_FROM_BYTES
    with file_written_atomically(path) as file:
        file.write(head.encode("utf-8", "replace"))
        for block in _blocks(run_dirs, comparison, samples, compress=compress):
            file.write(block.encode())
        file.write(tail.encode("utf-8", "replace"))


def _blocks(run_dirs: Sequence[RunDir], comparison: Comparison, samples: Samples, *, compress: bool) -> Iterator[str]:
    judged = index_judgements(run_dirs, comparison, samples.rows)
    scale = AdvantageScale()
    for place, chunk in enumerate(text_chunks(samples, judged, scale)):
        yield data_block(f"texts-{place}", chunk, compress=compress)
    for place, index in enumerate(samples.cells):
        yield data_block(f"cell-{place}", cell_data(index, len(samples.rows)), compress=compress)
    # Last, since only now the scale of the advantages is known.
    yield data_block("index", index_data(comparison, samples, judged, scale.limit), compress=compress)


_DATA = "{{data}}"


def _frame(comparison: Comparison, sections: Sequence[Section], pictures: Sequence[Picture], samples: Samples) -> str:
    """Returns the page without the samples' data."""
    assets = importlib.resources.files("marl_bench.reporting.html") / "assets"
    style = (assets / "report.css").read_text(encoding="utf-8")
    script = (assets / "report.js").read_text(encoding="utf-8")
    experiments = ", ".join(comparison.setting.experiments)
    parts = {
        "title": escaped(comparison.title),
        "experiments": escaped(experiments),
        "style": style,
        "style_hash": content_hash(style),
        "script": script,
        "script_hash": content_hash(script),
        "lede": _lede(comparison),
        "warnings": sentence_list(_warnings(comparison), kind="warnings"),
        "reading": sentence_list(read(comparison), kind="reading"),
        "tables": _tables(sections),
        "plots": _plots(pictures),
        "samples_note": escaped(_samples_note(samples)),
        "provenance": _provenance(comparison),
        "limits": sentence_list(limit_sentences(comparison)),
        "data": _DATA,
    }
    template = (assets / "page.html").read_text(encoding="utf-8")
    return _filled(template, parts)


def _filled(template: str, parts: Mapping[str, str]) -> str:
    """Returns the template with its `{{names}}` replaced once: what stands in a part is never read as a name."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def content_hash(text: str) -> str:
    """Returns what a content security policy calls a text by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def _lede(comparison: Comparison) -> str:
    setting = comparison.setting
    return escaped(
        f"Task {setting.task} (version {', '.join(setting.task_versions)}), {counted(len(comparison.arms), 'arm')}, "
        f"{counted(len(comparison.seeds), 'seed')} ({', '.join(map(str, comparison.seeds))}), configuration "
        f"{', '.join(value[:12] for value in setting.config_hashes)}."
    )


def _warnings(comparison: Comparison) -> Iterator[str]:
    yield from comparison.warnings
    if comparison.open_cells:
        count = counted(len(comparison.open_cells), "cell")
        yield f"{count} failed or unfinished; listed among the tables, not in the numbers."


def _samples_note(samples: Samples) -> str:
    shown = f"{counted(len(samples.rows), 'sample')}, each with the responses of all arms and seeds."
    if samples.left_out <= 0:
        return shown
    return f"The first {shown} {samples.left_out:,} more are in the tables but not here, to keep the page small."


def _tables(sections: Sequence[Section]) -> str:
    titles = [section.title for section in sections]
    names = anchors(titles, kind="table-")
    return link_list(titles, names, label="Tables") + "".join(
        section_html(section, name) for section, name in zip(sections, names, strict=True)
    )


def _plots(pictures: Sequence[Picture]) -> str:
    titles = [picture.title for picture in pictures]
    names = anchors(titles, kind="plot-")
    return link_list(titles, names, label="Plots") + "".join(
        _figure(picture, name) for picture, name in zip(pictures, names, strict=True)
    )


def _figure(picture: Picture, name: str) -> str:
    alt = escaped(picture.alt or f"{picture.title}. {picture.caption}")
    both = "" if picture.dark is None else f'<img class="on-dark" src="{_data_uri(picture.dark)}" alt="{alt}">'
    kind = "on-light" if both else "on-both"
    return (
        f'<figure aria-labelledby="{name}"><h3 id="{name}">{escaped(picture.title)}</h3>'
        f'<img class="{kind}" src="{_data_uri(picture.light)}" alt="{alt}">{both}'
        f"<figcaption>{prose(picture.caption)}</figcaption></figure>\n"
    )


def _data_uri(picture: str | bytes) -> str:
    # As an image, not inline: ids of one drawing cannot meet those of another, and nothing in it can run.
    kind, data = ("svg+xml", picture.encode()) if isinstance(picture, str) else ("png", picture)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _provenance(comparison: Comparison) -> str:
    data = comparison.setting.shared.get("data") or {}
    source = [f"Data source: {data['source']}"] if data.get("source") else []
    parts = [
        *(f"<h3>{escaped(named.table.title)}</h3>{table_html(named.table)}" for named in arm_tables(comparison)),
        "<h3>Environment</h3>",
        fact_list(run_facts(comparison)),
        "<h3>Data and shared stages</h3>",
        sentence_list([*source, *(data.get("notes") or [])]),
        *(table_html(named.table) for named in data_tables(comparison)),
        fact_list(stage_facts(comparison)),
    ]
    return "\n".join(parts)
