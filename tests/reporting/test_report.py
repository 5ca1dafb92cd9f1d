"""The files of a report: structure, worked cells, byte equality, refusals."""

import csv
import html
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from marl_bench.errors import RecordError, RunFolderError
from marl_bench.records import Cell
from marl_bench.reporting import report as report_module
from marl_bench.reporting.report import ReportFiles
from marl_bench.reporting.terminal import summary_as_text, summary_for_terminal
from marl_bench.run_dir import RunDir

SCORE = "reward_model_score"
MACRO, TOKEN, SFT = "macro_ppo-fixed_n5", "token_ppo", "sft"
WriteCells = Callable[[Path, Sequence[Cell]], RunDir]


TEXTS = ("md", "csv")
PICTURES = ("md", "csv", "png", "svg")


def write_report(
    run_dirs: Sequence[RunDir], *, out: Path, formats: Sequence[str] = TEXTS, **options: bool
) -> ReportFiles:
    """Returns a report without pictures, which take most of the time, unless a test is about them."""
    return report_module.write_report(run_dirs, out=out, formats=formats, **options)


@pytest.fixture
def drawn(tmp_path: Path, three_arms: list[Cell], write_cells: WriteCells) -> ReportFiles:
    return write_report([write_cells(tmp_path / "drawn_run", three_arms)], out=tmp_path / "drawn", formats=PICTURES)


@pytest.fixture
def report(tmp_path: Path, three_arms: list[Cell], write_cells: WriteCells) -> ReportFiles:
    return write_report([write_cells(tmp_path / "run", three_arms)], out=tmp_path / "out")


def _row(text: str, heading: str, *starts: str) -> list[str]:
    """Returns the cells of the row that starts so in the section of that heading."""
    section = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    (found,) = (row for row in rows if row[: len(starts)] == list(starts))
    return found


def test_sections_stand_in_order(report: ReportFiles) -> None:
    text = report.report.read_text()
    assert text.startswith("# tldr-tiny-0123abcd: token PPO against macro PPO\n")
    assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == [
        "Reading",
        "Scores on held-out prompts",
        "Paired differences",
        "Macro PPO against its controls",
        "Win rates by the oracle",
        "Ranking of the arms by the oracle",
        "Updates to parity with the token arm",
        "Score against oracle",
        "Macro actions at the last update",
        "What was run",
        "Data and shared stages",
        "Limits",
        "How to remake this report",
    ]


def test_page_and_markdown_hold_every_table_in_one_order(
    tmp_path: Path, three_arms: list[Cell], write_cells: WriteCells
) -> None:
    """Costs alone are missing in the Markdown: they change from run to run."""
    found = write_report(
        [write_cells(tmp_path / "run", three_arms)], out=tmp_path / "out", formats=("md", "json", "html")
    )
    names = [table["name"] for table in json.loads((found.out / "report.json").read_text())["tables"]]
    assert names == [
        "scores",
        "differences",
        "controls",
        "win_rates_oracle",
        "ranking_oracle",
        "parity",
        "over_optimisation",
        "macro_actions",
        "arms",
        "budget",
        "data",
        "costs",
    ]
    page = (found.out / "report.html").read_text()
    headings = [html.unescape(title) for title in re.findall(r"<h3[^>]*>(.*?)</h3>", page)]
    results = [
        "Scores on held-out prompts",
        "Paired differences",
        "Macro PPO against its controls",
        "Win rates by the oracle",
        "Ranking of the arms by the oracle",
        "Updates to parity with the token arm",
        "Score against oracle",
        "Macro actions at the last update",
    ]
    assert headings[: len(results) + 1] == [*results, "Costs per seed"]
    assert re.findall(r"^## (.*)$", found.report.read_text(), flags=re.MULTILINE)[1 : len(results) + 1] == results
    assert re.findall('href="#(table-[^"]+)"', page) == re.findall('<h3 id="(table-[^"]+)"', page)
    assert "<li>token_ppo_matched_lambda:n=5: Token PPO whose lambda gives the credit horizon" in page


def test_other_metrics_have_a_table(tmp_path: Path, make_cell: Callable[..., Cell], write_cells: WriteCells) -> None:
    cells = [make_cell(TOKEN, seed, {SCORE: [1.0, 2.0], "rougeL": [0.2, 0.4], "mine": [1.0, 1.0]}) for seed in (0, 1)]
    text = write_report([write_cells(tmp_path / "run", cells)], out=tmp_path / "out").report.read_text()
    assert _row(text, "Other metrics", "Arm") == ["Arm", "Mine", "ROUGE-L"]
    assert _row(text, "Other metrics", "token_ppo") == ["token_ppo", "1.000 ± 0.000", "0.300 ± 0.000"]


def test_worked_cells_of_the_tables(report: ReportFiles) -> None:
    text = report.report.read_text()
    scores = _row(text, "Scores on held-out prompts", "macro_ppo:fixed(n=5)")
    # Mean 2.5, half-width t/2 = 6.353; in reference SD 2.5/2; oracle (1.5 + 1 + .5 + 1.5)/4 = 1.125 in both seeds;
    # one of four responses unfinished.
    assert scores[1] == "2"
    assert scores[2] == "2.500 ± 6.353"
    assert scores[4:] == ["+1.250", "1.125 ± 0.000", "2.000", "100.0", "25.0 %", "0 of 8"]
    difference = _row(text, "Paired differences", "macro_ppo:fixed(n=5)", "token_ppo", "reward-model score")
    assert difference[3:5] == ["+1.500", "+0.750"]
    # Two arms against token, both p = .125: Holm 2 * .125.
    assert difference[6:] == ["[-4.853, 7.853]", "4 / 0 / 0", "0.125", "0.250", "4", "2"]
    assert "one metric against one arm (2 tests or 3 tests)" in text
    wins = _row(text, "Win rates by the oracle", "macro_ppo:fixed(n=5)", "token_ppo")
    assert wins[2] == "62.5 %"
    assert wins[4] == "4 / 2 / 2"
    parity = _row(text, "Updates to parity with the token arm", "macro_ppo:fixed(n=5)")
    assert parity[1:] == ["2 of 2", "2.000 (2, 2)", "1,600 (1,600, 1,600)", "2.00 ×", "[2.000, 2.000]"]
    diagnostics = _row(text, "Macro actions at the last update", "macro_ppo:fixed(n=5)")
    assert diagnostics[1:] == ["5.000", "25.0 %", "0.400", "0.500", "5 (1–5); 5: 95.0 %"]


def test_controls_data_and_reward_model_are_explained(report: ReportFiles) -> None:
    text = report.report.read_text()
    assert (
        "- token_ppo_matched_lambda:n=5: Token PPO whose lambda gives the credit horizon of five-token macro actions."
        in text
    )
    assert _row(text, "Data and shared stages", "dropped too long") == ["dropped too long", "2"]
    assert "- Posts are synthetic." in text
    # Wilson, 75 of 100: .6570 to .8245 (any calculator of it).
    assert "held-out pair accuracy 75.0 % on 100 pairs, 95 % [65.7, 82.5] %" in text
    assert "marl-bench report <folder of the run>" in text


def test_csv_files_hold_every_number_in_full(report: ReportFiles, three_arms: list[Cell]) -> None:
    rows = list(csv.reader(report.scores.read_text().splitlines()))
    assert rows[0] == ["arm", "seed", "metric", "value"]
    assert rows[1:] == sorted(rows[1:], key=lambda row: (row[0], int(row[1]), row[2]))
    expected = {
        (cell.record.arm["name"], str(cell.record.seed), metric): value
        for cell in three_arms
        for metric, value in cell.record.metrics.items()
    }
    assert {(arm, seed, metric): float(value) for arm, seed, metric, value in rows[1:]} == expected
    costs = list(csv.reader(report.costs.read_text().splitlines()))
    assert [TOKEN, "1", "seconds_total", "5.0"] in costs
    assert {row[2] for row in costs[1:]} == {
        "seconds_rollout",
        "seconds_total",
        "seconds_per_update",
        "peak_memory_mib",
    }


def test_full_precision_survives(tmp_path: Path, make_cell: Callable[..., Cell], write_cells: WriteCells) -> None:
    run_dir = write_cells(tmp_path / "run", [make_cell(TOKEN, 0, {SCORE: [1 / 3, 1 / 3]})])
    text = write_report([run_dir], out=tmp_path / "out").scores.read_text()
    assert text == "arm,seed,metric,value\ntoken_ppo,0,reward_model_score,0.3333333333333333\n"


def test_nothing_from_the_clock_reaches_report_and_scores(
    tmp_path: Path, three_arms: list[Cell], make_cell: Callable[..., Cell], write_cells: WriteCells, report: ReportFiles
) -> None:
    slower = []
    for cell in three_arms:
        record = cell.record.to_json() | {"costs": {"seconds": {"total": 987.6}, "peak_memory_mib": 12345.0}}
        record["shared"] = dict(record["shared"]) | {"sft": {"loss": 1.25, "seconds": 999.0}}
        slower.append(Cell(type(cell.record).from_json(record, where="test"), cell.curve, cell.samples))
    other = write_report([write_cells(tmp_path / "slower", slower)], out=tmp_path / "slower_out")
    assert other.report.read_bytes() == report.report.read_bytes()
    assert other.scores.read_bytes() == report.scores.read_bytes()
    assert other.costs.read_bytes() != report.costs.read_bytes()


def test_the_same_records_give_the_same_bytes(
    tmp_path: Path, three_arms: list[Cell], write_cells: WriteCells, drawn: ReportFiles
) -> None:
    again = write_report([write_cells(tmp_path / "elsewhere", three_arms)], out=tmp_path / "again", formats=PICTURES)
    names = [path.relative_to(drawn.out).as_posix() for path in drawn.written]
    assert names[:3] == ["report.md", "scores.csv", "costs.csv"]
    assert {"plots/differences.png", "plots/differences.svg", "plots/differences-dark.svg"} <= set(names)
    assert {"tables/scores.csv", "tables/differences.csv", "tables/costs.csv"} <= set(names)
    assert names == [path.relative_to(again.out).as_posix() for path in again.written]
    for name in names:
        assert (again.out / name).read_bytes() == (drawn.out / name).read_bytes(), name


def test_a_report_can_be_written_over_itself(tmp_path: Path, three_arms: list[Cell], write_cells: WriteCells) -> None:
    run_dir = write_cells(tmp_path / "run", three_arms)
    first = write_report([run_dir], out=run_dir.root).report.read_bytes()
    assert write_report([run_dir], out=run_dir.root).report.read_bytes() == first
    assert not list(run_dir.root.glob(".*"))


def test_plots_are_linked_and_are_png_without_a_clock(drawn: ReportFiles) -> None:
    text = drawn.report.read_text()
    pictures = [path for path in drawn.plots if path.suffix == ".png"]
    assert len(pictures) > 5
    for path in pictures:
        data = path.read_bytes()
        assert f"](plots/{path.name})" in text
        assert data.startswith(b"\x89PNG")
        assert b"matplotlib" not in data.lower() and b"tIME" not in data


def test_without_pictures_the_report_links_none(report: ReportFiles) -> None:
    assert report.plots == []
    assert "## Plots" not in report.report.read_text()
    assert not (report.out / "plots").exists()


def test_user_style_does_not_change_the_plots(
    tmp_path: Path, three_arms: list[Cell], write_cells: WriteCells, drawn: ReportFiles
) -> None:
    import matplotlib as mpl

    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30, "savefig.facecolor": "red"}):
        run_dir = write_cells(tmp_path / "styled", three_arms)
        styled = write_report([run_dir], out=tmp_path / "styled_out", formats=PICTURES)
        assert mpl.rcParams["font.size"] == 30
    assert [path.read_bytes() for path in styled.plots] == [path.read_bytes() for path in drawn.plots]


def test_one_seed_shows_dashes(tmp_path: Path, three_arms: list[Cell], write_cells: WriteCells) -> None:
    one = [cell for cell in three_arms if cell.record.seed == 0]
    text = write_report([write_cells(tmp_path / "run", one)], out=tmp_path / "out").report.read_text()
    assert _row(text, "Scores on held-out prompts", "macro_ppo:fixed(n=5)")[2] == "2.000 ± –"
    assert _row(text, "Paired differences", "macro_ppo:fixed(n=5)", "token_ppo", "reward-model score")[6] == "–"
    assert _row(text, "Updates to parity with the token arm", "token_ppo")[-1] == "–"


def test_without_oracle_the_report_says_so(
    tmp_path: Path, make_cell: Callable[..., Cell], write_cells: WriteCells
) -> None:
    cells = [make_cell(arm, seed, {SCORE: [1.0, 2.0]}) for arm in (SFT, TOKEN, MACRO) for seed in (0, 1)]
    found = write_report([write_cells(tmp_path / "run", cells)], out=tmp_path / "out")
    text = found.report.read_text()
    assert "None: the task has no oracle" in text
    assert "## Score against oracle" not in text
    assert not list(found.out.glob("tables/*oracle*"))


def test_without_token_arm_the_report_says_so(tmp_path: Path, three_arms: list[Cell], write_cells: WriteCells) -> None:
    cells = [cell for cell in three_arms if cell.record.arm["role"] != "token"]
    text = write_report([write_cells(tmp_path / "run", cells)], out=tmp_path / "out").report.read_text()
    assert "No plain token-PPO arm is in the comparison" in text
    assert "## Updates to parity" not in text


def test_failed_cells_stand_in_the_report(
    tmp_path: Path, three_arms: list[Cell], make_cell: Callable[..., Cell], write_cells: WriteCells
) -> None:
    failed = make_cell(MACRO, 2, {SCORE: [1.0]}, status="failed", error="loss is NaN | at <pad>\nupdate 3")
    text = write_report([write_cells(tmp_path / "run", [*three_arms, failed])], out=tmp_path / "out").report.read_text()
    assert "> **Warning.** 1 cell failed or unfinished" in text
    assert "| macro_ppo-fixed_n5 | 2 | failed | loss is NaN \\| at &lt;pad> update 3 |" in text


def test_a_run_that_was_finished_later_lists_no_open_cells(
    tmp_path: Path, three_arms: list[Cell], make_cell: Callable[..., Cell], write_cells: WriteCells
) -> None:
    open_cell = make_cell(MACRO, 2, {SCORE: [1.0]}, status="running")
    write_report([write_cells(tmp_path / "killed", [*three_arms, open_cell])], out=tmp_path / "out")
    assert (tmp_path / "out" / "tables" / "open_cells.csv").exists()
    write_report([write_cells(tmp_path / "finished", three_arms)], out=tmp_path / "out")
    assert not (tmp_path / "out" / "tables" / "open_cells.csv").exists()


def test_unequal_budgets_are_refused_or_marked(
    tmp_path: Path, make_cell: Callable[..., Cell], write_cells: WriteCells
) -> None:
    cells = [
        make_cell(TOKEN, 0, {SCORE: [1.0, 2.0]}),
        make_cell(MACRO, 0, {SCORE: [1.0, 2.0]}, budget={"updates": 9, "responses_sampled": 32}),
    ]
    run_dir = write_cells(tmp_path / "run", cells)
    with pytest.raises(RecordError, match="--force"):
        write_report([run_dir], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    text = write_report([run_dir], out=tmp_path / "out", force=True).report.read_text()
    assert "> **Warning.** Unequal budget (forced): updates: 4 (token_ppo); 9 (macro_ppo-fixed_n5)." in text


def test_two_runs_are_one_comparison(
    tmp_path: Path, three_arms: list[Cell], write_cells: WriteCells, report: ReportFiles
) -> None:
    parts = [[c for c in three_arms if (c.record.arm["role"] == "macro") is macro] for macro in (False, True)]
    runs = [write_cells(tmp_path / f"part{index}", part) for index, part in enumerate(parts)]
    joint = write_report(runs, out=tmp_path / "joint")
    assert joint.report.read_bytes() == report.report.read_bytes()


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, three_arms: list[Cell], write_cells: WriteCells
) -> None:
    run_dir = write_cells(tmp_path / "run", three_arms)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot write the report"):
        write_report([run_dir], out=tmp_path / "file")


def test_terminal_summary_fits_80_columns_and_keeps_brackets(report: ReportFiles) -> None:
    from rich.console import Console

    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(summary_for_terminal(report.comparison))
    text = console.export_text()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "[-4.853, 7.853]" in text
    assert "2.500 ± 6.353" in text


def test_piped_summary_is_plain_lines(report: ReportFiles) -> None:
    lines = summary_as_text(report.comparison).splitlines()
    assert all(" | " in line for line in lines)
    assert not any(character in "".join(lines) for character in "─│┃━\x1b")
    assert (
        "Held-out prompts, mean ± 95 % over seeds | arm: macro_ppo:fixed(n=5) | reward-model score: 2.500 ± 6.353"
        " | oracle: 1.125 ± 0.000 | KL: 2.000 | tokens: 100.0" in lines
    )
    assert any(line.startswith("Costs per seed | arm: token_ppo | total s: 4.500") for line in lines)


@pytest.mark.parametrize("module", ["report", "terminal", "frames", "compare", "plots.gallery"])
def test_importing_a_report_module_loads_nothing_heavy(module: str) -> None:
    code = (
        f"import marl_bench.reporting.{module}, sys; "
        "print([m for m in ('torch', 'transformers', 'pandas', 'matplotlib', 'scipy', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_writing_a_report_needs_no_torch(tmp_path: Path, three_arms: list[Cell], write_cells: WriteCells) -> None:
    write_cells(tmp_path / "run", three_arms)
    code = (
        "import sys; from pathlib import Path; from marl_bench.reporting.report import write_report; "
        "from marl_bench.run_dir import RunDir; "
        "from marl_bench.reporting.formats import FORMATS; root = Path(sys.argv[1]); write_report([RunDir(root)], out=root, formats=FORMATS); "
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=True)
