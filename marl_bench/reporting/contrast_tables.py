"""A comparison of sides as tables, sentences, CSV rows and plain data."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from marl_bench.reporting.comparison import Difference
from marl_bench.reporting.contrasts import MCNEMAR, Contrast, Reach
from marl_bench.reporting.formatting import NONE, counted, interval, metric_name, number, p_value, signed, titled
from marl_bench.reporting.reading import describe, evidence
from marl_bench.reporting.regression import MarginVerdict, verdict_sentence
from marl_bench.reporting.side_by_side import SideBySide
from marl_bench.reporting.tables import Table
from marl_bench.statistics.intervals import Interval

_NAMED = 5


def tables(found: SideBySide) -> list[Table]:
    """Returns the tables in the order in which they are read."""
    parts = [one for one in found.contrasts if one.subset]
    made = [
        _differences("Paired differences", found.overall, found),
        _tests("Tests over prompts", found.overall, found),
        _reach("What this size can show", found.overall, found),
        _differences("Paired differences by subset", parts, found) if parts else None,
        _tests("Tests by subset", parts, found) if parts else None,
        _unpaired(found),
        _settings(found),
    ]
    return [table for table in made if table is not None and table.rows]


def sentences(found: SideBySide) -> list[str]:
    """Returns the reading: each pair on the primary metric, or on the first shown one if that is not among them."""
    shown = [one.difference.metric for one in found.overall]
    metric = found.primary_metric if found.primary_metric in shown else shown[0]
    return [describe(one.difference) for one in found.overall if one.difference.metric == metric]


def as_markdown_text(found: SideBySide, verdicts: Sequence[MarginVerdict]) -> str:
    """Returns the whole comparison as Markdown."""
    from marl_bench.reporting.rendering import as_markdown, markdown_text

    lines = [f"# {' against '.join(reversed(found.sides))}", "", f"Task `{found.task}`."]
    lines += [
        f"\n> **Warning.** {markdown_text(text)}" for text in [*found.warnings, *found.unmatched, *found.open_cells]
    ]
    lines += ["", "## Reading", "", *(f"- {markdown_text(text)}" for text in sentences(found))]
    if verdicts:
        lines += ["", "## Margins", "", *(f"- {markdown_text(verdict_sentence(one))}" for one in verdicts)]
    for table in tables(found):
        lines += ["", f"## {table.title}", "", as_markdown(table)]
    return "\n".join(lines) + "\n"


def csv_rows(found: SideBySide) -> list[dict[str, Any]]:
    """Returns one flat row a contrast."""
    return [
        {name: "" if value is None else value for name, value in _flat(_contrast_data(one, listing=False))}
        for one in found.contrasts
    ]


def as_data(found: SideBySide, verdicts: Sequence[MarginVerdict]) -> dict[str, Any]:
    """Returns the whole comparison as plain data; numbers that do not exist are None."""
    return {
        "sides": list(found.sides),
        "task": found.task,
        "primary_metric": found.primary_metric,
        "warnings": list(found.warnings),
        "not_compared": [*found.unmatched, *found.open_cells],
        "contrasts": [_contrast_data(one, listing=True) for one in found.contrasts],
        "settings": [{"setting": name, "values": list(values)} for name, values in found.settings],
        "margins": [
            {
                "arm": one.contrast.difference.arm.label,
                "baseline": one.contrast.difference.reference.label,
                "metric": one.margin.metric,
                "margin": one.margin.size,
                "verdict": one.verdict,
                "change_for_the_better": _interval_data(one.interval),
                "over": one.over,
                "reason": one.reason,
            }
            for one in verdicts
        ],
    }


def _differences(title: str, rows: Sequence[Contrast], found: SideBySide) -> Table:
    heads = [*_heads(rows, found), "Arm", "Baseline", "Difference", "Over prompts", "Over seeds"]
    cells = [
        [
            *_names(one, rows, found),
            number(one.means[0]),
            number(one.means[1]),
            signed(one.difference.delta),
            interval(one.difference.over_prompts.interval),
            interval(one.difference.over_seeds),
        ]
        for one in rows
    ]
    note = (
        f"{_what(found)}. Means over shared prompts and seeds; 95 % intervals, each for itself: over prompts what other prompts would "
        "give, over seeds (– with one) what other training runs would give."
    )
    return Table(title, heads, cells, note, text_columns=len(heads) - 5)


def _tests(title: str, rows: Sequence[Contrast], found: SideBySide) -> Table:
    heads = [*_heads(rows, found), "Wins / ties / losses", "Prompts", "Seeds", "Test", "p", "p (Holm)"]
    cells = [
        [
            *_names(one, rows, found),
            _outcomes(one.difference),
            str(one.difference.over_prompts.prompts),
            str(len(one.difference.seeds)),
            one.test,
            p_value(one.p_value),
            p_value(one.p_holm),
        ]
        for one in rows
    ]
    families = sorted({one.family for one in rows})
    family = f"of a metric ({' or '.join(counted(size, 'test') for size in families)})"
    tested = (
        "exact sign test, or exact McNemar where one seed's values are 0 or 1"
        if _has_mcnemar(rows)
        else "exact sign test"
    )
    arrows = (
        " ↑/↓: higher or lower, where neither end is better."
        if any(one.difference.higher_is_better is None for one in rows)
        else ""
    )
    subsets = " over pairs and subsets" if any(one.subset for one in rows) else " over arms"
    note = (
        f"Over prompts' means, {tested}; Holm{subsets}, the family is the tests {family}. A small p says that other prompts would agree, "
        f"not that other seeds would.{arrows}"
    )
    return Table(title, heads, cells, note, text_columns=len(heads) - 6)


def _reach(title: str, rows: Sequence[Contrast], found: SideBySide) -> Table:
    heads = [
        *_heads(rows, found),
        "Detectable (prompts)",
        "Detectable (seeds)",
        "Asked",
        "Prompts needed",
        "Seeds needed",
    ]
    cells = [
        [
            *_names(one, rows, found),
            number(one.over_prompts.detectable),
            number(one.over_seeds.detectable),
            number(abs(one.effect)),
            _count(one.over_prompts),
            _count(one.over_seeds),
        ]
        for one in rows
    ]
    note = (
        "Detectable: the least true difference that a paired t test sees with 80 % chance at 95 %, with so many prompts (these policies) "
        "or seeds. Needed: prompts or seeds that would see the difference asked about (the observed one unless --effect states it) at the "
        "observed spread."
    )
    return Table(title, heads, cells, note, text_columns=len(heads) - 5)


def _unpaired(found: SideBySide) -> Table:
    rows = []
    for one in found.overall:
        groups = [
            (f"only {one.difference.arm.label}", one.unpaired.only_first),
            (f"only {one.difference.reference.label}", one.unpaired.only_second),
            ("unscored on one side", one.unpaired.unscored),
        ]
        rows += [
            [titled(metric_name(one.difference.metric)), why, str(len(ids)), _some(ids)] for why, ids in groups if ids
        ]
    heads = ["Metric", "Prompts that do not count", "Count", "First ones"]
    return Table("Unpaired prompts", heads, rows, text_columns=2)


def _settings(found: SideBySide) -> Table:
    heads = ["Setting", *found.sides]
    rows = [[name, *values] for name, values in found.settings]
    return Table("Settings that differ", heads, rows, text_columns=len(heads))


def _what(found: SideBySide) -> str:
    if len(found.pairs) == 1:
        pair = found.pairs[0]
        return f"Arm: {pair.first.arm.label}; baseline: {pair.second.arm.label}"
    baselines = list(dict.fromkeys(pair.second.arm.label for pair in found.pairs))
    return f"Baseline: {baselines[0] if len(baselines) == 1 else 'the same arm of the first side'}"


def _heads(rows: Sequence[Contrast], found: SideBySide) -> list[str]:
    heads = ["Metric"]
    if any(one.subset for one in rows):
        heads.append("Subset")
    if len(found.pairs) > 1:
        heads.append("Of")
    return heads


def _names(one: Contrast, rows: Sequence[Contrast], found: SideBySide) -> list[str]:
    names = [titled(metric_name(one.difference.metric))]
    if any(each.subset for each in rows):
        names.append(one.subset or NONE)
    if len(found.pairs) > 1:
        names.append(one.difference.arm.label)
    return names


def _outcomes(found: Difference) -> str:
    over = found.over_prompts
    if found.higher_is_better is None:
        return f"↑{over.higher} / {over.equal} / ↓{over.lower}"
    wins, losses = (over.higher, over.lower) if found.higher_is_better else (over.lower, over.higher)
    return f"{wins} / {over.equal} / {losses}"


def _count(reach: Reach) -> str:
    return NONE if reach.needed is None else f"{reach.needed:,}"


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_NAMED]) + (" ..." if len(ids) > _NAMED else "")


def _has_mcnemar(rows: Iterable[Contrast]) -> bool:
    return any(one.test == MCNEMAR for one in rows)


def _contrast_data(one: Contrast, *, listing: bool) -> dict[str, Any]:
    found = one.difference
    unpaired: dict[str, Any] = {
        "only_arm": one.unpaired.only_first,
        "only_baseline": one.unpaired.only_second,
        "unscored": one.unpaired.unscored,
        "other_text": one.unpaired.other_text,
    }
    return {
        "metric": found.metric,
        "subset": one.subset,
        "arm": found.arm.label,
        "baseline": found.reference.label,
        "higher_is_better": found.higher_is_better,
        "seeds": list(found.seeds) if listing else " ".join(map(str, found.seeds)),
        "prompts": found.over_prompts.prompts,
        "arm_mean": one.means[0],
        "baseline_mean": one.means[1],
        "difference": found.delta,
        "over_prompts": _interval_data(found.over_prompts.interval),
        "over_seeds": _interval_data(found.over_seeds),
        "evidence": evidence(found),
        "higher": found.over_prompts.higher,
        "equal": found.over_prompts.equal,
        "lower": found.over_prompts.lower,
        "test": one.test,
        "p": one.p_value,
        "p_holm": one.p_holm,
        "holm_family": one.family,
        "effect": one.effect,
        "prompts_deviation": one.over_prompts.deviation,
        "prompts_detectable": one.over_prompts.detectable,
        "prompts_needed": one.over_prompts.needed,
        "seeds_deviation": one.over_seeds.deviation,
        "seeds_detectable": one.over_seeds.detectable,
        "seeds_needed": one.over_seeds.needed,
        "unscored_share_arm": one.unscored_shares[0],
        "unscored_share_baseline": one.unscored_shares[1],
        "unpaired": {name: list(ids) if listing else len(ids) for name, ids in unpaired.items()},
    }


def _interval_data(found: Interval | None) -> dict[str, float | None]:
    known = found is not None and math.isfinite(found.low) and math.isfinite(found.high)
    return {"low": found.low if found and known else None, "high": found.high if found and known else None}


def _flat(data: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}_")
        else:
            yield f"{before}{name}", value
