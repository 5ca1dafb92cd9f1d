"""Score and oracle against the distance from the SFT model: the over-optimisation frontier."""

import dataclasses
from collections.abc import Iterator, Mapping

from marl_bench.reporting.comparison import ORACLE, Arm
from marl_bench.reporting.formatting import counted, metric_name, number
from marl_bench.reporting.plots.dressing import MANY_ARMS
from marl_bench.reporting.plots.lines import INTERVAL_FROM_SEEDS, Panel, draw_lines, lines_height, panel
from marl_bench.reporting.plots.plot import LeftOut, Sketch
from marl_bench.reporting.plots.source import Curve, PlotSource
from marl_bench.statistics.parity import smoothed, smoothing_window

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
        title=_title(source, panels),
        subtitle=f"{lines}{thin} Each line runs from the first update to the last.",
        caption=(
            "How much score an arm buys for its distance from the SFT model: higher at the same KL is the better trade. "
            "Where the training score goes on rising while the oracle turns down, the reward model is over-optimised. "
            "Title: both arms' curves (trailing mean) at the lower of their two final KLs, seed by seed."
        ),
        alt=f"Line plot of {' and '.join(one.y for one in panels)} against KL. "
        + " ".join(
            f"{arm.label} ends at KL {number(_end(score, arm, 0))} with {score.y.lower()} {number(_end(score, arm, 1))}."
            for arm in source.arms
            if arm.name in score.curves
        ),
        height=lines_height(len(panels), len(score.curves)),
        draw=lambda figure, theme: draw_lines(figure, theme, source, *panels, banded=False),
    )


def _title(source: PlotSource, panels: list[Panel]) -> str:
    token = source.comparison.token
    others = [
        arm
        for arm in source.arms
        if token and arm.name in panels[0].curves and arm.name != token.name and token.name in panels[0].curves
    ]
    macros = [arm for arm in others if arm.role == "macro"] or others
    if token is None or not macros:
        return "Training score by distance from the SFT model"
    if len(macros) > _NAMED:
        counts = [_above(panels[0].curves, arm, token) for arm in macros]
        always = sum(above == seeds > 0 for above, seeds in counts)
        return f"At the same KL {always} of {len(macros)} arms train above {token.label} in every seed"
    parts = []
    for arm in macros:
        above, seeds = _above(panels[0].curves, arm, token)
        text = f"{arm.label} trains above {token.label} in {above} of {counted(seeds, 'seed')}"
        if len(panels) > 1 and {arm.name, token.name} <= panels[1].curves.keys():
            above, seeds = _above(panels[1].curves, arm, token)
            text += f", by the oracle in {above} of {seeds}"
        parts.append(text)
    return f"At the same KL {'; '.join(parts)}"


def _above(curves: Mapping[str, Mapping[int, Curve]], arm: Arm, token: Arm) -> tuple[int, int]:
    """Returns in how many shared seeds the arm is above the token arm at the KL that both reach, and the shared seeds."""
    own, other = curves[arm.name], curves[token.name]
    shared = own.keys() & other.keys()
    above = 0
    for seed in shared:
        window = smoothing_window(min(len(own[seed][0]), len(other[seed][0])))
        first, second = _smooth(own[seed], window), _smooth(other[seed], window)
        kl = min(max(first[0]), max(second[0]))
        above += value_at(*first, kl) > value_at(*second, kl)
    return above, len(shared)


def _smooth(curve: Curve, window: int) -> tuple[list[float], list[float]]:
    return smoothed(list(curve[0]), window=window).tolist(), smoothed(list(curve[1]), window=window).tolist()


def value_at(xs: list[float], ys: list[float], x: float) -> float:
    """Returns y where the line first reaches x, between two points linearly; its first y if it begins beyond x."""
    for index, reached in enumerate(xs):
        if reached >= x:
            if index == 0:
                return ys[0]
            before, part = xs[index - 1], (x - xs[index - 1]) / (reached - xs[index - 1])
            return ys[index - 1] + part * (ys[index] - ys[index - 1]) if reached > before else ys[index]
    return ys[-1]


def _end(found: Panel, arm: Arm, axis: int) -> float:
    lines = found.curves[arm.name].values()
    return sum(float(line[axis][-1]) for line in lines) / len(lines)
