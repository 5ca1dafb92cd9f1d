"""The Markdown document of a report."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from marl_bench.reporting.agreement import agreement_table
from marl_bench.reporting.comparison import ORACLE, Comparison
from marl_bench.reporting.formatting import counted, number, percent, percent_interval
from marl_bench.reporting.judged_tables import judged_markdown
from marl_bench.reporting.plots import Plot
from marl_bench.reporting.reading import read
from marl_bench.reporting.rendering import as_markdown, markdown_text
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
from marl_bench.statistics.intervals import wilson_interval

_CLOCK_OR_MEMORY = ("second", "mib")


def report_markdown(comparison: Comparison, plots: Sequence[Plot]) -> str:
    """Returns the report; the same comparison gives the same text, and nothing in it comes from the clock."""
    sections = [
        _head(comparison),
        _reading(comparison),
        _table_section(scores_table(comparison)),
        _table_section(metrics_table(comparison)),
        _table_section(subsets_table(comparison)),
        _table_section(differences_table(comparison)),
        _controls(comparison),
        _win_rates(comparison),
        *(_section(title, body) for title, body in judged_markdown(comparison.judged)),
        _table_section(agreement_table(comparison.agreements)),
        _table_section(parity_table(comparison)),
        _table_section(over_optimisation_table(comparison)),
        _table_section(diagnostics_table(comparison)),
        _plots(plots),
        _what_was_run(comparison),
        _shared_stages(comparison),
        _table_section(open_cells_table(comparison)),
        _limits(comparison),
        _remake(),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(comparison: Comparison) -> str:
    setting = comparison.setting
    lines = [
        f"# {', '.join(setting.experiments)}: token PPO against macro PPO",
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


def _plots(plots: Sequence[Plot]) -> str:
    return _section("Plots", "\n\n".join(f"![{plot.title}]({plot.file_name})\n\n{plot.caption}" for plot in plots))


def _what_was_run(comparison: Comparison) -> str:
    setting = comparison.setting
    lines = [
        f"- {name.replace('_', ' ')} digest: {', '.join(f'`{value[:12]}`' for value in values)}"
        for name, values in setting.digests.items()
    ]
    lines += [
        f"- {name.replace('_', ' ')}: {markdown_text(' | '.join(values))}"
        for name, values in setting.environments.items()
    ]
    tables = [as_markdown(arms_table(comparison)), as_markdown(budget_table(comparison))]
    return _section("What was run", "\n\n".join([*tables, "\n".join(lines)]))


def _shared_stages(comparison: Comparison) -> str:
    shared = comparison.setting.shared
    data, reward_model = shared.get("data") or {}, shared.get("reward_model") or {}
    counts = data.get("counts") or {}
    source = data.get("source")
    parts = [
        f"Data source: {markdown_text(source)}" if source else "",
        as_markdown(
            Table("Data", ["Data", "Count"], [[name.replace("_", " "), f"{count:,}"] for name, count in counts.items()])
        )
        if counts
        else "",
        "\n".join(f"- {markdown_text(note)}" for note in data.get("notes") or []),
        "\n".join(
            [
                *_reward_lines(shared.get("reward") or {}),
                *_reward_model_lines(reward_model),
                *_stage_lines("SFT", shared.get("sft") or {}),
            ]
        ),
    ]
    return _section("Data and shared stages", "\n\n".join(part for part in parts if part))


def _reward_lines(stage: Mapping[str, Any]) -> Iterator[str]:
    if stage.get("sources"):
        yield f"- Score: the sum of {markdown_text(', '.join(stage['sources']))}"
    yield from _stage_lines("Score", stage)


def _reward_model_lines(stage: Mapping[str, Any]) -> Iterator[str]:
    accuracy, pairs = stage.get("pair_accuracy"), stage.get("pairs")
    if accuracy is not None and pairs:
        found = wilson_interval(min(accuracy * pairs, pairs), pairs)
        text = f"{percent(accuracy)} on {pairs:,} pairs, 95 % {percent_interval(found)}"
        yield f"- Reward model: held-out pair accuracy {text}"
    elif accuracy is not None:
        yield f"- Reward model: held-out pair accuracy {percent(accuracy)}"
    if stage.get("score_std") is not None:
        yield f"- Reward model: standard deviation of the scores of SFT samples {number(stage['score_std'])}"
    yield from _stage_lines(
        "Reward model", {name: stage[name] for name in stage if name not in ("pair_accuracy", "pairs", "score_std")}
    )


def _stage_lines(stage: str, results: Mapping[str, Any]) -> Iterator[str]:
    """Yields the numbers of a stage, except what comes from the clock or the memory."""
    for name, value in results.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and not any(word in name for word in _CLOCK_OR_MEMORY):
            text = f"{value:,}" if isinstance(value, int) else number(value)
            yield f"- {stage}: {name.replace('_', ' ')} {text}"


def _limits(comparison: Comparison) -> str:
    lines = [
        "- SFT model and reward model are trained once and shared by all arms and seeds; a seed changes the sampling "
        "and the PPO run. The intervals over seeds therefore leave out the spread of another SFT or reward model.",
        "- Trained arms are checked for the same SFT model, reward model, data, responses sampled, updates, response "
        "limit and task version; a forced gap stands as a warning at the top. Tokens sampled may differ: see the "
        "budget table.",
        "- Intervals are 95 %, each for itself: with many arms and metrics some exclude 0 by chance. Over prompts: "
        "percentile bootstrap with a fixed generator. Over seeds: Student t below 20 seeds, from 20 on a bootstrap "
        "over seeds and prompts.",
        "- No difference shown is not the same as no difference: the interval says what is left possible.",
    ]
    if comparison.has_oracle:
        lines.append(
            "- The oracle is the task's known optimum. It was never used in training, and it is not a human or a "
            "language-model judge."
        )
    return _section("Limits", "\n".join(lines))


def _remake() -> str:
    text = (
        "```\nmarl-bench report <folder of the run>\n```\n\n"
        "This file, `scores.csv` and the plots come from the stored records alone. Times and memory, which change from "
        "run to run, stand in `costs.csv`."
    )
    return _section("How to remake this report", text)


def _table_section(table: Table | None) -> str:
    return _section(table.title, as_markdown(table)) if table else ""


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""
