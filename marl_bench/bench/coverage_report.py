"""What `marl-bench bench statistics` found, as tables, Markdown and plain data that the next call goes on from."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marl_bench.bench.coverage import RESAMPLES, Coverage, CoverageCase, PowerCase, StatisticsResult, digest_of_sources
from marl_bench.errors import ConfigError
from marl_bench.reporting.rendering import as_markdown as table_as_markdown
from marl_bench.reporting.tables import Table

COMMAND = "marl-bench bench statistics"


def tables(result: StatisticsResult) -> list[Table]:
    """Returns the tables of coverage, of naive intervals, and of power; those without a row are left out."""
    used = [(case, found) for case, found in result.coverage if case.use == "report"]
    naive = [(case, found) for case, found in result.coverage if case.use == "naive"]
    columns = ["Interval", "Data", "Size", "Covers", "± (simulation)", "Too high", "Half-width", "Simulations"]
    found = [
        Table(
            "Coverage of the intervals that reports show, nominal 95 %",
            [*columns, "Mark"],
            [[*_coverage_row(case, found), _mark(case, found)] for case, found in used],
            note=(
                "Too high: share of intervals above the truth; 2.5 % would be even. ± is twice the standard error of the simulation. "
                f"'<' and '>' mark what lies outside 93 to 97 %, '!' what lies outside of what is known of it. Simulated bootstraps draw "
                f"{RESAMPLES} resamples, those of reports 4,000."
            ),
            text_columns=3,
        ),
        Table(
            "Coverage of what is not used, on the same data",
            columns,
            [_coverage_row(case, found) for case, found in naive],
            note="Nominal 95 % as well. Samples of one prompt are no independent samples, and few seeds are too few to resample.",
            text_columns=3,
        ),
        _power_table(result),
    ]
    return [table for table in found if table.rows]


def _coverage_row(case: CoverageCase, found: Coverage) -> list[str]:
    return [
        case.interval,
        case.data,
        case.size,
        f"{found.percent:.1f} %",
        f"{2 * found.error:.1f}",
        f"{100 * found.too_high / max(1, found.intervals):.1f} %",
        f"{found.half_width:.3g}",
        f"{found.intervals:,}",
    ]


def _mark(case: CoverageCase, found: Coverage) -> str:
    if not found.lies_within(case):
        return "!"
    return "<" if round(found.percent, 1) < 93 else ">" if round(found.percent, 1) > 97 else ""


def _power_table(result: StatisticsResult) -> Table:
    rows = [
        [
            case.test,
            case.data,
            case.size,
            f"{found.percent:.1f} %",
            f"{100 * case.planned:.1f} %",
            case.basis,
            f"{found.repetitions:,}",
            "" if found.lies_within(case) else "!",
        ]
        for case, found in result.power
    ]
    return Table(
        "Rejections at the 5 % level, against the plan",
        ["Test", "Data", "Size", "Rejects", "Planned", "Plan", "Simulations", "Mark"],
        rows,
        note=(
            "Without a difference a test should reject in at most 5 %; at the minimum detectable difference in 80 %. On normal differences "
            "the sign test needs π/2 times the prompts of a t test; exact tests on counts stay below their level."
        ),
        text_columns=3,
    )


def as_json(result: StatisticsResult) -> dict[str, Any]:
    """Returns all figures as plain data, with the range that each is held in."""
    from marl_bench.provenance import environment

    return {
        **progress(_figures(result)),
        "share": result.share,
        "coverage": [{**_facts(case), **_percents(found)} for case, found in result.coverage],
        "power": [{**_facts(case), "percent": round(found.percent, 3)} for case, found in result.power],
        "outside": result.outside(),
        "environment": environment(device="cpu", threads=1),
    }


def _percents(found: Coverage) -> dict[str, float]:
    return {"percent": round(found.percent, 3), "standard_error": round(found.error, 3)}


def _facts(case: CoverageCase | PowerCase) -> dict[str, Any]:
    facts = {field.name: getattr(case, field.name) for field in dataclasses.fields(case) if field.name != "make"}
    return {"name": case.name, **facts}


def _figures(result: StatisticsResult) -> dict[str, Any]:
    coverage = {case.name: dataclasses.asdict(found) for case, found in result.coverage}
    return coverage | {case.name: dataclasses.asdict(found) for case, found in result.power}


def progress(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the cases done so far as plain data that `known` reads."""
    return {"code": digest_of_sources(), "figures": dict(figures)}


def known(path: Path | None) -> dict[str, dict[str, Any]]:
    """Returns the cases that a file of an earlier or interrupted call has, if the same code found them.

    Raises:
        ConfigError: The file is something else; it would be overwritten.
    """
    if path is None or not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found: dict[str, dict[str, Any]] = dict(content["figures"])
        code = content["code"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"--json {path}: is no file of `{COMMAND}` ({error}); give another name.") from error
    return found if code == digest_of_sources() else {}


def as_markdown(result: StatisticsResult, *, command: str) -> str:
    """Returns the tables as one Markdown document.

    Args:
        result: What was found.
        command: The call that makes the document again.
    """
    outside = result.outside()
    verdict = (
        f"Outside of the range it is held in: {'; '.join(outside)}."
        if outside
        else "Every figure lies in the range it is held in, within the simulation's error."
    )
    parts = [
        "# Statistics: coverage and power by simulation",
        f"Made by `{command}`; the same call gives the same figures. {verdict}",
    ]
    for table in tables(result):
        parts += [f"## {table.title}", table_as_markdown(table)]
    return "\n\n".join(parts) + "\n"
