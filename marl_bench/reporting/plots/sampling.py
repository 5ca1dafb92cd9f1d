"""Best-of-N and temperature: score and oracle side by side."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from marl_bench.reporting.comparison import ORACLE
from marl_bench.reporting.formatting import counted, metric_name, number, titled
from marl_bench.reporting.plots.dressing import dress, legend_label, line_style
from marl_bench.reporting.plots.plot import LeftOut, Sketch
from marl_bench.reporting.plots.source import PlotSource
from marl_bench.reporting.plots.theme import Style, Theme, styles
from marl_bench.reporting.sampling_tables import read_all_curves, read_sampling
from marl_bench.sampling_curves import SamplingCurves, SamplingPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMES = {"best_of_n": "best_of_n", "temperature": "temperature_sweep"}
_VERBS = {"best_of_n": "marl-bench best-of-n", "temperature": "marl-bench sweep-temperature"}
_X = {"best_of_n": "N (responses to choose from)", "temperature": "Sampling temperature"}


def sketches(source: PlotSource) -> Iterator[Sketch | LeftOut]:
    """Yields a plot for each sweep that a run has."""
    seen: dict[str, int] = {}
    for run_dir in source.run_dirs:
        for curves in read_all_curves(run_dir.root):
            if curves.points:
                count = seen[curves.kind] = seen.get(curves.kind, 0) + 1
                name = _NAMES[curves.kind]
                yield _sketch(source, curves, name if count == 1 else f"{name}_{count}")
    for kind, name in _NAMES.items():
        if kind not in seen:
            yield LeftOut(name, f"no run has such a sweep; make it with {_VERBS[kind]}")


def _sketch(source: PlotSource, curves: SamplingCurves, name: str) -> Sketch:
    metrics = [
        metric
        for metric in dict.fromkeys((source.comparison.primary_metric, curves.chosen_by, ORACLE))
        if any(point.metric == metric for point in curves.points)
    ] or [curves.points[0].metric]
    sentences = read_sampling(curves)
    title = sentences[0].rstrip(".") if sentences else _plain_title(curves)
    return Sketch(
        name=name,
        title=title,
        subtitle=f"Means with 95 % intervals over {counted(curves.prompts, 'prompt')}, for {counted(len(curves.seeds), 'seed')}.",
        caption=_caption(curves),
        alt=f"Line plot by {_X[curves.kind]}. "
        + " ".join(
            f"{label}, {metric_name(metric)}: {_words(curves, label, metric)}."
            for label in _labels(curves)
            for metric in metrics
        ),
        height=3.3,
        draw=lambda figure, theme: _draw(figure, theme, source, curves, metrics),
    )


def _caption(curves: SamplingCurves) -> str:
    sampled = f"{counted(curves.samples_per_prompt, 'response')} sampled for each prompt"
    if curves.kind == "best_of_n":
        sampled += f"; {metric_name(curves.chosen_by)} chooses"
    else:
        sampled += " and temperature"
    seeds = ", ".join(map(str, curves.seeds))
    return (
        f"{sampled}. The bands are over prompts, for {'seed' if len(curves.seeds) == 1 else 'seeds'} {seeds}: another training run may say "
        "otherwise. Where bands overlap, the paired differences in the tables decide."
    )


def _plain_title(curves: SamplingCurves) -> str:
    arms = _labels(curves)
    named = arms[0] if len(arms) == 1 else counted(len(arms), "arm")
    return f"Best of N from {named}" if curves.kind == "best_of_n" else f"{named} at other sampling temperatures"


def _labels(curves: SamplingCurves) -> list[str]:
    return list(dict.fromkeys(point.label for point in curves.points))


def _line(curves: SamplingCurves, label: str, metric: str) -> list[SamplingPoint]:
    return sorted(
        (point for point in curves.points if (point.label, point.metric) == (label, metric)), key=lambda point: point.x
    )


def _words(curves: SamplingCurves, label: str, metric: str) -> str:
    return ", ".join(f"{number(point.mean)} at {point.x:g}" for point in _line(curves, label, metric)) or "none"


def _draw(figure: "Figure", theme: Theme, source: PlotSource, curves: SamplingCurves, metrics: Sequence[str]) -> None:
    looks = _looks(source, curves)
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False).flat, metrics, strict=True):
        dress(axes, theme, x=_X[curves.kind], y=titled(metric_name(metric)))
        for label in _labels(curves):
            _draw_line(axes, theme, looks[label], label, _line(curves, label, metric))
        if curves.kind == "best_of_n":
            ticks = sorted({point.x for point in curves.points})
            axes.set_xscale("log", base=2)
            axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
            axes.minorticks_off()


def _looks(source: PlotSource, curves: SamplingCurves) -> dict[str, Style]:
    """Returns label to style: that of the arm elsewhere in the report, since a sweep may hold arms that it lacks."""
    known = {arm.label: source.styles[arm.name] for arm in source.arms}
    spare = list(styles(source.arms).values())
    return {label: known.get(label, spare[place % len(spare)]) for place, label in enumerate(_labels(curves))}


def _draw_line(axes: "Axes", theme: Theme, style: Style, label: str, line: Sequence[SamplingPoint]) -> None:
    if not line:
        return
    xs = [point.x for point in line]
    axes.plot(xs, [point.mean for point in line], label=legend_label(label), zorder=3, **line_style(style, theme))  # type: ignore[arg-type]
    known = [point for point in line if point.low is not None and point.high is not None]
    if len(known) == len(line):
        lows, highs = [point.low or 0.0 for point in line], [point.high or 0.0 for point in line]
        axes.fill_between(xs, lows, highs, color=style.of(theme), alpha=0.13, linewidth=0)
        for edge in (lows, highs):
            axes.plot(xs, edge, color=style.of(theme), linewidth=0.6, linestyle=style.line, alpha=0.7)
