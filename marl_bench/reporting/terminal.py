"""The summary of a comparison for a terminal and for pipes: narrow tables, then the reading."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from marl_bench.reporting.comparison import ORACLE, ArmSummary, Comparison, Difference
from marl_bench.reporting.formatting import (
    NONE,
    interval,
    metric_name,
    number,
    percent,
    percent_interval,
    plus_minus,
    signed,
    titled,
)
from marl_bench.reporting.judged_tables import judged_terminal_table
from marl_bench.reporting.reading import read
from marl_bench.reporting.rendering import as_plain_text, as_rich_table
from marl_bench.reporting.tables import Table, costs_table, open_cells_table, parity_table

if TYPE_CHECKING:
    import rich.console


def summary_for_terminal(comparison: Comparison) -> "rich.console.RenderableType":
    """Returns warnings, the main tables, costs and the reading as one rich renderable for 80 columns and more."""
    import rich.console
    import rich.padding
    import rich.text

    parts: list[rich.console.RenderableType] = [
        rich.text.Text(f"Warning: {warning}", style="yellow") for warning in comparison.warnings
    ]
    parts += [as_rich_table(table) for table in terminal_tables(comparison)]
    parts.append(rich.text.Text("Reading", style="bold"))
    parts += [rich.padding.Padding(rich.text.Text(f"• {sentence}"), (0, 0, 0, 2)) for sentence in read(comparison)]
    return rich.console.Group(*parts)


def summary_as_text(comparison: Comparison) -> str:
    """Returns the same summary for pipes: an item a line, no box drawing, no colours."""
    lines = [f"Warning | {warning}" for warning in comparison.warnings]
    lines += [as_plain_text(table) for table in terminal_tables(comparison)]
    lines += [f"Reading | {sentence}" for sentence in read(comparison)]
    return "\n".join(lines)


def terminal_tables(comparison: Comparison) -> list[Table]:
    """Returns the tables of the summary; `report.md` holds the full ones."""
    pairs = [*comparison.differences, *comparison.against_controls]
    metrics = list(dict.fromkeys(found.metric for found in pairs))
    found = [
        _scores(comparison),
        *(_differences(metric, [pair for pair in pairs if pair.metric == metric]) for metric in metrics),
        oracle_table(comparison) if comparison.win_rates else None,
        *map(judged_terminal_table, comparison.judged),
        _without_columns(parity_table(comparison), ("Tokens sampled", "Over seeds")),
        _short_costs(comparison),
        open_cells_table(comparison),
    ]
    return [table for table in found if table is not None]


def _scores(comparison: Comparison) -> Table:
    metrics = [comparison.primary_metric]
    if comparison.has_oracle and comparison.primary_metric != ORACLE:
        metrics.append(ORACLE)
    means = [
        (name, head)
        for name, head in (("kl", "KL"), ("response_tokens", "Tokens"))
        if any(name in found.metrics for found in comparison.arms)
    ]
    unscored = any(found.unscored for found in comparison.arms)
    columns = ["Arm", *(titled(metric_name(name)) for name in metrics), *(head for _, head in means)]
    rows = [
        [
            found.arm.label,
            *(_with_interval(found, name) for name in metrics),
            *(_mean(found, name) for name, _ in means),
            *([str(sum(found.unscored.values()))] if unscored else []),
        ]
        for found in comparison.arms
    ]
    return Table("Held-out prompts, mean ± 95 % over seeds", [*columns, *(["Unscored"] if unscored else [])], rows)


def _differences(metric: str, pairs: Sequence[Difference]) -> Table:
    rows = [
        [
            f"{found.arm.label} − {found.reference.label}",
            signed(found.delta),
            interval(found.over_prompts.interval),
            interval(found.over_seeds),
        ]
        for found in pairs
    ]
    title = f"{titled(metric_name(metric))}: paired differences, 95 % intervals"
    return Table(title, ["Pair", "Difference", "Over prompts", "Over seeds"], rows)


def oracle_table(comparison: Comparison) -> Table:
    """Returns the win rates by the oracle."""
    rows = [
        [
            f"{found.arm.label} against {found.reference.label}",
            percent(found.rate.estimate),
            percent_interval(found.rate),
            str(found.ties),
        ]
        for found in comparison.win_rates
    ]
    return Table("Win rates by the oracle", ["Pair", "Win rate", "95 % interval", "Ties"], rows)


def _short_costs(comparison: Comparison) -> Table | None:
    """Returns the costs of training; None where nothing was trained, as for samples made elsewhere."""
    table = _without_columns(costs_table(comparison), ("Rollout s", "Update s", "Evaluation s"))
    return table if table is not None and len(table.columns) > 1 else None


def _without_columns(table: Table | None, names: Sequence[str]) -> Table | None:
    if table is None:
        return None
    kept = [index for index, head in enumerate(table.columns) if head not in names]
    return Table(
        table.title, [table.columns[index] for index in kept], [[row[index] for index in kept] for row in table.rows]
    )


def _with_interval(found: ArmSummary, metric: str) -> str:
    summary = found.metrics.get(metric)
    return plus_minus(summary.mean, summary.over_seeds) if summary else NONE


def _mean(found: ArmSummary, metric: str) -> str:
    summary = found.metrics.get(metric)
    return number(summary.mean) if summary else NONE
