"""A leaderboard as a table, as Markdown and as a page."""

from marl_bench.reporting.formatting import NONE, metric_name, percent, percent_interval, plus_minus
from marl_bench.reporting.html.plain import plain_page
from marl_bench.reporting.leaderboard import Entry, Leaderboard
from marl_bench.reporting.rendering import as_markdown
from marl_bench.reporting.tables import Table
from marl_bench.statistics.intervals import Interval


def leaderboard_table(found: Leaderboard) -> Table:
    """Returns one row an arm, best mean rank first."""
    heads = [f"{task}: {metric_name(metric)}" for task, metric in found.metrics.items()]
    chance = f"Better than {found.reference}"
    rows = [
        [
            entry.label,
            str(max((len(standing.by_seed) for standing in entry.standings.values()), default=0)),
            *(_score(entry, task) for task in found.metrics),
            _rank(entry.mean_rank),
            percent(entry.improvement.estimate) if entry.improvement else NONE,
            percent_interval(entry.improvement),
        ]
        for entry in found.entries
    ]
    note = (
        "Mean ± half of the 95 % interval over seeds. Ranks are taken seed by seed among the arms of a task (1 is best, equal scores share "
        "theirs), then averaged over seeds and tasks; ± is over seeds. The chance to be better is that of one seed of the arm against one of "
        f"{found.reference} (ties count half), averaged over tasks; the bounds are the averages of the tasks' 95 % bounds, which is wider "
        "than need be. An arm without a task is ranked on those that it has."
    )
    return Table("Leaderboard", ["Arm", "Seeds", *heads, "Mean rank", chance, "95 % interval"], rows, note)


def leaderboard_markdown(found: Leaderboard) -> str:
    """Returns a document with the table and its warnings."""
    warnings = "".join(f"- Warning: {text}\n" for text in found.warnings)
    return "\n\n".join(filter(None, ["# Leaderboard", warnings.rstrip(), as_markdown(leaderboard_table(found))])) + "\n"


def leaderboard_page(found: Leaderboard) -> str:
    """Returns a page with the sortable table and its warnings, in one file that needs no network."""
    return plain_page(leaderboard_table(found), warnings=found.warnings)


def _score(entry: Entry, task: str) -> str:
    standing = entry.standings.get(task)
    return NONE if standing is None else plus_minus(standing.mean, standing.over_seeds)


def _rank(rank: Interval | float | None) -> str:
    if rank is None:
        return NONE
    return f"{rank.estimate:.2f} ± {rank.half_width:.2f}" if isinstance(rank, Interval) else f"{rank:.2f}"
