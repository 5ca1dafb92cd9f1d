"""A diagnosis as table, CSV and plot."""

import csv
import dataclasses
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from marl_bench.diagnosis.advantages import MacroAction, Quality
from marl_bench.diagnosis.diagnose import Diagnosis
from marl_bench.errors import RunFolderError
from marl_bench.reporting.formatting import interval, number, percent, percent_interval, signed
from marl_bench.reporting.rendering import as_markdown
from marl_bench.reporting.tables import Table
from marl_bench.run_dir import RunDir, write_text_atomically

FOLDER = "diagnose"
_COLUMNS = 3
_PANEL_INCHES, _DPI = 2.9, 130


@dataclasses.dataclass(frozen=True)
class DiagnosisFiles:
    """Where a diagnosis was written."""

    markdown: Path
    csv: Path
    macro_actions: Path
    plot: Path


def write_diagnosis(run_dir: RunDir, diagnosis: Diagnosis) -> DiagnosisFiles:
    """Writes table, numbers and plot into the run's folder `diagnose`, named after the cell.

    Raises:
        RunFolderError: The folder cannot be made.
    """
    folder = run_dir.root / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"{folder}: cannot write there ({error.strerror or error}).") from error
    name = diagnosis.cell
    files = DiagnosisFiles(
        folder / f"{name}.md", folder / f"{name}.csv", folder / f"{name}-macro-actions.csv", folder / f"{name}.png"
    )
    table = quality_table(diagnosis)
    page = f"# {table.title}\n\n{as_markdown(table)}\n\n![Estimated against true advantages]({files.plot.name})\n"
    write_text_atomically(files.markdown, page)
    write_text_atomically(files.csv, _csv(_QUALITY_COLUMNS, map(_quality_row, diagnosis.qualities)))
    rows = ([rule, *_action_row(action)] for rule, actions in diagnosis.actions.items() for action in actions)
    write_text_atomically(files.macro_actions, _csv(["rule", *_ACTION_COLUMNS], rows))
    files.plot.write_bytes(plot(diagnosis))
    return files


def quality_table(diagnosis: Diagnosis) -> Table:
    """Returns the table for people."""
    return Table(
        f"Advantages of {diagnosis.cell} against Monte-Carlo advantages",
        [
            "Rule",
            "Macro actions",
            "Mean length",
            "Correlation",
            "95 %",
            "Ceiling",
            "Bias",
            "95 %",
            "Right sign",
            "95 %",
        ],
        [
            [
                found.rule,
                f"{found.macro_actions:,}",
                number(found.mean_length),
                number(found.correlation.estimate if found.correlation else None),
                interval(found.correlation),
                number(found.ceiling),
                signed(found.bias.estimate),
                interval(found.bias),
                percent(found.right_sign.estimate if found.right_sign else None),
                percent_interval(found.right_sign),
            ]
            for found in diagnosis.qualities
        ],
        note=_note(diagnosis),
    )


def _note(diagnosis: Diagnosis) -> str:
    return (
        f"{diagnosis.prompts} held-out prompts, {diagnosis.continuations} continuations from each state "
        f"({diagnosis.sampled:,} in all); intervals by bootstrap over prompts. Values of {diagnosis.critic}. "
        "A rule is compared on its own macro actions. Ceiling: the correlation that exact advantages would show "
        "against Monte-Carlo values of this noise. Bias: estimated minus true, in units of the score as training uses it. "
        "Right sign: among macro actions whose true advantage is further from 0 than its standard error."
    )


def plot(diagnosis: Diagnosis) -> bytes:
    """Returns a PNG with a panel a rule: estimated advantages over true ones, and the line where they agree."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = math.ceil(len(diagnosis.qualities) / _COLUMNS)
    ends = [
        value for actions in diagnosis.actions.values() for each in actions for value in (each.true, each.estimated)
    ]
    low, high = min(ends), max(ends)
    # The user's matplotlibrc must not change the bytes; no pyplot: no global figures, no display.
    with mpl.rc_context():
        mpl.rcdefaults()
        figure = Figure(figsize=(_COLUMNS * _PANEL_INCHES, rows * _PANEL_INCHES + 0.6), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        panels = list(figure.subplots(rows, _COLUMNS, sharex=True, sharey=True, squeeze=False).flat)
        for panel, found in zip(panels, diagnosis.qualities, strict=False):
            actions = diagnosis.actions[found.rule]
            panel.plot([low, high], [low, high], color="#999999", linewidth=0.8)
            panel.scatter(
                [each.true for each in actions],
                [each.estimated for each in actions],
                s=9,
                alpha=0.45,
                color="#0072B2",
                linewidths=0,
            )
            r = found.correlation
            panel.set_title(f"{found.rule}\nr = {number(r.estimate) if r else '–'}", fontsize=9, loc="left")
            panel.grid(color="#DDDDDD", linewidth=0.6)
            panel.set_axisbelow(True)
        for panel in panels[len(diagnosis.qualities) :]:
            panel.set_visible(False)
        figure.supxlabel("True advantage (Monte Carlo)", fontsize=10)
        figure.supylabel("Estimated advantage", fontsize=10)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


_QUALITY_COLUMNS = [
    "rule",
    "macro_actions",
    "mean_length",
    *(f"{name}{end}" for name in ("correlation", "bias", "right_sign") for end in ("", "_low", "_high")),
    "ceiling",
]
_ACTION_COLUMNS = [field.name for field in dataclasses.fields(MacroAction)]


def _quality_row(found: Quality) -> list[object]:
    numbers: list[object] = []
    for each in (found.correlation, found.bias, found.right_sign):
        numbers += [each.estimate, each.low, each.high] if each else ["", "", ""]
    ceiling = "" if found.ceiling is None else found.ceiling
    return [found.rule, found.macro_actions, found.mean_length, *numbers, ceiling]


def _action_row(action: MacroAction) -> list[object]:
    return [getattr(action, name) for name in _ACTION_COLUMNS]


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()
