"""Formats of a report: LaTeX, plain data, CSV tables, settings of several runs, and how a format is named."""

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from marl_bench.errors import ConfigError, UnknownNameError
from marl_bench.records import Cell
from marl_bench.reporting.formats import DEFAULT_FORMATS, FORMATS, parse_formats
from marl_bench.reporting.latex import as_latex, document, escaped
from marl_bench.reporting.plain_data import plain
from marl_bench.reporting.report import write_report
from marl_bench.reporting.sections import NamedTable
from marl_bench.reporting.tables import Table
from marl_bench.run_dir import RunDir, write_text_atomically

WriteCells = Callable[[Path, Sequence[Cell]], RunDir]


def test_formats_are_joined_by_commas_or_repeated() -> None:
    assert parse_formats([]) == DEFAULT_FORMATS
    assert parse_formats(["svg, MD", "json"]) == ("md", "json", "svg")
    assert set(DEFAULT_FORMATS) <= set(FORMATS)


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown report format 'htlm'\. Did you mean 'html'\?"):
        parse_formats(["md,htlm"])
    with pytest.raises(ConfigError, match="names no format"):
        parse_formats([" , "])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("macro_ppo:fixed(n=5)", r"macro\_ppo:fixed(n=5)"),
        ("50 % of $x$ & #1 {a}", r"50 \% of \$x\$ \& \#1 \{a\}"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("a~b^c", r"a\textasciitilde{}b\textasciicircum{}c"),
        ("-0.5 ± 0.1 [-1.2, 3.4]", r"$-$0.5 $\pm$ 0.1 [$-$1.2, 3.4]"),
        ("token-level, 2026-01-02, f(-x)", "token-level, 2026-01-02, f(-x)"),
        ("1.48 × – “x” < 0.001", r"1.48 $\times$ -- ``x'' \textless{} 0.001"),
        ("two\n\nlines", "two lines"),
    ],
)
def test_no_text_is_a_command_in_latex(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_a_latex_table_has_rules_a_label_and_braced_cells() -> None:
    table = Table("A & B", ["Arm", "Score"], [["x_1", "[0.1, 0.2]"]], note="95 % intervals.")
    assert as_latex(NamedTable("win_rates", table)).splitlines() == [
        r"\begin{table}[htbp]",
        r"\centering",
        r"\caption{A \& B}",
        r"\label{tab:win-rates}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"{Arm} & {Score} \\",
        r"\midrule",
        r"{x\_1} & {[0.1, 0.2]} \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip",
        r"\begin{minipage}{\linewidth}\footnotesize 95 \% intervals.\end{minipage}",
        r"\end{table}",
    ]


def test_characters_that_pdflatex_lacks_are_declared() -> None:
    named = [NamedTable("arms", Table("Arms", ["Arm"], [["長さ é × x"]]))]
    text = document("Überschrift", named, folder="tables")
    assert re.findall(r"DeclareUnicodeCharacter\{(\w+)\}", text) == ["3055", "9577"]  # さ and 長; é, Ü and × are known
    assert r"\input{tables/arms}" in text


def _latex_problems(text: str) -> list[str]:
    """Returns what would stop a compiler: braces, environments and column counts that do not fit, bare specials."""
    problems = []
    bare = re.sub(r"\\.", "", text)
    if bare.count("{") != bare.count("}"):
        problems.append("braces")
    open_environments: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            open_environments.append(name)
        elif not open_environments or open_environments.pop() != name:
            problems.append(f"end of {name}")
    problems += [f"open {name}" for name in open_environments]
    for columns, body in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, flags=re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        problems += [line for line in rows if len(re.findall(r"(?<!\\)&", line)) != len(columns) - 1]
    for line in text.splitlines():
        if not line.startswith(("\\", "{", "}")) and re.search(r"(?<!\\)[#_^]", line):
            problems.append(line)
    return problems


@pytest.fixture
def every(tmp_path: Path, three_arms: list[Cell], write_cells: WriteCells) -> Path:
    arms = [cell.record.arm for cell in three_arms]
    assert any("_" in arm["label"] for arm in arms)
    out = tmp_path / "out"
    write_report([write_cells(tmp_path / "run", three_arms)], out=out, formats=("csv", "json", "latex"))
    return out


def test_latex_files_are_well_formed(every: Path) -> None:
    files = [every / "report.tex", *sorted(every.glob("tables/*.tex"))]
    inputs = re.findall(r"\\input\{(.*)\}", files[0].read_text())
    assert sorted(f"{name}.tex" for name in inputs) == [path.relative_to(every).as_posix() for path in files[1:]]
    assert len(inputs) > 8
    labels = [label for path in files[1:] for label in re.findall(r"\\label\{(.*)\}", path.read_text())]
    assert len(set(labels)) == len(inputs)
    for path in files:
        assert _latex_problems(path.read_text()) == [], path.name


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here: the files are checked as text only")
def test_latex_compiles(every: Path) -> None:
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "report.tex"]
    done = subprocess.run(command, cwd=every, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_csv_tables_hold_the_cells_of_the_report(every: Path) -> None:
    rows = list(csv.reader((every / "tables" / "scores.csv").read_text().splitlines()))
    assert rows[0][:3] == ["Arm", "Seeds", "Reward-model score ± seeds"]
    assert rows[4][:3] == ["macro_ppo:fixed(n=5)", "2", "2.500 ± 6.353"]
    assert {path.stem for path in every.glob("tables/*.csv")} >= {"differences", "controls", "parity", "costs", "arms"}


def test_plain_data_hold_every_number_in_full(every: Path) -> None:
    data = json.loads((every / "report.json").read_text())
    assert data["schema_version"] == 1
    macro = data["comparison"]["arms"][-1]
    assert macro["arm"]["label"] == "macro_ppo:fixed(n=5)"
    assert macro["metrics"]["reward_model_score"]["by_seed"] == {"0": 2.0, "1": 3.0}
    assert {table["name"] for table in data["tables"]} >= {"scores", "differences", "costs"}
    assert next(plot["name"] for plot in data["plots"]) == "differences"
    assert all(plot["files"] == [] and plot["alt"] for plot in data["plots"])
    assert "credit_by_position" in {left_out["name"] for left_out in data["plots_left_out"]}


def test_plain_data_name_times_in_costs_only(every: Path) -> None:
    data = json.loads((every / "report.json").read_text())
    # The SFT stage of the records took 61.5 seconds and had a loss of 1.25.
    assert data["comparison"]["setting"]["shared"]["sft"] == {"loss": 1.25}
    assert data["comparison"]["arms"][0]["costs"]["peak_memory_mib"] == 900.0


def test_what_json_does_not_know_becomes_plain() -> None:
    assert plain({1: (frozenset({"b", "a"}), float("nan"), None)}) == {"1": [["a", "b"], None, None]}


def test_settings_that_differ_between_runs_have_a_table(
    tmp_path: Path, three_arms: list[Cell], write_cells: WriteCells
) -> None:
    parts = [[c for c in three_arms if (c.record.arm["role"] == "macro") is macro] for macro in (False, True)]
    runs = [write_cells(tmp_path / name, part) for name, part in zip(("first", "second"), parts, strict=True)]
    for run, coefficient in zip(runs, (0.02, 0.05), strict=True):
        write_text_atomically(run.config, f"config_hash: c0ffee\nppo:\n  kl_coef: {coefficient}\n  batch_size: 8\n")
    text = write_report(runs, out=tmp_path / "out", formats=("md",)).report.read_text()
    section = text.split("## Settings that differ between the runs\n", 1)[1].split("\n## ", 1)[0]
    assert section.strip().splitlines() == [
        "| Setting | first | second |",
        "| --- | --- | --- |",
        "| ppo.kl_coef | 0.02 | 0.05 |",
    ]


def test_a_plot_that_an_earlier_report_had_does_not_stay(
    tmp_path: Path, three_arms: list[Cell], write_cells: WriteCells
) -> None:
    run_dir = write_cells(tmp_path / "run", three_arms)
    (tmp_path / "out" / "plots").mkdir(parents=True)
    for name in ("credit_by_position.png", "credit_by_position.svg", "mine.png"):
        (tmp_path / "out" / "plots" / name).write_text("old")
    write_report([run_dir], out=tmp_path / "out", formats=("png",))
    left = {path.name for path in (tmp_path / "out" / "plots").iterdir()}
    assert "credit_by_position.png" not in left
    assert {"credit_by_position.svg", "mine.png", "differences.png"} <= left  # svg was not asked for, mine is not ours
