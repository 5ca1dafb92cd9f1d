"""The benchmark of PPO updates compares like with like; no test looks at a time."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest
import torch

from marl_bench.bench import ppo_report
from marl_bench.bench.contenders import Update, own_command, peer_command, started
from marl_bench.bench.floor import Machine, Needed, needed
from marl_bench.bench.peer_environment import commands, find_python
from marl_bench.bench.peers.turns import PHASES
from marl_bench.bench.ppo import CaseResult, Contender, PpoBenchSettings, as_json, bench_ppo
from marl_bench.bench.ppo_cases import (
    CASES,
    MEAN_ENDS,
    TINY,
    ModelShape,
    PpoCase,
    chosen_cases,
    make_models,
    make_prompts,
    settings_of,
    shipped_shape,
)
from marl_bench.errors import ConfigError, MarlBenchError
from marl_bench.models.loading import load_policy, load_tokenizer

SMALLEST = ModelShape("smallest", hidden=16, feed_forward=16, layers=1, heads=1, vocabulary=1024)
CASE = PpoCase(SMALLEST, batch=4, prompt_tokens=12, response_tokens=6, ppo_epochs=2, ends=True, rounds=1)


def test_the_tiny_case_has_the_shape_of_the_shipped_model():
    shape = shipped_shape()
    assert [TINY.hidden, TINY.feed_forward, TINY.layers, TINY.heads, TINY.vocabulary] == list(shape.values())


@pytest.mark.parametrize("ends", [True, False])
def test_responses_end_as_often_as_the_case_says(tmp_path, ends):
    case = dataclasses.replace(CASE, ends=ends, model=TINY, prompt_tokens=40)
    make_models(case, tmp_path)
    policy = load_policy(str(tmp_path / "policy"), dtype="float32")
    ids = torch.randint(2, 1024, (8, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = torch.softmax(policy(ids).logits / 0.8, dim=-1)[..., load_tokenizer("tiny").eos_token_id]
    assert float(found.mean()) == pytest.approx(MEAN_ENDS / 6 if ends else 0.0, rel=0.1)
    assert float(found.std()) < 0.2 * MEAN_ENDS / 6


def test_the_tokenizer_knows_the_whole_vocabulary_so_all_of_it_is_sampled(tmp_path):
    make_models(dataclasses.replace(CASE, model=dataclasses.replace(SMALLEST, vocabulary=1500)), tmp_path)
    tokenizer, shipped = load_tokenizer(str(tmp_path / "policy")), load_tokenizer("tiny")
    assert len(tokenizer) == 1500
    assert tokenizer("POST: a story")["input_ids"] == shipped("POST: a story")["input_ids"]


def test_prompts_have_half_to_all_of_the_tokens():
    prompts = make_prompts(dataclasses.replace(CASE, batch=30, prompt_tokens=60))
    lengths = [len(ids) for ids in load_tokenizer("tiny")(prompts)["input_ids"]]
    assert min(lengths) > 20 and 50 < max(lengths) <= 60 and len(set(prompts)) == 30


@pytest.fixture(scope="module")
def result():
    return bench_ppo([CASE], PpoBenchSettings(peer=None, peer_python=None, pairs=0))


@pytest.mark.soak
def test_phases_cover_an_update_and_its_counts_are_those_of_its_tokens(result):
    [case] = result.cases
    own, fast = case.contenders
    assert set(own.updates[0].phases) == set(PHASES)
    assert own.updates[0].cpu_seconds == pytest.approx(
        sum(own.updates[0].phases[name]["cpu_seconds"] for name in PHASES)
    )
    counts, response = own.first.counts, own.first.response_tokens
    text = case.prompt_tokens + response
    assert 4 <= response <= 24
    # Prompts once in sampling; reference, critic and reward model once; policy and critic in two epochs. Only the reward model has to read
    # the last tokens of the 4 responses.
    needed = case.prompt_tokens + text + (2 + 2 * 2) * (text - 4)
    assert needed <= fast.first.counts["positions"] <= counts["positions"] <= needed + 7 * 4 * 18
    assert counts["decoded"] >= response - 4
    # The prompts' pass gives one row of logits a response, the update at most 6 for each of 4 responses.
    assert counts["largest_logits"] <= 4 * 6 * 1024 * 4


@pytest.mark.soak
def test_tables_json_and_markdown_hold_every_case(result):
    tables = ppo_report.tables(result)
    assert [len(table.rows) for table in tables] == [2, 2, 2, 2, 2]
    assert all(len(row) == len(table.columns) for table in tables for row in table.rows)
    content = json.loads(json.dumps(as_json(result)))
    assert content["cases"][0]["own"][1]["name"] == "marl-bench, fast"
    assert "smallest; 2 epochs, varying length" in ppo_report.as_markdown(result, command="x")


def _contender(name, seconds):
    updates = [
        Update({"update": {"seconds": 2 * s, "cpu_seconds": s, "peak_mebibytes": 9.0}}, 10, None) for s in seconds
    ]
    return Contender(name, 1.0, updates[0], updates, {})


def test_the_speed_is_the_geometric_mean_of_the_rounds_ratios():
    # 4 / 2 and 16 / 2: the geometric mean of 2 and 8 is 4.
    own, peer = _contender("own", [2.0, 2.0]), _contender("trl", [4.0, 16.0])
    found = CaseResult(CASE, 1, [own], peer).speed(own)
    assert found.estimate == pytest.approx(4) and found.low < 2 and found.high > 8
    once = _contender("own", [2.0])
    with pytest.raises(ConfigError, match="--rounds of at least 2"):
        CaseResult(CASE, 1, [once], _contender("trl", [2.0])).speed(once)
    assert CaseResult(CASE, 1, [own], None).speed(own) is None and CaseResult(CASE, 1, [own], peer).speed(peer) is None


def test_needed_operations_are_counted_by_hand():
    shape = ModelShape("x", hidden=2, feed_forward=3, layers=1, heads=1, vocabulary=5)
    case = PpoCase(shape, batch=1, prompt_tokens=4, response_tokens=2, ppo_epochs=1, ends=False, rounds=1)
    found = needed(case, prompt_tokens=4, response_tokens=2)
    # Layer: 4 x 2 x 2 + 3 x 2 x 3 = 34 weights, 68 operations a token; attention 4 x 2 x (6 / 2) = 24; head 2 x 2 x 5 = 20 a response token.
    text, head = 6 * (68 + 24), 2 * 20
    assert found["generation"].operations == text + head
    assert found["scoring"].operations == 3 * text + head
    assert found["update"].operations == 3 * (2 * text + head)
    assert Needed(100.0, 30.0).seconds(Machine({"slow": 20.0, "fast": 50.0}, bandwidth=10.0)) == 3.0


def test_a_worker_that_dies_says_why(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with (
        pytest.raises(MarlBenchError, match=r"worker of trl ended with exit status 1:\nno such model"),
        started("trl", command, {}, tmp_path),
    ):
        pass


def test_the_peer_sees_nothing_of_this_package_but_the_peers_folder(tmp_path):
    settings = settings_of(CASE, tmp_path, ["POST:"], threads=1)
    command, environment = peer_command("trl", tmp_path / "python", settings, tmp_path)
    assert command[1:3] == ["-m", "marl_bench.bench.peers.trl_ppo"]
    root = tmp_path / "path"
    assert environment["PYTHONPATH"] == str(root)
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*.py"))
    assert [name for name in files if "/peers/" not in name] == [
        "marl_bench/__init__.py",
        "marl_bench/bench/__init__.py",
    ]
    own, _ = own_command(settings, tmp_path, name="own")
    assert own[0] == sys.executable


def test_a_missing_peer_is_told_with_the_two_commands_that_make_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        ConfigError, match=r"(?s)is not installed; give --install-peer.*-m venv .*pip install trl==1.12.0 torch==2"
    ):
        find_python("trl", None, install=False)
    with pytest.raises(ConfigError, match="--peer-python nowhere/python: no such file"):
        find_python("trl", Path("nowhere/python"), install=False)
    assert len(commands("trl", tmp_path / "bin" / "python")) == 2


def test_an_interpreter_without_the_peers_version_is_refused():
    with pytest.raises(ConfigError, match=r"needs trl 1\.12\.0, which is 1\.1"):
        find_python("trl", Path(sys.executable), install=False)


def test_an_unknown_case_is_told_with_those_there_are():
    with pytest.raises(ConfigError, match="--only '7 B': no case has that in its name; the cases are 'tiny"):
        chosen_cases(CASES, only="7 B", rounds=None)
    assert [case.rounds for case in chosen_cases(CASES, only="tiny", rounds=2)] == [2, 2]
