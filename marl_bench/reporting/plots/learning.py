"""Learning curves: training score and oracle by PPO update."""

from collections.abc import Iterator

from marl_bench.reporting.comparison import ORACLE, Arm
from marl_bench.reporting.formatting import counted, metric_name, number
from marl_bench.reporting.plots.lines import Panel, band_words, draw_lines, last_value, lines_height, panel
from marl_bench.reporting.plots.plot import LeftOut, Sketch
from marl_bench.reporting.plots.source import PlotSource
from marl_bench.statistics.parity import smoothing_window

_NAMED = 2


def sketches(source: PlotSource) -> Iterator[Sketch | LeftOut]:
    """Yields the training score by update, and the oracle by update where there is one."""
    update = ("update", "PPO update")
    score = metric_name(source.comparison.primary_metric)
    wanted = [("score_by_update", ("score", f"Training {score}"))]
    if source.comparison.has_oracle and source.comparison.primary_metric != ORACLE:
        wanted.append(("oracle_by_update", (ORACLE, "Oracle of the training samples")))
    for name, y in wanted:
        found = panel(source, update, y, whole_x=True)
        yield _sketch(source, name, found) if found else LeftOut(name, f"no learning curve has a {y[0]}")


def _sketch(source: PlotSource, name: str, found: Panel) -> Sketch:
    window = _window(found)
    ends = "" if window == 1 else f" Its end: mean of the last {window} updates."
    sampled = f"{found.y} of the responses" if "core" in found.y else found.y
    caption = (
        f"{sampled} sampled in each update; the oracle is never used in training. {band_words(found)}"
        f"{ends} Training samples are those the policy learns from: held-out prompts decide in the tables."
    )
    alt = f"Line plot of {found.y} by PPO update. " + " ".join(
        f"{arm.label}: from {number(_mean(found, arm, first=True))} to {number(_mean(found, arm))}."
        for arm in _drawn(source, found)
    )
    return Sketch(
        name=name,
        title=ending(source, found),
        subtitle=band_words(found),
        caption=caption,
        alt=alt,
        height=lines_height(1, len(found.curves)),
        draw=lambda figure, theme: draw_lines(figure, theme, source, found),
    )


def ending(source: PlotSource, found: Panel) -> str:
    """Returns in how many seeds the macro arms (or the others) end above token PPO: a count, no claim about other seeds."""
    token = source.comparison.token
    subject = "training score" if "core" in found.y else "oracle"
    if token is None or token.name not in found.curves:
        arms = [arm.label for arm in _drawn(source, found)]
        named = arms[0] if len(arms) == 1 else counted(len(arms), "arm")
        return f"{found.y} of {named} by PPO update"
    others = [arm for arm in _drawn(source, found) if arm.name != token.name]
    macros = [arm for arm in others if arm.role == "macro"] or others
    if not macros:
        start, end = _mean(found, token, first=True), _mean(found, token)
        return f"{token.label} goes from {number(start)} to {number(end)} in {subject}"
    if len(macros) <= _NAMED:
        first, *rest = [(arm.label, *_above(found, arm, token)) for arm in macros]
        also = "".join(f", {label} in {above} of {counted(seeds, 'seed')}" for label, above, seeds in rest)
        share = f"{first[1]} of {counted(first[2], 'seed')}"
        return f"{first[0]} ends above {token.label} in {share}{also} ({subject})"
    counts = [_above(found, arm, token) for arm in macros]
    always = sum(above == seeds > 0 for above, seeds in counts)
    never = sum(above == 0 < seeds for above, seeds in counts)
    each = "in every seed" if max(seeds for _, seeds in counts) > 1 else "in their one seed"
    return f"{always} of {len(macros)} arms end above {token.label} in {subject} {each}, {never} in none"


def _above(found: Panel, arm: Arm, token: Arm) -> tuple[int, int]:
    """Returns the number of shared seeds in which the arm ends above the token arm, and of shared seeds."""
    own, other = found.curves[arm.name], found.curves[token.name]
    shared = own.keys() & other.keys()
    window = _window(found)
    above = sum(last_value(own[seed][1], window) > last_value(other[seed][1], window) for seed in shared)
    return above, len(shared)


def _window(found: Panel) -> int:
    return smoothing_window(min(len(xs) for curves in found.curves.values() for xs, _ in curves.values()))


def _drawn(source: PlotSource, found: Panel) -> list[Arm]:
    return [arm for arm in source.arms if arm.name in found.curves]


def _mean(found: Panel, arm: Arm, *, first: bool = False) -> float:
    lines = found.curves[arm.name].values()
    return sum(float(ys[0]) if first else last_value(ys, _window(found)) for _, ys in lines) / len(lines)
