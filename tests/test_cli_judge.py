"""`marl-bench judge` at the command line."""

import dataclasses
import importlib.util
from pathlib import Path

import pytest

from marl_bench.cli.main import main
from marl_bench.errors import JudgeError

_spec = importlib.util.spec_from_file_location("judging_conftest", Path(__file__).parent / "judging" / "conftest.py")
_shared = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_shared)
make_run, server, wire = _shared.make_run, _shared.server, _shared.wire


@dataclasses.dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    """Runs the command line in this process, as a shell would in an empty folder without a key."""

    def run(*arguments, **environment):
        for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
            monkeypatch.delenv(variable, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        return Done(int(ended.value.code or 0), *capsys.readouterr())

    return run


def text(arm, seed, number):
    return f"{arm} {number} " + "word " * {"sft": 1, "token_ppo": 2, "macro_ppo-fixed_n5": 3}[arm]


def test_the_usual_verb_need_not_be_named(cli, make_run):
    root = make_run(text=text).root
    short = cli("judge", root, "--judge", "openai:gpt-4o-2024-11-20", "--dry-run")
    whole = cli("judge", "pairs", root, "--judge", "openai:gpt-4o-2024-11-20", "--dry-run")
    assert short.returncode == whole.returncode == 0
    assert short.stdout == whole.stdout
    assert "Calls: 36, of which 0 are answered already" in short.stdout
    assert "token_ppo against sft: 6 pairs" in short.stdout
    assert "Cost, all calls together: about $0." in short.stdout
    assert list(root.glob("judgements*")) == []
    assert "--concurrency" in cli("judge", "--help").stdout


def test_judging_prints_rates_and_writes_the_report_and_never_the_key(cli, make_run, server):
    root = make_run(text=text).root
    arguments = ("judge", root, "--judge", "openai:judge-1", "--base-url", server.url, "--price", "1,1")
    done = cli(*arguments, OPENAI_API_KEY="sk-secret-0123456789")
    assert done.returncode == 0, done.stderr
    assert "pair: macro_ppo:fixed(n=5) against sft | win rate: 100.0 %" in done.stdout
    assert "36 answers now (36 requests, 3,600 + 360 tokens, $0.00), 0 were stored." in done.stdout
    assert "judge 36/36" in done.stderr
    assert server.keys == {"sk-secret-0123456789"}
    files = [path.read_bytes() for path in root.rglob("*") if path.is_file()]
    assert "secret" not in done.stdout + done.stderr and not any(b"secret" in content for content in files)
    # All answers are stored: neither a server nor a key is needed any more.
    again = cli("judge", root, "--judge", "openai:judge-1", "--base-url", "http://127.0.0.1:9/v1", "--quiet")
    assert again.returncode == 0 and "0 answers now (0 requests" in again.stdout and again.stderr == ""
    assert "Calls: 36, of which 36 are answered already" in cli(*arguments, "--dry-run").stdout


def test_a_dry_run_names_the_arms_as_one_writes_them(cli, make_run):
    done = cli("judge", make_run(text=text).root, "--judge", "openai:judge-1", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "\n  macro_ppo:fixed(n=5) against sft: " in done.stdout


def test_without_a_key_the_oracle_speaks(cli, make_run):
    done = cli("judge", make_run(text=text, oracle=True).root, "--judge", "openai:gpt-4o")
    assert done.returncode == 2
    assert "OPENAI_API_KEY is not set" in done.stderr and "--base-url" in done.stderr
    assert "Win rates by the oracle | pair: token_ppo against sft | win rate: 100.0 %" in done.stdout
    assert "Traceback" not in done.stderr


def test_too_many_unscored_pairs_fail_and_are_kept(cli, make_run, server, wire):
    root = make_run(text=text).root
    server.behave = lambda asked: wire.completion("") if asked.number == 2 else wire.longer(asked)
    arguments = ("judge", root, "--judge", "openai:judge-1", "--base-url", server.url, "--quiet")
    done = cli(*arguments)
    assert done.returncode == 1
    assert "5.6 % of the pairs have no score (1 parse_error verdicts), --max-unscored allows 2 %" in done.stderr
    assert (root / "judgements" / "judge-1" / "pairs.jsonl").exists()
    assert cli(*arguments, "--max-unscored", "0.1").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--judge", "gpt-4o"), "give openai:MODEL"),
        (("--judge", "openai:x", "--base-url", "localhost:8000"), "--base-url 'localhost:8000'"),
        (("--judge", "openai:x", "--price", "cheap"), "IN,OUT"),
        (("--judge", "openai:x", "--price", "-1,2"), "prices are numbers from 0 up"),
        (("--judge", "openai:x", "--max-tokens", "1"), "--max-tokens 1"),
        (("--judge", "openai:x", "--max-cost", "1", "--base-url", "http://127.0.0.1:9"), "give --price"),
        (("--judge", "openai:x", "--prompts", "nowhere.yaml"), "nowhere.yaml"),
        (("--judge", "openai:x", "--arm", "macro_ppo", "--dry-run"), "Known: macro_ppo:fixed(n=5), sft, token_ppo."),
    ],
)
def test_wrong_input_is_one_clear_line(arguments, says, cli, make_run):
    done = cli("judge", make_run(text=text).root, *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_run_that_shall_be_judged_without_a_key_stops_before_any_work(cli, tmp_path):
    done = cli("run", "--task", "tldr", "--judge", "openai:gpt-4o", "--out", tmp_path / "out")
    assert done.returncode == 2 and "OPENAI_API_KEY" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_judge_that_fails_after_a_run_leaves_it_complete_and_says_how_to_go_on(make_run, server, wire, capsys):
    from marl_bench.cli.judge import judge_complete_run
    from marl_bench.plugins import Registry

    root = make_run(text=text).root
    server.behave = lambda _: wire.error(401, "no")
    with pytest.raises(JudgeError, match="0 of 36 answers are stored"):
        judge_complete_run(root, "openai:judge-1", server.url, registry=Registry(), quiet=True)
    command = f"marl-bench judge {root} --judge openai:judge-1 --base-url {server.url}"
    assert f"The run itself is complete. To go on: {command}" in capsys.readouterr().err
    server.behave = wire.longer
    judge_complete_run(root, "openai:judge-1", server.url, registry=Registry(), quiet=True)
    assert (root / "judgements" / "judge-1" / "judgement.json").exists()
