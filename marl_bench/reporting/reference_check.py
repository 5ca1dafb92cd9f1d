"""Holds a new run against a stored reference: equal to the last bit, within a margin, worse, or not comparable."""

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from marl_bench.errors import RecordError, UnknownNameError
from marl_bench.records import Cell
from marl_bench.reporting.comparison import ORACLE
from marl_bench.reporting.contrasts import Contrast, Pair
from marl_bench.reporting.formatting import NONE, counted, interval, metric_name, number, signed, titled
from marl_bench.reporting.pairs import shared_seeds
from marl_bench.reporting.references import find_references, means_only, read_means, read_reference
from marl_bench.reporting.regression import INCONCLUSIVE, REGRESSED, WITHIN, Margin, margin_verdict, require_scored
from marl_bench.reporting.side_by_side import SideBySide, compare_sides
from marl_bench.reporting.sides import Side, open_side
from marl_bench.reporting.tables import Table
from marl_bench.run_dir import RunDir, read_config
from marl_bench.statistics.intervals import Interval, mean_interval

NOISE = 1e-6
"""Margin where none is stated: other processors and libraries move sums by about this much, and nobody means that."""

EQUAL, NOT_COMPARABLE, LOST = "bit-equal", "not comparable", "lost"


@dataclasses.dataclass(frozen=True)
class CheckRow:
    """One arm on one metric.

    Attributes:
        arm: Label of the arm.
        metric: Name of the metric.
        seeds: Seeds that were compared.
        means: Of the reference and of the run, on what was compared; None where there is nothing.
        change: Run minus reference, as interval of `over`; None where there is none.
        over: What the interval is over.
        status: `bit-equal`, `within margin`, `inconclusive`, `regressed`, `lost` or `not comparable`.
        margin: How much worse it may be.
        reason: Why it is not comparable or inconclusive; empty otherwise.
        tested: True if it decides whether the check fails.
    """

    arm: str
    metric: str
    seeds: Sequence[int]
    means: tuple[float, float] | None
    change: Interval | None
    over: str
    status: str
    margin: float
    reason: str
    tested: bool


@dataclasses.dataclass(frozen=True)
class ReferenceCheck:
    """A run against a reference.

    Attributes:
        reference: Name of the reference.
        run: Name of the run.
        rows: Every arm and metric of the reference.
        notes: What must be known to read them.
        settings: Settings that differ, with the values of reference and run.
    """

    reference: str
    run: str
    rows: Sequence[CheckRow]
    notes: Sequence[str]
    settings: Sequence[tuple[str, Sequence[str]]]

    def failed(self, *, strict: bool) -> list[CheckRow]:
        """Returns the tested rows that regressed or lost their scores; if `strict`, all that are neither equal nor within the margin."""
        passing = {EQUAL, WITHIN} if strict else {EQUAL, WITHIN, INCONCLUSIVE, NOT_COMPARABLE}
        return [row for row in self.rows if row.tested and row.status not in passing]


def check_reference(
    run: str, margins: Sequence[Margin], *, name: str | None, reference_dir: Path, max_unscored: float
) -> ReferenceCheck:
    """Holds a run against its reference.

    Args:
        run: Folder of the run.
        margins: Metrics that are tested, with how much worse they may be; empty tests the primary metric and the oracle at `NOISE`.
        name: Of the reference; None takes that of the run's name, else that of its configuration.
        reference_dir: Where references lie.
        max_unscored: Largest share of samples without a score, and of prompts without a partner, in what is tested.

    Raises:
        RecordError: The run or reference cannot be read, they share nothing, or compared cells of the run are unfinished.
        UnknownNameError: There is no such reference or tested metric.
        UnscoredError: More than `max_unscored` have no score or partner.
    """
    side = open_side(run, reference_dir=reference_dir)
    folder = _reference_of(side, name, reference_dir)
    if side.open_cells:
        first = side.open_cells[0].record
        raise RecordError(
            f"{run}: {counted(len(side.open_cells), 'cell')} failed or unfinished (first: {first.arm['name']} seed {first.seed}, "
            f"{first.status}); finish the run before it is held against a reference."
        )
    primary = str(side.cells[0].record.task["primary_metric"])
    tested = {one.metric: one.size for one in margins} or {primary: NOISE, ORACLE: NOISE}
    if means_only(folder):
        return _check_means(side, folder, tested, named=bool(margins))
    reference = open_side(str(folder), reference_dir=reference_dir)
    found = compare_sides([reference, side])
    rows = list(_rows(reference, found, tested, max_unscored=max_unscored))
    _require_known(tested if margins else (), {row.metric for row in rows})
    notes = [*found.warnings, *found.unmatched]
    return ReferenceCheck(folder.name, side.name, rows, notes, found.settings)


def check_table(found: ReferenceCheck) -> Table:
    """Returns one row for each arm and metric."""
    rows = [
        [
            row.arm,
            titled(metric_name(row.metric)),
            f"{row.status}{f' ({row.reason})' if row.reason else ''}",
            f"margin {row.margin:g}" if row.tested else "no",
            ", ".join(map(str, row.seeds)) or NONE,
            number(row.means[0]) if row.means else NONE,
            number(row.means[1]) if row.means else NONE,
            signed(row.means[1] - row.means[0]) if row.means else NONE,
            f"{interval(row.change)}{f' over {row.over}' if row.change else ''}",
        ]
        for row in found.rows
    ]
    heads = ["Arm", "Metric", "Status", "Tested", "Seeds", "Reference", "Run", "Change", "95 % interval"]
    note = (
        "Bit-equal: every compared number is the same to its last bit. Regressed: the interval lies wholly beyond the margin on the worse "
        "side; within margin: none of it does; with several seeds the wider of the intervals over prompts and over seeds decides. Lost: the "
        "reference has scores and the run has none to hold against them. What is not tested is judged at margin 1e-06 and decides nothing."
    )
    return Table(f"{found.run} against the reference {found.reference}", heads, rows, note, text_columns=5)


def _reference_of(side: Side, name: str | None, reference_dir: Path) -> Path:
    folders = {folder.name: folder for folder in find_references(reference_dir)}
    if name is not None:
        if name not in folders:
            raise UnknownNameError(f"reference in {reference_dir}", name, folders)
        return folders[name]
    if side.root.resolve().name in folders:
        return folders[side.root.resolve().name]
    own = side.cells[0].record.config_hash
    for folder in folders.values():
        if _config_hash(folder) == own:
            return folder
    raise RecordError(
        f"{side.given}: {reference_dir} has no reference of its name or configuration (known: {', '.join(folders) or 'none'}); give --name, "
        "or keep one with marl-bench reference save."
    )


def _config_hash(folder: Path) -> str:
    if not means_only(folder):
        return read_reference(folder).config_hash
    return str(read_config(RunDir(folder)).get("config_hash"))


def _rows(
    reference: Side, found: SideBySide, tested: Mapping[str, float], *, max_unscored: float
) -> Iterator[CheckRow]:
    by_arm: dict[str, list[Cell]] = {}
    for cell in reference.cells:
        by_arm.setdefault(str(cell.record.arm["name"]), []).append(cell)
    pairs = {pair.second.arm.name: pair for pair in found.pairs}
    for arm, cells in by_arm.items():
        pair = pairs.get(arm)
        label = str(cells[0].record.arm.get("label", arm))
        for metric in sorted({name for cell in cells for name in cell.columns.metrics}):
            contrast = next((one for one in found.overall if pair and _is_of(one, pair, metric)), None)
            row = _row(label, metric, pair, contrast, tested.get(metric, NOISE))
            if metric in tested and contrast and row.status != EQUAL:
                require_scored(contrast, where=f"{label}, {metric}", max_unscored=max_unscored)
            yield dataclasses.replace(row, tested=metric in tested)


def _row(label: str, metric: str, pair: Pair | None, contrast: Contrast | None, margin: float) -> CheckRow:
    if pair is None or contrast is None:
        kept = pair is not None and bool(np.isfinite(pair.second.scores(metric, seeds=list(pair.second.cells))).any())
        reason = (
            "the run has no complete cell of this arm" if pair is None else "no score on any shared prompt and seed"
        )
        status = LOST if kept else NOT_COMPARABLE
        return CheckRow(label, metric, [], None, None, "", status, margin, reason, tested=False)
    found = contrast.difference
    verdict = margin_verdict(contrast, Margin(metric, margin))
    status, reason, over = verdict.verdict, verdict.reason, verdict.over
    change = verdict.interval
    if change is not None and found.higher_is_better is False:
        change = Interval(-change.estimate, -change.high, -change.low)
    if found.higher_is_better is None:
        status, reason = NOT_COMPARABLE, "changed, and neither end is better"
    if _equal(pair, metric):
        status, reason = EQUAL, _lacking(pair.second.cells, pair.first.cells).removeprefix("; ")
    means = (contrast.means[1], contrast.means[0])
    return CheckRow(label, metric, found.seeds, means, change, over, status, margin, reason, tested=False)


def _equal(pair: Pair, metric: str) -> bool:
    """Returns True if, in the shared seeds, the run has every prompt of the reference and every number is the same."""
    seeds = shared_seeds(pair.first, pair.second)
    run, reference = (arm.scores(metric, seeds=seeds) for arm in (pair.first, pair.second))
    return bool(np.array_equal(run, reference, equal_nan=True))


def _lacking(kept: Collection[int], own: Collection[int]) -> str:
    missing = sorted(set(kept) - set(own))
    return f"; the run lacks seed {', '.join(map(str, missing))}" if missing else ""


def _is_of(contrast: Contrast, pair: Pair, metric: str) -> bool:
    found = contrast.difference
    return (found.arm, found.reference, found.metric) == (pair.first.arm, pair.second.arm, metric)


def _check_means(side: Side, folder: Path, tested: Mapping[str, float], *, named: bool) -> ReferenceCheck:
    own: dict[tuple[str, str], dict[int, float]] = {}
    labels: dict[str, str] = {}
    directions: dict[str, bool | None] = {}
    for cell in side.cells:
        arm = str(cell.record.arm["name"])
        labels[arm] = str(cell.record.arm.get("label", arm))
        directions.update(cell.record.higher_is_better)
        for metric, value in cell.record.metrics.items():
            own.setdefault((arm, metric), {})[cell.record.seed] = float(value)
    kept = read_means(folder)
    rows = []
    for arm, metric in sorted(kept):
        found = own.get((arm, metric), {})
        row = _means_row(
            labels.get(arm, arm), metric, kept[arm, metric], found, directions.get(metric), tested.get(metric, NOISE)
        )
        status = LOST if arm in labels and not found else row.status
        rows.append(dataclasses.replace(row, status=status, tested=metric in tested))
    _require_known(tested if named else (), {row.metric for row in rows})
    notes = [
        f"The reference {folder.name} holds means by arm and seed only (scores.csv), no scores by prompt: equal means and differences over "
        "shared seeds can be told, paired differences over prompts cannot. marl-bench reference save keeps the scores of a run."
    ]
    return ReferenceCheck(folder.name, side.name, rows, notes, [])


def _means_row(
    label: str,
    metric: str,
    kept: Mapping[int, float],
    own: Mapping[int, float],
    better: bool | None,
    margin: float,
) -> CheckRow:
    seeds = sorted(kept.keys() & own.keys())
    if not seeds:
        return CheckRow(
            label, metric, [], None, None, "", NOT_COMPARABLE, margin, "the run has no such arm, seed or metric", False
        )
    means = (sum(kept[seed] for seed in seeds) / len(seeds), sum(own[seed] for seed in seeds) / len(seeds))
    change = mean_interval([own[seed] - kept[seed] for seed in seeds])
    status, reason = INCONCLUSIVE, "one seed and no scores by prompt: there is no interval" if change is None else ""
    if all(own[seed] == kept[seed] for seed in seeds):
        status, reason = EQUAL, f"means{_lacking(kept, own)}"
    elif better is None:
        status, reason = NOT_COMPARABLE, "changed, and neither end is better"
    elif change is not None:
        low, high = (change.low, change.high) if better else (-change.high, -change.low)
        status = REGRESSED if high < -margin else WITHIN if low >= -margin else INCONCLUSIVE
        reason = "the interval reaches to both sides of the margin" if status == INCONCLUSIVE else ""
    return CheckRow(
        label, metric, seeds, means, change, counted(len(seeds), "seed"), status, margin, reason, tested=False
    )


def _require_known(tested: Mapping[str, float] | tuple[()], known: set[str]) -> None:
    for metric in tested:
        if metric not in known:
            raise UnknownNameError("metric of the reference", metric, known)
