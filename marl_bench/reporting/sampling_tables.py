"""Best-of-N and temperature sweeps as tables and sentences, from their stored curves alone."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from marl_bench.reporting.comparison import ORACLE
from marl_bench.reporting.formatting import NONE, counted, metric_name, number, percent, signed, titled
from marl_bench.reporting.rendering import as_markdown, as_plain_text, as_rich_table
from marl_bench.reporting.sampling_reading import best_of_n_sentences, temperature_sentences
from marl_bench.reporting.tables import Table
from marl_bench.run_dir import write_json_atomically, write_text_atomically
from marl_bench.sampling_curves import (
    BEST_OF_N,
    TEMPERATURE_SWEEP,
    SamplingCurves,
    SamplingDifference,
    SamplingPoint,
    read_curves,
)

if TYPE_CHECKING:
    import rich.console

_TITLES = {"best_of_n": "Best of N", "temperature": "Temperature sweep"}
_FILES = {"best_of_n": BEST_OF_N, "temperature": TEMPERATURE_SWEEP}

_SHARES = frozenset({"finished", "repetition", "diversity", "unique", "passed"})
"""Metrics that are read in percent."""

_BESIDE = ("passed", "response_tokens", "finished", "repetition", "diversity", "unique")
"""Metrics beside score and oracle that the tables show, without intervals."""

_NOT_IN_A_TERMINAL = ("95 %", "Unscored")
"""Columns for which a terminal has no room; the Markdown has them."""

_HEADS = {"response_tokens": "Tokens", "finished": "Truncated", "unique": "Different texts"}


@dataclasses.dataclass(frozen=True)
class CurveFiles:
    """Where the curves of a sweep stand."""

    record: Path
    markdown: Path


def write_curves(root: Path, curves: SamplingCurves) -> CurveFiles:
    """Writes the record and its Markdown into the folder of a run; the same curves give the same bytes."""
    record = root / _FILES[curves.kind]
    files = CurveFiles(record, record.with_suffix(".md"))
    write_json_atomically(files.record, curves.to_json())
    write_text_atomically(files.markdown, curves_markdown(curves) + "\n")
    return files


def read_all_curves(root: Path) -> list[SamplingCurves]:
    """Returns the curves that a run has, best-of-N first; raises `RecordError` if a file is damaged."""
    found = [read_curves(root / name) for name in (BEST_OF_N, TEMPERATURE_SWEEP)]
    return [curves for curves in found if curves is not None]


def curves_title(curves: SamplingCurves) -> str:
    """Returns what the sweep is called."""
    return _TITLES[curves.kind]


def curves_markdown(curves: SamplingCurves) -> str:
    """Returns the document that stands beside the record."""
    parts = [f"# {curves_title(curves)}", "\n".join(f"- {sentence}" for sentence in read_sampling(curves))]
    for table in curve_tables(curves):
        parts += [f"## {table.title}", as_markdown(table)]
    return "\n\n".join(part for part in parts if part)


def curves_as_text(curves: SamplingCurves) -> str:
    """Returns tables, notes and reading for pipes: an item a line."""
    lines = [as_plain_text(table) for table in curve_tables(curves)]
    lines += [f"Note | {note}" for note in curves.notes]
    lines += [f"Reading | {sentence}" for sentence in read_sampling(curves)]
    return "\n".join(lines)


def curves_for_terminal(curves: SamplingCurves) -> "rich.console.RenderableType":
    """Returns the curves, notes and reading for a terminal; the pairs of points stand in the Markdown and in the reading."""
    import rich.console
    import rich.padding
    import rich.text

    points = _points_table(curves)
    kept = [index for index, head in enumerate(points.columns) if head not in _NOT_IN_A_TERMINAL]
    narrow = dataclasses.replace(
        points,
        columns=[points.columns[index] for index in kept],
        rows=list(_named_once([row[index] for index in kept] for row in points.rows)),
    )
    parts: list[rich.console.RenderableType] = [as_rich_table(narrow)]
    parts += [rich.text.Text(note, style="dim") for note in curves.notes]
    parts.append(rich.text.Text("Reading", style="bold"))
    parts += [rich.padding.Padding(rich.text.Text(f"• {sentence}"), (0, 0, 0, 2)) for sentence in read_sampling(curves)]
    return rich.console.Group(*parts)


def curve_tables(curves: SamplingCurves) -> list[Table]:
    """Returns the curves, then the pairs of points that are held against each other."""
    return [table for table in (_points_table(curves), *_difference_tables(curves)) if table is not None]


def read_sampling(curves: SamplingCurves) -> list[str]:
    """Returns what the curves say, a sentence each."""
    sentences = best_of_n_sentences if curves.kind == "best_of_n" else temperature_sentences
    return list(sentences(curves))


def _points_table(curves: SamplingCurves) -> Table:
    """Returns a row for each arm and N or temperature, with score and oracle side by side."""
    leading = [name for name in (curves.score, ORACLE) if _has(curves, name)]
    leading = list(dict.fromkeys(leading))
    beside = [name for name in _BESIDE if _has(curves, name) and name not in leading]
    found = {(point.label, point.x, point.metric): point for point in curves.points}
    keys = list(dict.fromkeys((point.label, point.x) for point in curves.points))
    heads = ["Arm", "N" if curves.kind == "best_of_n" else "T"]
    for name in leading:
        heads += [titled(metric_name(name)), "95 %"]
    heads += ["KL", *(_HEADS.get(name, titled(metric_name(name))) for name in beside), "Unscored"]
    rows = []
    for label, x in keys:
        row = [label, f"{x:g}"]
        own = [found.get((label, x, name)) for name in (*leading, *beside)]
        for point in own[: len(leading)]:
            row += [number(point.mean), _ends(point.low, point.high)] if point else [NONE, NONE]
        known = [point for point in own if point is not None]
        row.append(_kl(curves, known[0]) if known else NONE)
        row += [_beside(point) for point in own[len(leading) :]]
        row.append(_unscored(own[: len(leading)]))
        rows.append(row)
    intervals = f"95 % bootstrap interval over {counted(curves.prompts, 'prompt')}, for these seeds ({', '.join(map(str, curves.seeds))})."
    title = _TITLES[curves.kind]
    if curves.kind == "best_of_n":
        title += f", chosen by {metric_name(curves.chosen_by)}"
    return Table(title, heads, rows, " ".join([intervals, *curves.notes]))


def _difference_tables(curves: SamplingCurves) -> Iterator[Table]:
    """Yields arm against arm, and the ends of one arm's curve."""
    between = [found for found in curves.differences if found.label != found.reference]
    along = [found for found in curves.differences if found.label == found.reference]
    title = "Against best-of-N from SFT" if curves.kind == "best_of_n" else "Arm against arm"
    name = "N" if curves.kind == "best_of_n" else "T"
    note = "Prompt by prompt; the interval is over prompts."
    if curves.kind == "best_of_n":
        between_note = (
            f"{note} One response of the arm minus the best of as many SFT responses as stay within the arm's KL."
        )
    else:
        between_note = f"{note} Both arms at the same temperature; each interval stands for itself."
    if between:
        yield _differences(title, name, between, between_note)
    if along:
        picked = " A level above 95 % holds for all points that the pair was picked from (Bonferroni)."
        yield _differences("Along each curve", name, along, note + picked)


def _differences(title: str, x: str, differences: Sequence[SamplingDifference], note: str) -> Table:
    heads = ["Arm", "Minus", "Metric", "Difference", "Interval", "Level"]
    rows = [
        [
            f"{found.label}, {x} = {found.x:g}",
            f"{found.reference}, {x} = {found.reference_x:g}",
            metric_name(found.metric),
            signed(found.delta),
            _ends(found.low, found.high),
            percent(found.level),
        ]
        for found in differences
    ]
    return Table(title, heads, rows, note, text_columns=3)


def _named_once(rows: Iterable[Sequence[str]]) -> Iterator[list[str]]:
    """Yields the rows with the name of an arm on its first one only."""
    last = None
    for name, *cells in rows:
        yield ["" if name == last else name, *cells]
        last = name


def _has(curves: SamplingCurves, metric: str) -> bool:
    return any(point.metric == metric for point in curves.points)


def _ends(low: float | None, high: float | None) -> str:
    return NONE if low is None or high is None else f"[{number(low)}, {number(high)}]"


def _kl(curves: SamplingCurves, point: SamplingPoint) -> str:
    bound = curves.kind == "best_of_n" and point.x > 1
    return NONE if point.kl is None else f"{'≤ ' if bound else ''}{number(point.kl)}"


def _beside(point: SamplingPoint | None) -> str:
    if point is None:
        return NONE
    value = 1 - point.mean if point.metric == "finished" else point.mean
    show: Callable[[float], str] = percent if point.metric in _SHARES else number
    return show(value)


def _unscored(points: Sequence[SamplingPoint | None]) -> str:
    known = [point for point in points if point is not None]
    if not known:
        return NONE
    return (
        "; ".join(
            f"{metric_name(point.metric)} {point.unscored:,} of {point.samples:,}" for point in known if point.unscored
        )
        or f"0 of {known[0].samples:,}"
    )
