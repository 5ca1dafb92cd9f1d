"""Cells in, comparison out: a pure function on records."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from marl_bench.errors import RecordError
from marl_bench.records import Cell
from marl_bench.reporting.arm_cells import ArmCells, arms_of
from marl_bench.reporting.budget import check_budget, require_one_record_each, require_one_task
from marl_bench.reporting.comparison import (
    ORACLE,
    ROLES,
    Arm,
    ArmSummary,
    Comparison,
    Difference,
    OpenCell,
    Parity,
    Setting,
    Summary,
    WinRate,
)
from marl_bench.reporting.frames import cost_items
from marl_bench.reporting.pairs import difference, generator, shared_seeds, win_rate
from marl_bench.reporting.pass_at_k import pass_rates
from marl_bench.reporting.ranking import oracle_ranking
from marl_bench.reporting.subsets import means_by_subset
from marl_bench.statistics.intervals import Interval, mean_interval
from marl_bench.statistics.parity import smoothed, smoothing_window, speed_up, updates_to_parity
from marl_bench.statistics.prompts import prompt_interval
from marl_bench.statistics.seeds import seed_interval

_NOT_DIAGNOSTICS = {"update", "macro_length_histogram"}


def compare(cells: Sequence[Cell], *, force: bool = False) -> Comparison:
    """Compares the arms of one or more experiments.

    Args:
        cells: Cells as read from disk; failed and unfinished ones are listed but do not count.
        force: Compare trained arms of unequal budgets too; the gaps become warnings.

    Raises:
        RecordError: No complete cell, several tasks, an arm and seed twice, or unequal budgets without `force`.
    """
    complete = [cell for cell in cells if _is_complete(cell)]
    if not complete:
        raise RecordError(f"nothing to compare: none of {len(cells)} cells is complete; let the run finish first.")
    require_one_task(complete)
    require_one_record_each(complete)
    warnings = check_budget(complete, force=force)
    arms = arms_of(complete)
    start, token = _first(arms, "start"), _first(arms, "token")
    primary = str(complete[0].record.task["primary_metric"])
    directions = {name: better for cell in complete for name, better in cell.record.higher_is_better.items()}
    deviation = _reference_deviation(complete, start, primary, warnings)
    metrics = [primary, *([ORACLE] if ORACLE in directions and primary != ORACLE else [])]
    deviations = {ORACLE: _spread(start, ORACLE), primary: deviation}
    return Comparison(
        setting=_setting(complete),
        primary_metric=primary,
        higher_is_better=directions,
        reference_deviation=deviation,
        arms=[_summary(arm) for arm in arms],
        start=start.arm if start else None,
        token=token.arm if token else None,
        differences=list(_differences(_pairs(arms, [start, token]), metrics, directions, deviations)),
        against_controls=list(_differences(_control_pairs(arms), metrics, directions, deviations)),
        win_rates=list(_win_rates(_pairs(arms, [start, token]), directions)),
        parities=list(_parities(arms, token)),
        open_cells=[_open_cell(cell) for cell in cells if not _is_complete(cell)],
        warnings=[*warnings, *_seed_warnings(arms), *_problems(complete)],
        ranking=oracle_ranking(arms, higher_is_better=directions.get(ORACLE)),
    )


def _is_complete(cell: Cell) -> bool:
    return cell.record.status == "complete" and bool(cell.samples)


def _first(arms: Sequence[ArmCells], role: str) -> ArmCells | None:
    return next((one for one in arms if one.arm.role == role), None)


def _summary(arm: ArmCells) -> ArmSummary:
    cells = list(arm.cells.values())
    names = sorted({name for cell in cells for name in cell.record.metrics})
    unscored = _sums(cell.record.unscored for cell in cells)
    last_lines = [
        {name: value for name, value in cell.curve[-1].items() if name not in _NOT_DIAGNOSTICS}
        for cell in cells
        if cell.curve
    ]
    lengths = _sums(cell.curve[-1].get("macro_length_histogram") or {} for cell in cells if cell.curve)
    return ArmSummary(
        arm=arm.arm,
        seeds=list(arm.cells),
        metrics={name: _metric_summary(arm, name) for name in names},
        samples=sum(len(cell.columns) for cell in cells),
        unscored={name: count for name, count in sorted(unscored.items()) if count},
        budget=_means(cell.record.budget for cell in cells),
        last_update=_means(last_lines),
        macro_lengths={int(length): count for length, count in sorted(lengths.items(), key=lambda item: int(item[0]))},
        costs=_means(dict(cost_items(cell.record)) for cell in cells),
        by_subset=means_by_subset([cell.columns for cell in cells]),
        pass_at_k=pass_rates(arm),
    )


def _metric_summary(arm: ArmCells, metric: str) -> Summary:
    by_seed = {
        seed: float(cell.record.metrics[metric]) for seed, cell in arm.cells.items() if metric in cell.record.metrics
    }
    scores = arm.scores(metric, seeds=list(by_seed))
    scored = np.isfinite(scores)
    over_seeds, over_prompts = mean_interval(list(by_seed.values())), None
    if scored.any(axis=1).all():
        known = np.ascontiguousarray(scores[:, scored.any(axis=0)])
        over_seeds = seed_interval(known, rng=generator(arm.arm.name, metric, "seeds"))
        over_prompts = prompt_interval(
            scores[scored], np.nonzero(scored)[1], rng=generator(arm.arm.name, metric, "prompts")
        )
    return Summary(sum(by_seed.values()) / len(by_seed), by_seed, over_seeds, over_prompts)


def _pairs(arms: Sequence[ArmCells], references: Iterable[ArmCells | None]) -> list[tuple[ArmCells, ArmCells]]:
    """Returns every arm with every reference that stands before it in the order of roles."""
    known = [reference for reference in references if reference]
    return [
        (arm, reference)
        for reference in known
        for arm in arms
        if ROLES.index(arm.arm.role) > ROLES.index(reference.arm.role)
        or (arm.arm.role == reference.arm.role == "token" and arm is not reference)
    ]


def _control_pairs(arms: Sequence[ArmCells]) -> list[tuple[ArmCells, ArmCells]]:
    return [
        (macro, control)
        for macro in arms
        for control in arms
        if macro.arm.role == "macro" and control.arm.role == "control" and _controls(control.arm, macro.arm)
    ]


def _controls(control: Arm, macro: Arm) -> bool:
    """Returns True if the control has the macro arm's options, as far as they have an effect in it, and its rule, if it has one at all."""

    def effective(arm: Arm) -> set[tuple[str, str]]:
        return {option for option in arm.options if option[0] not in control.without_effect}

    return control.rule in (None, macro.rule) and effective(control) == effective(macro)


def _differences(
    pairs: Sequence[tuple[ArmCells, ArmCells]],
    metrics: Sequence[str],
    directions: Mapping[str, bool | None],
    deviations: Mapping[str, float | None],
) -> Iterable[Difference]:
    for metric in metrics:
        for arm, reference in pairs:
            found = difference(
                arm,
                reference,
                metric,
                higher_is_better=directions.get(metric),
                reference_deviation=deviations.get(metric),
            )
            if found:
                yield found


def _win_rates(pairs: Sequence[tuple[ArmCells, ArmCells]], directions: Mapping[str, bool | None]) -> Iterable[WinRate]:
    for arm, reference in pairs:
        found = win_rate(arm, reference, higher_is_better=directions.get(ORACLE))
        if found:
            yield found


def _parities(arms: Sequence[ArmCells], token: ArmCells | None) -> Iterable[Parity]:
    for arm in arms if token else []:
        if token and arm.arm.trained:
            found = _parity(arm, token)
            if found:
                yield found


def _parity(arm: ArmCells, token: ArmCells) -> Parity | None:
    shared = shared_seeds(arm, token)
    lines = {seed: (_scored(arm.cells[seed]), _scored(token.cells[seed])) for seed in shared}
    seeds = [seed for seed in shared if all(lines[seed])]
    if not seeds:
        return None
    window = smoothing_window(min(len(lines[seed][1]) for seed in seeds))
    updates: dict[int, int | None] = {}
    tokens: dict[int, int | None] = {}
    token_updates: dict[int, int] = {}
    for seed in seeds:
        own, other = lines[seed]
        target_scores = [float(line["score"]) for line in other]
        target = float(smoothed(target_scores, window=window)[-1])
        reached = updates_to_parity([float(line["score"]) for line in own], target, window=window)
        updates[seed] = int(own[reached - 1]["update"]) if reached else None
        sampled = own[reached - 1].get("tokens_sampled") if reached else None
        tokens[seed] = int(sampled) if sampled is not None else None
        first = updates_to_parity(target_scores, target, window=window) or len(target_scores)
        token_updates[seed] = int(other[first - 1]["update"])
    ratio, over_seeds = _speed_up(updates, token_updates)
    return Parity(arm.arm, seeds, updates, tokens, token_updates, ratio, over_seeds, window)


def _speed_up(
    updates: Mapping[int, int | None], token_updates: Mapping[int, int]
) -> tuple[float | None, Interval | None]:
    logs = [math.log(speed_up(token_updates[seed], reached)) for seed, reached in updates.items() if reached]
    # A mean over the seeds that happened to reach parity would flatter the arm.
    if len(logs) < len(updates):
        return None, None
    ratio = math.exp(sum(logs) / len(logs))
    over = mean_interval(logs)
    return ratio, Interval(ratio, math.exp(over.low), math.exp(over.high)) if over else None


def _scored(cell: Cell) -> list[Mapping[str, Any]]:
    """Returns the curve's lines that have a score: in an update none of the responses may have had one."""
    return [line for line in cell.curve if line.get("score") is not None and math.isfinite(line["score"])]


def _open_cell(cell: Cell) -> OpenCell:
    record = cell.record
    reason = {"failed": record.error or "no error text", "complete": "its samples are missing"}.get(
        record.status, "unfinished"
    )
    return OpenCell(str(record.arm["name"]), record.seed, record.status, " ".join(reason.split()))


def _reference_deviation(
    cells: Sequence[Cell], start: ArmCells | None, primary: str, warnings: list[str]
) -> float | None:
    """Returns the standard deviation of the scores of SFT samples if all cells agree on it; warns if they do not.

    Where no stage of the run has measured it, as with rule rewards, it is that of the SFT arm's evaluated responses.
    """
    shared = [cell.record.shared for cell in cells]
    stages = [stages.get("reward") or stages.get("reward_model") or {} for stages in shared]
    found = {float(stage["score_std"]) for stage in stages if stage.get("score_std")}
    if len(found) > 1:
        warnings.append("The cells' scores have different reference standard deviations; none is used.")
    return (found.pop() if len(found) == 1 else None) if found else _spread(start, primary)


def _spread(arm: ArmCells | None, metric: str) -> float | None:
    """Returns the standard deviation of a metric over an arm's scored responses, all seeds together; None without any spread."""
    columns = [cell.columns.metrics.get(metric) for cell in arm.cells.values()] if arm else []
    values = np.concatenate([np.empty(0), *(column[np.isfinite(column)] for column in columns if column is not None)])
    spread = float(values.std()) if values.size > 1 else 0.0
    return spread if spread > 0 else None


def _seed_warnings(arms: Sequence[ArmCells]) -> list[str]:
    if len({tuple(one.cells) for one in arms}) == 1:
        return []
    listed = "; ".join(f"{one.arm.label}: {', '.join(map(str, one.cells))}" for one in arms)
    return [f"The arms have different seeds ({listed}); differences and win rates use the seeds that both arms have."]


def _problems(cells: Sequence[Cell]) -> list[str]:
    return [
        f"{cell.record.arm['label']}, seed {cell.record.seed}: {problem}"
        for cell in cells
        for problem in cell.record.problems
    ]


def _setting(cells: Sequence[Cell]) -> Setting:
    records = [cell.record for cell in cells]
    environments: dict[str, set[str]] = {}
    for record in records:
        for name, value in record.environment.items():
            environments.setdefault(name, set()).add(_environment_text(value))
    return Setting(
        experiments=sorted({record.experiment for record in records}),
        task=str(records[0].task["id"]),
        task_versions=sorted({str(record.task["version"]) for record in records}),
        config_hashes=sorted({record.config_hash for record in records}),
        digests={
            name: sorted({str(record.digests[name]) for record in records if name in record.digests})
            for name in sorted({name for record in records for name in record.digests})
        },
        environments={name: sorted(values) for name, values in sorted(environments.items())},
        shared=next((record.shared for record in records if record.shared), {}),
    )


def _environment_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {item}" for name, item in sorted(value.items()))
    return str(value)


def _means(items: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Returns the mean of each number over the mappings that have it."""
    found: dict[str, list[float]] = {}
    for mapping in items:
        for name, value in mapping.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                found.setdefault(name, []).append(float(value))
    return {name: math.fsum(values) / len(values) for name, values in sorted(found.items())}


def _sums(items: Iterable[Mapping[str, int]]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for mapping in items:
        for name, count in mapping.items():
            totals[name] = totals.get(name, 0) + int(count)
    return totals
