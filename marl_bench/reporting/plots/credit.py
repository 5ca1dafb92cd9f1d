"""Credit by position: the advantage of a response's tokens from its beginning to its end."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from marl_bench.errors import RecordError
from marl_bench.macro_traces import MACRO_ACTIONS, MacroTrace
from marl_bench.reporting.formatting import signed
from marl_bench.reporting.plots.lines import Panel, band_words, draw_lines, lines_height
from marl_bench.reporting.plots.plot import LeftOut, Sketch
from marl_bench.reporting.plots.source import Curve, Numbers, PlotSource
from marl_bench.run_dir import read_jsonl

_NAME = "credit_by_position"
_PARTS = 10
_NAMED = 3


def sketches(source: PlotSource) -> Iterator[Sketch | LeftOut]:
    """Yields the mean advantage by tenth of the response."""
    curves: dict[str, dict[int, Curve]] = {}
    for run_dir in source.run_dirs:
        for arm in source.arms:
            for seed in source.cells.get(arm.name, {}):
                path = run_dir.cell(arm.name, seed) / MACRO_ACTIONS
                if path.exists() and (line := _by_position(path)):
                    curves.setdefault(arm.name, {})[seed] = line
    if not curves:
        yield LeftOut(_NAME, "no cell has kept the advantages of its macro actions")
        return
    found = Panel(curves, "Position in the response (%)", "Mean advantage (units of the score)")
    ends = {arm.label: _ends(curves[arm.name]) for arm in source.arms if arm.name in curves}
    chosen = [arm.label for arm in source.arms if arm.name in curves and arm.role in ("token", "macro")] or list(ends)
    yield Sketch(
        name=_NAME,
        title=_title({label: ends[label] for label in chosen}),
        subtitle=f"{band_words(found)} Advantage of the macro action that a token belongs to, before whitening.",
        caption=(
            "Where in a response the trainer sees more or less than its critic expected, over the evaluated responses "
            "whose macro actions were kept. With token PPO credit from the score at the end fades towards the "
            "beginning by lambda at every token; with macro actions at every macro action."
        ),
        alt="Line plot of mean advantage by position. "
        + " ".join(
            f"{label}: {signed(first)} in the first tenth, {signed(last)} in the last."
            for label, (first, last) in ends.items()
        ),
        height=lines_height(1, len(curves)),
        draw=lambda figure, theme: draw_lines(figure, theme, source, found),
    )


def _title(ends: dict[str, tuple[float, float]]) -> str:
    if len(ends) > _NAMED:
        return f"Mean advantage from the first to the last tenth of the response, {len(ends)} arms"
    parts = [f"{signed(first)} to {signed(last)} in {label}" for label, (first, last) in ends.items()]
    return f"Mean advantage from the first to the last tenth of the response: {', '.join(parts)}"


def _ends(curves: dict[int, Curve]) -> tuple[float, float]:
    first = sum(float(ys[0]) for _, ys in curves.values()) / len(curves)
    return first, sum(float(ys[-1]) for _, ys in curves.values()) / len(curves)


def _by_position(path: Path) -> Curve | None:
    """Returns the middle of each tenth in percent and the mean over responses of their tokens' advantages there."""
    totals, counts = np.zeros(_PARTS), np.zeros(_PARTS)
    for number, row in enumerate(read_jsonl(path), start=1):
        try:
            trace = MacroTrace.from_json(row)
            parts = _parts(trace)
        except (TypeError, ValueError) as error:
            raise RecordError(
                f"{path}, line {number}: no macro actions ({error}); evaluate the cell's policy again."
            ) from error
        if parts is not None:
            known = np.isfinite(parts)
            totals[known] += parts[known]
            counts[known] += 1
    if not counts.all():
        return None
    return (np.arange(_PARTS) + 0.5) * 100 / _PARTS, totals / counts


def _parts(trace: MacroTrace) -> Numbers | None:
    """Returns the mean advantage of the tokens of each tenth, NaN where a short response has none; None without any."""
    if not trace.advantages or not sum(trace.tokens):
        return None
    advantages = np.repeat(np.array([_number(value) for value in trace.advantages]), np.array(trace.tokens))
    place = ((np.arange(advantages.size) + 0.5) * _PARTS / advantages.size).astype(np.int64)
    sums = np.bincount(place, weights=advantages, minlength=_PARTS)
    sizes = np.bincount(place, minlength=_PARTS)
    means: Numbers = np.divide(sums, sizes, out=np.full(_PARTS, np.nan), where=sizes > 0)
    return means


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
