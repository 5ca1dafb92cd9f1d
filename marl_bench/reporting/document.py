"""The Markdown document of a report."""

import re
from collections.abc import Iterable, Sequence

from marl_bench.reporting.comparison import Comparison
from marl_bench.reporting.formatting import counted
from marl_bench.reporting.plots.plot import Plot
from marl_bench.reporting.provenance import Fact, limit_sentences, run_facts, stage_facts
from marl_bench.reporting.reading import read
from marl_bench.reporting.rendering import as_markdown, markdown_text
from marl_bench.reporting.sections import COSTS, Section, arm_tables, data_tables, result_sections, run_sections
from marl_bench.reporting.tables import Table
from marl_bench.sampling_curves import SamplingCurves

Picture = tuple[Plot, str]
"""A plot and the path of its file, seen from the report."""


def report_markdown(
    comparison: Comparison,
    pictures: Sequence[Picture] = (),
    sampling: Sequence[SamplingCurves] = (),
    settings: Table | None = None,
) -> str:
    """Returns the report; the same comparison gives the same text, and nothing in it comes from the clock."""
    sections = [
        _head(comparison),
        _reading(comparison),
        *(_rendered(section) for section in result_sections(comparison, sampling)),
        _plots(pictures),
        _what_was_run(comparison),
        _shared_stages(comparison),
        *(
            _rendered(section)
            for section in run_sections(comparison, settings)
            if not _changes_from_run_to_run(section)
        ),
        _limits(comparison),
        _remake(),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(comparison: Comparison) -> str:
    setting = comparison.setting
    lines = [
        f"# {comparison.title}",
        "",
        f"Task `{setting.task}` (version {', '.join(setting.task_versions)}), {counted(len(comparison.arms), 'arm')}, "
        f"{counted(len(comparison.seeds), 'seed')} ({', '.join(map(str, comparison.seeds))}), "
        f"configuration {', '.join(f'`{value[:12]}`' for value in setting.config_hashes)}.",
    ]
    warnings = list(comparison.warnings)
    if comparison.open_cells:
        warnings.append(
            f"{counted(len(comparison.open_cells), 'cell')} failed or unfinished; listed below, not in the numbers."
        )
    lines += [f"\n> **Warning.** {markdown_text(warning)}" for warning in warnings]
    return "\n".join(lines)


def _reading(comparison: Comparison) -> str:
    return _section("Reading", _items(read(comparison)))


def _rendered(section: Section) -> str:
    parts = [*(f"> **Warning.** {markdown_text(warning)}" for warning in section.warnings), _items(section.before)]
    for named in section.tables:
        heading = "" if named.table.title == section.title else f"### {named.table.title}"
        parts += [heading, as_markdown(named.table)]
    parts.append(_items(section.after))
    return _section(section.title, "\n\n".join(part for part in parts if part))


def _items(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {markdown_text(sentence)}" for sentence in sentences)


def _changes_from_run_to_run(section: Section) -> bool:
    return any(named.name == COSTS for named in section.tables)


def _plots(pictures: Sequence[Picture]) -> str:
    parts = [
        f"### {plot.heading}\n\n![{_alt(plot.alt)}]({path})\n\n{markdown_text(plot.caption)}" for plot, path in pictures
    ]
    return _section("Plots", "\n\n".join(parts))


def _alt(text: str) -> str:
    """Returns a text that may stand between the square brackets of a picture."""
    return re.sub(r"([\\\[\]])", r"\\\1", markdown_text(text))


def _what_was_run(comparison: Comparison) -> str:
    tables = [as_markdown(named.table) for named in arm_tables(comparison)]
    return _section("What was run", "\n\n".join([*tables, _facts(run_facts(comparison))]))


def _shared_stages(comparison: Comparison) -> str:
    data = comparison.setting.shared.get("data") or {}
    source = data.get("source")
    parts = [
        f"Data source: {markdown_text(source)}" if source else "",
        *(as_markdown(named.table) for named in data_tables(comparison)),
        _items(data.get("notes") or []),
        _facts(stage_facts(comparison)),
    ]
    return _section("Data and shared stages", "\n\n".join(part for part in parts if part))


def _facts(facts: Iterable[Fact]) -> str:
    """Returns facts as a list; a digest looks like code."""
    return "\n".join(
        f"- {name}: {', '.join(f'`{one}`' for one in text.split(', ')) if name.endswith('digest') else markdown_text(text)}"
        for name, text in facts
    )


def _limits(comparison: Comparison) -> str:
    return _section("Limits", _items(limit_sentences(comparison)))


def _remake() -> str:
    text = (
        "```\nmarl-bench report <folder of the run>\n```\n\n"
        "This file, `scores.csv`, the tables and the plots come from the stored records alone; `--format` chooses among "
        "them, and adds LaTeX and plain data. Times and memory, which change from "
        "run to run, stand in `costs.csv` and the tables of costs."
    )
    return _section("How to remake this report", text)


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""
