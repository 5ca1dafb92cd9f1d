"""A history as a table, as CSV rows and as a plot."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marl_bench.errors import ConfigError
from marl_bench.reporting.formatting import NONE, interval, metric_name, plus_minus, signed, titled
from marl_bench.reporting.history import Entry, History
from marl_bench.reporting.plots.canvas import plain_style, render
from marl_bench.reporting.plots.dressing import dress
from marl_bench.reporting.plots.plot import Sketch
from marl_bench.reporting.reading import OPEN, PROMPTS_OPEN, SEEDS_OPEN, evidence, word
from marl_bench.reporting.regression import deciding_interval
from marl_bench.reporting.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from marl_bench.reporting.plots.theme import Theme

_INCHES_A_LINE = 0.3


def history_table(found: History) -> Table:
    """Returns one row for each stored arm and metric, oldest first within what belongs together."""
    rows = [
        [
            one.stored.task or NONE,
            one.stored.label,
            titled(metric_name(one.metric)),
            one.stored.config_hash[:8] or NONE,
            date_text(one),
            one.stored.versions or NONE,
            one.stored.commits or NONE,
            one.stored.source,
            str(len(one.stored.means[one.metric])),
            plus_minus(one.mean, one.over_seeds),
            *_change(one),
        ]
        for one in found.entries
    ]
    heads = ["Task", "Arm", "Metric", "Configuration", "Date", "Version", "Commit", "Folder", "Seeds", "Mean ± seeds"]
    note = (
        "Change: since the line above of the same task, arm and configuration, on shared prompts and seeds, with the wider of its 95 % "
        "intervals over prompts and over seeds (from means: over seeds). Dates are UTC; “file date”: older records hold none, so that of "
        "the file stands, which copying may have changed; references are kept without dates and come first. A commit with + had "
        "uncommitted changes."
    )
    return Table("History", [*heads, "Change", "95 % interval", "Says"], rows, note, text_columns=8)


def date_text(one: Entry) -> str:
    """Returns the date to the minute, and where it comes from if not from the record."""
    if not one.stored.date:
        return one.stored.date_from
    text = one.stored.date[:16].replace("T", " ")
    return f"{text} ({one.stored.date_from})" if one.stored.date_from else text


def history_csv(found: History) -> str:
    """Returns the lines as CSV, numbers in full."""
    text = io.StringIO()
    rows = [_row(one) for one in found.entries]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def history_plot(found: History, *, path: Path) -> bytes:
    """Returns the history as a plot, in the format of the file's ending.

    Raises:
        ConfigError: The ending is neither .png nor .svg.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg"):
        raise ConfigError(f"--plot {path}: should end in .png or .svg.")
    metrics = list(dict.fromkeys(one.metric for one in found.entries))
    groups = {metric: [one for one in found.entries if one.metric == metric] for metric in metrics}
    lines = max(map(len, groups.values()))
    runs = len({one.stored.source for one in found.entries})
    sketch = Sketch(
        name="history",
        title=_headline(found),
        subtitle=f"Means of {runs} stored runs and references, a line each, oldest on top within an arm; bars: 95 % over seeds.",
        caption="Means with their intervals over seeds, by arm, configuration and date.",
        alt=f"Means with intervals of {', '.join(metrics)}, {lines} lines.",
        height=1.0 + _INCHES_A_LINE * lines * len(metrics),
        draw=lambda figure, theme: _draw(figure, theme, groups),
    )
    with plain_style():
        plot = render(sketch, [kind])
    return plot.png if kind == "png" else plot.svg.encode()


def _headline(found: History) -> str:
    moved = [one for one in found.entries if one.since is not None]
    if not moved:
        return "No configuration was run twice, so nothing moved yet"
    shown = [one for one in moved if one.change is not None and not one.equal and _says(one) not in (NONE, "open")]
    same = sum(one.equal for one in moved)
    return f"Of {len(moved)} changes between stored results {len(shown)} are shown, {same} are exactly zero"


def _draw(figure: "Figure", theme: "Theme", groups: dict[str, list[Entry]]) -> None:
    panels = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
    for axes, (metric, entries) in zip(panels, groups.items(), strict=True):
        arms = list(dict.fromkeys((one.stored.task, one.stored.arm) for one in entries))
        for place, one in enumerate(entries):
            colour = theme.arms[arms.index((one.stored.task, one.stored.arm)) % len(theme.arms)]
            half = one.over_seeds.half_width if one.over_seeds else 0.0
            axes.errorbar(one.mean, place, xerr=half, fmt="o", color=colour, capsize=3, markersize=5)
        axes.set_yticks(range(len(entries)), [f"{one.stored.label}  {date_text(one)}" for one in entries])
        axes.invert_yaxis()
        dress(axes, theme, x=titled(metric_name(metric)), grid="x")


def _change(one: Entry) -> list[str]:
    if one.since is None:
        return [NONE, NONE, "first"]
    if one.change is not None:
        return [signed(one.change.delta), interval(deciding_interval(one.change)[0]), _says(one)]
    if one.change_of_means is not None:
        delta, over = one.change_of_means
        return [signed(delta), interval(over), "equal means" if one.equal else "means only"]
    return [NONE, NONE, "nothing shared"]


def _says(one: Entry) -> str:
    if one.equal:
        return "equal"
    if one.change is None:
        return NONE
    found = evidence(one.change)
    return "open" if found in (OPEN, SEEDS_OPEN, PROMPTS_OPEN) else f"{word(one.change)} ({found})"


def _row(one: Entry) -> dict[str, Any]:
    change = one.change.delta if one.change else one.change_of_means[0] if one.change_of_means else ""
    over = deciding_interval(one.change)[0] if one.change else one.change_of_means[1] if one.change_of_means else None
    return {
        "task": one.stored.task,
        "arm": one.stored.arm,
        "metric": one.metric,
        "configuration": one.stored.config_hash,
        "date": one.stored.date,
        "date_from": one.stored.date_from or "record",
        "version": one.stored.versions,
        "commit": one.stored.commits,
        "folder": one.stored.source,
        "seeds": len(one.stored.means[one.metric]),
        "mean": one.mean,
        "low_over_seeds": one.over_seeds.low if one.over_seeds else "",
        "high_over_seeds": one.over_seeds.high if one.over_seeds else "",
        "change": change,
        "change_low": over.low if over else "",
        "change_high": over.high if over else "",
        "says": _change(one)[2],
    }
