"""The verbs for people and batch jobs at the command line: what they print, and how they end."""

import csv
import io
import json

import pytest

from marl_bench.cli import main


@pytest.fixture
def cli(capsys):
    """Runs the command line in this process; returns exit status, output and errors."""

    def run(*arguments):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as ended:
            status = ended.code or 0
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def filled(run_dir, tmp_path, cli):
    """The path of a sheet that Anna filled in with ties."""
    status, out, _ = cli("judge", "sheet", run_dir.root, "--pairs", 2, "--out", tmp_path / "sheet.csv")
    assert (status, "sheet.key.json: do not give it to the annotators" in out) == (0, True)
    text = (tmp_path / "sheet.csv").read_text(encoding="utf-8-sig")
    rows = [row | {"choice": "tie"} for row in csv.DictReader(io.StringIO(text, newline=""))]
    with (tmp_path / "anna.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path / "anna.csv"


def test_labels_go_into_the_report_and_the_report_stays_the_same(cli, run_dir, filled):
    status, out, _ = cli("report", run_dir.root, "--judge-labels", filled)
    assert status == 0
    assert "labels:anna: 6 labels -> " in out
    report = run_dir.root / "report.md"
    first = report.read_bytes()
    assert b"labels:anna" in first
    cli("judge", run_dir.root, "--judge-labels", filled)
    assert report.read_bytes() == first


def test_wrong_labels_leave_everything_as_it_was(cli, run_dir, filled):
    text = filled.read_text().replace(",tie,", ",yes,", 1)
    filled.write_text(text)
    status, _, err = cli("report", run_dir.root, "--judge-labels", filled)
    assert (status, "column choice: 'yes' given; write 1, 2 or tie" in err) == (2, True)
    assert not (run_dir.root / "judgements").exists()
    assert filled.read_text() == text


def test_judge_without_a_judge_or_labels_says_what_to_give(cli, run_dir):
    status, _, err = cli("judge", run_dir.root)
    assert (status, "give --judge openai:MODEL, or --judge-labels FILE" in err) == (2, True)


def test_agreement_prints_rates_and_pairs_of_judges(cli, tmp_path):
    rows = [
        {"m": 1, "p": 1, "a": "x y", "b": "x"},
        {"m": 2, "p": 1, "a": "x", "b": "x y"},
        {"m": 0, "p": 2, "a": "", "b": "x"},
    ]
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, out, _ = cli("judge", "agreement", path, "--judge", "m", "--judge", "p", "--responses", "a,b")
    assert status == 0
    assert (
        "judge: m | pairs: 3 | first wins / tie / second: 1 / 1 / 1 | unscored: 0 | win rate of the first: 50.0 %"
        in out
    )
    assert "judge: m | against: p | pairs: 3 | agreement: 33.3 %" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--responses", "a"], "--responses a: give two columns"),
        (["--majority", "all"], "--majority all: write NAME=VALUE"),
        (["--where", "=x"], "--where =x: write NAME=VALUE"),
        (["--values", "a=1,b"], "--values b: write NAME=VALUE"),
    ],
)
def test_options_of_agreement_that_say_nothing_are_errors(cli, tmp_path, arguments, said):
    status, _, err = cli("judge", "agreement", tmp_path / "x.csv", "--judge", "m", *arguments)
    assert (status, said in err) == (2, True)


def test_a_dry_run_of_submit_shows_half_the_price_and_sends_nothing(cli, run_dir):
    options = ("--judge", "openai:m", "--pairs", 4, "--base-url", "http://127.0.0.1:9/v1", "--price", "1000,1000")
    status, out, _ = cli("judge", "submit", run_dir.root, *options, "--dry-run")
    assert status == 0
    assert "Requests: 24 to submit; 0 are answered already, 0 are under way" in out
    read, written = (
        int(part.replace(",", "")) for part in out.split("about ")[1].split(" to write")[0].split(" to read and ")
    )
    # 1000 dollars a million tokens is a tenth of a cent a token, halved.
    assert f"Cost, with the batch discount: about ${(read + written) * 0.0005:,.2f}" in out
    assert not (run_dir.root / "batch_jobs").exists()


def test_collect_without_jobs_is_an_error(cli, run_dir, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    status, _, err = cli("judge", "collect", run_dir.root)
    assert (status, "no batch jobs there; submit some with marl-bench judge submit" in err) == (2, True)
