"""`marl-bench rule` and `marl-bench list grids`: what they print, and one clear error for bad input."""

import sys

import pytest

from marl_bench.cli.main import main

LEAKY = """
from marl_bench.interfaces import TerminationSpec
from marl_bench.macro.starts import StartsRule
RULE = TerminationSpec("leaky", "1", "", lambda _: StartsRule(lambda r: r.token_values > r.token_values.mean(), needs=frozenset({"values"})))
"""


@pytest.fixture
def cli(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return run


def test_grids_are_listed_with_version_and_hash(cli):
    status, out, _ = cli("list", "grids", "--details")
    assert status == 0
    assert [line.split("\t")[:2] for line in out.splitlines() if line.startswith("grid-")] == [
        ["grid-ngram", "1"],
        ["grid-rules", "1"],
    ]
    assert "  macro_ppo:fixed(n=10)\n" in out


def test_a_grid_can_be_run(cli, tmp_path):
    status, out, err = cli(
        "run", "--arm", "token_ppo", "--arm", "grid-ngram", "--dry-run", "--out", str(tmp_path / "x")
    )
    assert (status, err) == (0, "")
    assert "arm macro_ppo:fixed(n=10) -> cells/macro_ppo-fixed_n10-seed0" in out


def test_show_and_diff(cli):
    assert "rule\tfixed(n=5)\n" in cli("rule", "show", "fixed")[1]
    assert cli("rule", "diff", "fixed(5)", "fixed(n=3)")[1].startswith("parameter n\t5\t3\nhash\t")
    assert cli("rule", "diff", "fixed(5)", "fixed")[1].startswith("same definition: fixed(n=5), version 1, hash ")


def test_segment_prints_the_cuts_and_writes_a_page(cli, tmp_path):
    status, out, err = cli(
        "rule", "segment", "fixed(n=5)", "whole", "--text", "It rains.", "--html", str(tmp_path / "cuts.html")
    )
    assert (status, err) == (0, "")
    assert "text 1\twhole\tIt rains." in out
    assert "<table>" in (tmp_path / "cuts.html").read_text()


def test_check_passes_and_fails_with_a_list_and_status_1(cli, tmp_path):
    status, out, _ = cli("rule", "check", "fixed(n=3)")
    assert status == 0 and "ok\trow independence\n" in out and "ok\tspeed: " in out
    (tmp_path / "leaky.py").write_text(LEAKY)
    status, out, err = cli("rule", "check", "leaky", "--plugin", str(tmp_path / "leaky.py"))
    assert status == 1
    assert "FAILED\trow independence: cuts a response of 12 tokens differently with other rows beside it\n" in out
    assert err == "marl-bench: termination rule 'leaky': breaks its contract in row independence.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "fixxed"], "unknown termination rule 'fixxed'. Did you mean 'fixed'"),
        (["show", "fixed(n=0)"], "greater than or equal to 1"),
        (["diff", "fixed", "none.json"], "none.json: no record of a cell there"),
        (["segment", "fixed"], "with --text TEXT or with --run RUN, one of them"),
        (["segment", "fixed", "--text", "a", "--run", "b"], "one of them"),
        (["segment", "fixed", "--run", "nowhere"], "nowhere: no experiment there"),
        (["segment", "fixxed", "--text", "a"], "Did you mean 'fixed'"),
        (
            ["segment", "fixed", "--text", "a", "--html", "/proc/nowhere/x.html"],
            "--html /proc/nowhere/x.html: cannot be written",
        ),
        (["check", "fixxed"], "Did you mean 'fixed'"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(cli, arguments, message):
    status, _, err = cli("rule", *arguments)
    assert status == 2
    assert err.startswith("marl-bench: ") and message in err
    assert len(err.strip().splitlines()) == 1


def test_a_parser_that_is_not_installed_names_its_extra(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "textblob.en.parsers", None)
    status, _, err = cli("rule", "segment", "parsing", "--text", "a")
    assert status == 2 and "install marl-bench[parsing]" in err
