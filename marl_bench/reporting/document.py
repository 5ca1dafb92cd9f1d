"""The Markdown document of a report."""

import re
from collections.abc import Iterable, Sequence

from marl_bench.reporting.agreement import agreement_table
from marl_bench.reporting.comparison import ORACLE, Comparison
from marl_bench.reporting.formatting import counted
from marl_bench.reporting.judged_tables import judged_markdown
from marl_bench.reporting.pass_at_k import pass_at_k_table
from marl_bench.reporting.plots.plot import Plot
from marl_bench.reporting.provenance import Fact, data_table, limit_sentences, run_facts, stage_facts
from marl_bench.reporting.ranking import oracle_ranking_table
from marl_bench.reporting.reading import read
from marl_bench.reporting.rendering import as_markdown, markdown_text
from marl_bench.reporting.sampling_tables import curves_markdown
from marl_bench.reporting.seed_tables import seeds_table
from marl_bench.reporting.subsets import subsets_table
from marl_bench.reporting.tables import (
    Table,
    arms_table,
    budget_table,
    controls_table,
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
        _table_section(scores_table(comparison)),
        _table_section(metrics_table(comparison)),
        _table_section(pass_at_k_table(comparison)),
        _table_section(subsets_table(comparison)),
        _table_section(differences_table(comparison)),
        _controls(comparison),
        _table_section(seeds_table(comparison)),
        _win_rates(comparison),
        _table_section(oracle_ranking_table(comparison)),
        *(_section(title, body) for title, body in judged_markdown(comparison.judged)),
        _table_section(agreement_table(comparison.agreements)),
        _table_section(parity_table(comparison)),
        _table_section(over_optimisation_table(comparison)),
        *(curves_markdown(curves) for curves in sampling),
        _table_section(diagnostics_table(comparison)),
        _plots(pictures),
        _what_was_run(comparison),
        _table_section(settings),
        _shared_stages(comparison),
        _table_section(open_cells_table(comparison)),
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
    return _section("Reading", "\n".join(f"- {sentence}" for sentence in read(comparison)))


def _controls(comparison: Comparison) -> str:
    explanations = [
        f"- **{found.arm.label}**: {markdown_text(found.arm.isolates)}"
        for found in comparison.arms
        if found.arm.role == "control" and found.arm.isolates
    ]
    table = controls_table(comparison)
    parts = ["\n".join(explanations), as_markdown(table) if table else ""]
    return _section("Macro PPO against its controls", "\n\n".join(part for part in parts if part))


def _win_rates(comparison: Comparison) -> str:
    table = win_rates_table(comparison)
    if table or comparison.judged:
        return _table_section(table)
    known = any(ORACLE in one.metrics for one in comparison.arms)
    reason = "there is no pair of arms to compare" if known else "the task has no oracle, and no judge was asked"
    return _section("Win rates", f"None: {reason}.")


def _plots(pictures: Sequence[Picture]) -> str:
    parts = [
        f"### {plot.heading}\n\n![{_alt(plot.alt)}]({path})\n\n{markdown_text(plot.caption)}" for plot, path in pictures
    ]
    return _section("Plots", "\n\n".join(parts))


def _alt(text: str) -> str:
    """Returns a text that may stand between the square brackets of a picture."""
    return re.sub(r"([\\\[\]])", r"\\\1", markdown_text(text))


def _what_was_run(comparison: Comparison) -> str:
    tables = [as_markdown(arms_table(comparison)), as_markdown(budget_table(comparison))]
    return _section("What was run", "\n\n".join([*tables, _facts(run_facts(comparison))]))


def _shared_stages(comparison: Comparison) -> str:
    data = comparison.setting.shared.get("data") or {}
    source, counts = data.get("source"), data_table(comparison)
    parts = [
        f"Data source: {markdown_text(source)}" if source else "",
        as_markdown(counts) if counts else "",
        "\n".join(f"- {markdown_text(note)}" for note in data.get("notes") or []),
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
    return _section("Limits", "\n".join(f"- {sentence}" for sentence in limit_sentences(comparison)))


def _remake() -> str:
    text = (
        "```\nmarl-bench report <folder of the run>\n```\n\n"
        "This file, `scores.csv`, the tables and the plots come from the stored records alone; `--format` chooses among "
        "them, and adds LaTeX and plain data. Times and memory, which change from "
        "run to run, stand in `costs.csv` and the tables of costs."
    )
    return _section("How to remake this report", text)


def _table_section(table: Table | None) -> str:
    return _section(table.title, as_markdown(table)) if table else ""


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""
