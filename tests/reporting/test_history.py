"""How stored results moved."""

import csv
import io
import os

import pytest

from marl_bench.errors import ConfigError, RecordError
from marl_bench.reporting.frames import cost_rows
from marl_bench.reporting.history import history_of
from marl_bench.reporting.history_table import history_csv, history_plot, history_table
from marl_bench.reporting.references import save_reference
from marl_bench.reporting.report import write_report
from marl_bench.reporting.sides import open_side
from marl_bench.run_dir import RECORD, RunDir, write_text_atomically

SCORE = "reward_model_score"
BASE = [float(place) for place in range(8)]


@pytest.fixture
def results(tmp_path, write_cells, make_cell):
    """Three runs of one configuration: the second 1 higher on every prompt, the third as the second; dates out of name order."""
    root = tmp_path / "results"

    def run(name, values, date, version):
        made = {"packages": {"marl-bench": version}, "git_commit": "0123456789abcdef", "git_dirty": version == "0.2"}
        costs = {"seconds": {"total": 4.0}, **({"finished_at": date} if date else {})}
        cells = [make_cell("sft", seed, {SCORE: values}, environment=made, costs=costs) for seed in (0, 1)]
        return write_cells(root / name, cells)

    run("b", BASE, "2026-01-05T10:00:00+00:00", "0.1")
    run("c", [value + 1 for value in BASE], "2026-02-05T10:00:00+00:00", "0.2")
    run("a", [value + 1 for value in BASE], "2026-03-05T10:00:00+00:00", "0.3")
    return root


def lines(found):
    return [dict(zip(history_table(found).columns, row, strict=True)) for row in history_table(found).rows]


def test_a_history_goes_by_date_and_says_what_changed(results):
    found = lines(history_of([results]))
    assert [one["Folder"].rsplit("/", 1)[1] for one in found] == ["b", "c", "a"]
    assert [one["Date"] for one in found] == ["2026-01-05 10:00", "2026-02-05 10:00", "2026-03-05 10:00"]
    assert [one["Version"] for one in found] == ["0.1", "0.2", "0.3"]
    assert [one["Commit"] for one in found] == ["012345678", "012345678+", "012345678"]
    assert [one["Mean ± seeds"] for one in found] == ["3.500 ± 0.000", "4.500 ± 0.000", "4.500 ± 0.000"]
    assert [(one["Change"], one["Says"]) for one in found] == [
        ("–", "first"),
        ("+1.000", "better (shown)"),
        ("0.000", "equal"),
    ]


def test_a_missing_date_is_that_of_the_file_and_says_so(tmp_path, write_cells, make_cell):
    run = write_cells(tmp_path / "old", [make_cell("sft", 0, {SCORE: BASE})])
    os.utime(run.cell("sft", 0) / RECORD, (0, 86400))
    [one] = lines(history_of([run.root]))
    assert one["Date"] == "1970-01-02 00:00 (file date)"


def test_references_have_no_date_and_come_first(results, tmp_path):
    side = open_side(str(results / "b"), reference_dir=tmp_path)
    save_reference(side.cells, side.config, name="kept", reference_dir=results / "reference", force=False)
    found = lines(history_of([results]))
    assert (found[0]["Date"], found[0]["Folder"].rsplit("/", 1)[1]) == ("no date", "kept")
    assert found[1]["Says"] == "equal"


def test_means_alone_are_compared_as_means(results):
    config = "config_hash: '" + "c0ffee" + "0" * 58 + "'\ntask: tldr\n"
    write_text_atomically(results / "reference" / "means" / "config.yaml", config)
    write_text_atomically(
        results / "reference" / "means" / "scores.csv", f"arm,seed,metric,value\nsft,0,{SCORE},2.5\nsft,1,{SCORE},2.5\n"
    )
    found = lines(history_of([results]))
    assert [(one["Mean ± seeds"], one["Change"], one["Says"]) for one in found[:2]] == [
        ("2.500 ± 0.000", "–", "first"),
        ("3.500 ± 0.000", "+1.000", "means only"),
    ]


def test_other_configurations_have_a_history_of_their_own_unless_asked_across(results, write_cells, make_cell):
    write_cells(results / "other", [make_cell("sft", 0, {SCORE: BASE}, config_hash="d" * 64)])
    assert [one["Says"] for one in lines(history_of([results]))].count("first") == 2
    assert [one["Says"] for one in lines(history_of([results], across=True))].count("first") == 1


def test_a_broken_run_in_a_folder_is_left_out_and_named_and_an_error_by_itself(results):
    write_text_atomically(results / "c" / "cells" / "sft-seed0" / RECORD, "{")
    found = history_of([results])
    assert len(found.entries) == 2
    assert "record.json: damaged" in found.problems[0]
    with pytest.raises(RecordError, match="damaged"):
        history_of([results / "c"])


@pytest.mark.parametrize("name", ["nothing", "."])
def test_nothing_to_show_is_an_error(tmp_path, name):
    with pytest.raises(RecordError, match=r"no such folder|no finished run and no reference"):
        history_of([tmp_path / name])


def test_an_unknown_metric_lists_the_known_ones(results):
    with pytest.raises(RecordError, match=f"known are {SCORE}"):
        history_of([results], metrics=["oracle"])


def test_csv_and_plot_show_every_line(results, tmp_path):
    found = history_of([results])
    rows = list(csv.DictReader(io.StringIO(history_csv(found))))
    assert [float(row["mean"]) for row in rows] == [3.5, 4.5, 4.5]
    assert [row["change"] for row in rows] == ["", "1.0", "0.0"]
    assert history_plot(found, path=tmp_path / "h.png").startswith(b"\x89PNG")
    svg = history_plot(found, path=tmp_path / "h.svg").decode()
    assert "2 changes between stored results 1 are shown, 1 are exactly zero" in " ".join(svg.split())
    assert svg.encode() == history_plot(found, path=tmp_path / "h.svg")
    with pytest.raises(ConfigError, match=r"should end in \.png or \.svg"):
        history_plot(found, path=tmp_path / "h.pdf")


def test_the_date_of_a_cell_stands_in_no_report(results, tmp_path):
    written = write_report([RunDir(results / "b")], out=tmp_path / "out")
    assert b"2026-01-05" not in written.report.read_bytes() + written.scores.read_bytes() + written.costs.read_bytes()
    cells = list(open_side(str(results / "b"), reference_dir=tmp_path).cells)
    assert {row[2] for row in cost_rows(cells)} == {"seconds_total"}
