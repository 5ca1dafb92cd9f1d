"""Score and oracle against the distance from the SFT model: the over-optimisation frontier."""

import dataclasses
from collections.abc import Iterator

from marl_bench.reporting.comparison import ORACLE, Arm
from marl_bench.reporting.formatting import counted, metric_name, number
from marl_bench.reporting.plots.dressing import MANY_ARMS
from marl_bench.reporting.plots.lines import INTERVAL_FROM_SEEDS, Panel, draw_lines, last_value, lines_height, panel
from marl_bench.reporting.plots.plot import LeftOut, Sketch
from marl_bench.reporting.plots.source import PlotSource
from marl_bench.statistics.parity import smoothing_window

_NAME = "score_by_kl"
_NAMED = 2


def sketches(source: PlotSource) -> Iterator[Sketch | LeftOut]:
    """Yields training score by KL, with the oracle beside it where there is one."""
    comparison = source.comparison
    kl = ("kl", "KL to the SFT model (nats per response)")
    score = panel(source, kl, ("score", f"Training {metric_name(comparison.primary_metric)}"))
    if score is None:
        yield LeftOut(_NAME, "no learning curve has a score and a KL")
        return
    oracle = None
    if comparison.primary_metric != ORACLE:
        oracle = panel(source, kl, (ORACLE, "Oracle of the training samples"))
    shortest = min(len(xs) for curves in score.curves.values() for xs, _ in curves.values())
    window = smoothing_window(shortest)
    panels = [dataclasses.replace(one, window=window) for one in (score, oracle) if one is not None]
    seeds = max(len(curves) for curves in score.curves.values())
    smooth = f", trailing mean of {window} updates" if window > 1 else ""
    lines = f"Thick line: mean of up to {counted(seeds, 'seed')}{smooth}." if seeds > 1 else f"One seed{smooth}."
    thin = " Thin: the seeds." if 1 < seeds < INTERVAL_FROM_SEEDS and len(score.curves) <= MANY_ARMS else ""
    yield Sketch(
        name=_NAME,
        title=_title(source, panels[0]),
        subtitle=f"{lines}{thin} Each line runs from the first update to the last.",
        caption=(
            "How much score an arm buys for its distance from the SFT model: higher at the same KL is the better trade. "
            "Where the training score goes on rising while the oracle turns down, the reward model is over-optimised."
        ),
        alt=f"Line plot of {' and '.join(one.y for one in panels)} against KL. "
        + " ".join(
            f"{arm.label} ends at KL {number(_end(panels[0], arm, 0))} with {score.y.lower()} {number(_end(panels[0], arm, 1))}."
            for arm in source.arms
            if arm.name in score.curves
        ),
        height=lines_height(len(panels), len(score.curves)),
        draw=lambda figure, theme: draw_lines(figure, theme, source, *panels, banded=False),
    )


def _title(source: PlotSource, score: Panel) -> str:
    """Returns where the arms end: by how much score, at what distance."""
    token = source.comparison.token
    drawn = [arm for arm in source.arms if arm.name in score.curves]
    others = [arm for arm in drawn if token is None or arm.name != token.name]
    macros = [arm for arm in others if arm.role == "macro"] or others
    shown = [*macros, *(arm for arm in drawn if token and arm.name == token.name)]
    if len(macros) <= _NAMED:
        parts = [
            f"{arm.label} ends at {number(_end(score, arm, 1))} with a KL of {number(_end(score, arm, 0))}"
            for arm in shown
        ]
        return f"Training score: {'; '.join(parts)}"
    if token is None or token.name not in score.curves:
        return f"Training score of {len(macros)} arms by distance from the SFT model"
    kl, value = _end(score, token, 0), _end(score, token, 1)
    both = sum(_end(score, arm, 1) > value and _end(score, arm, 0) <= kl for arm in macros)
    higher = sum(_end(score, arm, 1) > value for arm in macros)
    return (
        f"{higher} of {len(macros)} arms end with a higher mean training score than {token.label}, "
        f"{both or 'none'} of them at no more KL"
    )


def _end(found: Panel, arm: Arm, axis: int) -> float:
    """Returns the mean over seeds of the last updates' mean: of KL (axis 0) or score (axis 1)."""
    lines = found.curves[arm.name].values()
    return sum(last_value(line[axis], found.window) for line in lines) / len(lines)
