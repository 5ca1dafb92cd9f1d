"""Updates until an arm reaches the token arm's final training score, seed by seed."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from marl_bench.reporting.comparison import Parity
from marl_bench.reporting.formatting import counted, interval, number
from marl_bench.reporting.plots.dressing import dress
from marl_bench.reporting.plots.plot import LeftOut, Sketch
from marl_bench.reporting.plots.source import PlotSource
from marl_bench.reporting.plots.text import shortened
from marl_bench.reporting.plots.theme import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAME = "updates_to_parity"
_ROW_INCHES = 0.42
_NAMED = 2


def sketches(source: PlotSource) -> Iterator[Sketch | LeftOut]:
    """Yields the plot of updates to parity."""
    parities = source.comparison.parities
    if not parities:
        yield LeftOut(_NAME, "no learning curves beside those of a plain token-PPO arm")
        return
    window = max(found.window for found in parities)
    token = source.comparison.token
    label = token.label if token else ""
    yield Sketch(
        name=_NAME,
        title=_title(parities, label),
        subtitle=f"Filled marker: a seed that gets there. Open marker at the right: a seed that does not. Bar: {label} itself.",
        caption=(
            f"First update whose training score (trailing mean of {window}) reaches {label}'s last one in the same "
            "seed. The speed-up is measured from the update at which the token arm itself first reached that score, "
            "and given only where every seed gets there."
        ),
        alt="Dot plot of updates to parity. " + " ".join(_in_words(found) for found in parities),
        height=0.7 + _ROW_INCHES * len(parities),
        draw=lambda figure, theme: _draw(figure, theme, source, parities),
    )


def _title(parities: Sequence[Parity], token: str) -> str:
    others = [found for found in parities if found.arm.role != "token"]
    macros = [found for found in others if found.arm.role == "macro"] or others
    if any(min(found.token_updates.values()) == 1 for found in parities):
        return f"Parity says nothing here: {token}'s training score ends no higher than it began"
    if not macros:
        return f"{token} beside itself: no other arm has a learning curve"
    if len(macros) > _NAMED:
        every = sum(found.reached == len(found.seeds) for found in macros)
        faster = sum(_shown(found) == "faster" for found in macros)
        return (
            f"{every} of {len(macros)} arms reach {token}'s final training score in every seed; "
            f"a speed-up can be shown for {faster or 'none'}"
        )
    return "; ".join(_sentence(found, token) for found in macros)


def _sentence(found: Parity, token: str) -> str:
    label, seeds = found.arm.label, counted(len(found.seeds), "seed")
    if found.speed_up is None:
        return f"{label} reaches {token}'s final training score in {found.reached} of {seeds}"
    known = [update for update in found.updates.values() if update is not None]
    own = list(found.token_updates.values())
    numbers = f"after {sum(known) / len(known):.1f} updates against {sum(own) / len(own):.1f}"
    verdict = {
        "one seed": "one seed",
        "open": "no speed-up can be shown",
        "faster": f"{found.speed_up:.2f} times as fast",
        "slower": "slower",
        "same": f"speed-up {found.speed_up:.2f} in each of {seeds}",
    }
    return f"{label} reaches {token}'s final training score {numbers} ({verdict[_shown(found)]})"


def _shown(found: Parity) -> str:
    over = found.speed_up_over_seeds
    if found.speed_up is None or (over is not None and not over.excludes(1)):
        return "open"
    if over is None:
        return "one seed"
    if found.same_in_every_seed:
        return "same"
    return "faster" if over.low > 1 else "slower"


def _in_words(found: Parity) -> str:
    updates = ", ".join("never" if update is None else str(update) for update in found.updates.values())
    speed_up = f", speed-up {number(found.speed_up)} {interval(found.speed_up_over_seeds)}" if found.speed_up else ""
    return f"{found.arm.label}: {updates}{speed_up}."


def _draw(figure: "Figure", theme: Theme, source: PlotSource, parities: Sequence[Parity]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes = figure.add_subplot()
    last = max(len(cell.curve) for cells in source.cells.values() for cell in cells.values())
    never = any(found.reached < len(found.seeds) for found in parities)
    end = last * 1.06 + 0.5 if never else last + 0.5
    dress(axes, theme, x="PPO update", grid="x")
    axes.set_xlim(0, end + 0.04 * last)
    for row, found in enumerate(parities):
        _draw_row(axes, theme, source, found, row, never_at=end)
    if never:
        axes.axvline(last + 0.5, color=theme.faint, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set_ylim(len(parities) - 0.35, -0.65)
    axes.set_yticks(
        range(len(parities)), [shortened(found.arm.label, 8.5, width=190) for found in parities], color=theme.text
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    if never:
        ticks = [tick for tick in axes.get_xticks() if 0 <= tick <= last]
        axes.set_xticks([*ticks, end], [*(f"{tick:g}" for tick in ticks), "never"])


def _draw_row(axes: "Axes", theme: Theme, source: PlotSource, found: Parity, row: int, *, never_at: float) -> None:
    style = source.styles[found.arm.name]
    count = len(found.seeds)
    for index, seed in enumerate(found.seeds):
        # Seeds stand below each other, so that equal numbers do not hide one another.
        y = row + (0.5 * (index / (count - 1) - 0.5) if count > 1 else 0.0)
        own, update = found.token_updates[seed], found.updates[seed]
        axes.plot([own, own], [y - 0.16, y + 0.16], color=theme.muted, linewidth=1.6, zorder=2)
        at = never_at if update is None else update
        if found.arm.role != "token":
            axes.plot([own, at], [y, y], color=theme.faint, linewidth=0.9, zorder=1)
        axes.plot(
            [at],
            [y],
            marker=style.marker,
            markersize=7 if count <= 4 else 5,
            color=style.of(theme),
            markerfacecolor=theme.background if update is None else style.of(theme),
            markeredgecolor=style.of(theme) if update is None else theme.background,
            zorder=3,
        )
