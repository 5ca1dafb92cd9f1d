"""Responses sampled by a server, against a local one that misbehaves on purpose."""

import importlib.util
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from marl_bench.errors import ConfigError, ServerError
from marl_bench.outside.evaluate import evaluate_outside
from marl_bench.outside.plan import plan_outside
from marl_bench.outside.request import Request
from marl_bench.run_dir import read_cells

SMALL = [("data.limit", 6), ("sampling.max_response_tokens", 16)]
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@pytest.fixture(scope="module")
def wire():
    """The module with the server that misbehaves; the judge's tests have it too."""
    path = Path(__file__).parent.parent / "judging" / "misbehaving_server.py"
    spec = importlib.util.spec_from_file_location("misbehaving_server", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def server(wire, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", *PROXIES):
        monkeypatch.delenv(name, raising=False)
    found = wire.Server()
    found.behave = lambda asked: wire.completion(f"answer to {question(asked)[:20]}")
    yield found
    found.close()


def question(asked):
    return asked.body["messages"][-1]["content"]


@pytest.fixture
def ask(server, registry, tmp_path):
    def run(*, seeds=1, concurrency=3, overrides=SMALL):
        request = Request(
            task="tldr",
            models=["openai:big"],
            overrides=overrides,
            base_url=server.url,
            concurrency=concurrency,
            seeds=seeds,
            out=tmp_path / "out",
        )
        plan = plan_outside(request, registry)
        evaluate_outside(plan, done=lambda _now, _text: None)
        return read_cells(plan.out)

    return run


def test_every_prompt_is_asked_once_and_answers_stand_at_their_prompts(ask, server):
    [cell] = ask()
    assert len(server.asked) == 6
    assert server.most_at_a_time <= 3
    for sample in cell.samples:
        assert sample.response.text == f"answer to {sample.prompt.strip()[:20]}"
        assert (sample.response.token_count, sample.response.finished) == (10, True)
    body = server.asked[0].body
    assert (body["model"], body["max_tokens"], body["temperature"], body["top_p"]) == ("big", 16, 0.8, 1.0)
    assert len({asked.body["seed"] for asked in server.asked}) == 6
    assert cell.record.arm["baseline"] == "server"


def test_several_samples_of_a_prompt_have_seeds_of_their_own(ask, server):
    [cell] = ask(overrides=[*SMALL, ("evaluation.samples_per_prompt", 2)])
    assert [one.response.sample_index for one in cell.samples] == [0, 1] * 6
    assert len({asked.body["seed"] for asked in server.asked}) == 12


def test_what_is_answered_is_not_asked_again_after_a_failure(ask, server, wire):
    answer = server.behave

    def dies(asked):
        return answer(asked) if asked.number <= 4 else wire.error(401, "wrong key")

    server.behave = dies
    with pytest.raises(ServerError, match=r"takes no request .status 401: wrong key"):
        ask(concurrency=1)
    assert len(server.asked) == 5
    server.behave = answer
    [cell] = ask()
    assert len(server.asked) == 5 + 2
    assert len(cell.samples) == 6


def test_busy_and_broken_answers_are_tried_again(ask, server, wire):
    answer, first = server.behave, set()

    def stumbles(asked):
        if question(asked) in first:
            return answer(asked)
        first.add(question(asked))
        number = len(first)
        busy = wire.error(429, "slow down", retry_after_ms="1")
        broken = [
            busy,
            wire.error(500, "oops"),
            wire.Reply(body=b"{not json"),
            wire.Reply(body=b"[]"),
            wire.completion(None),
        ]
        return broken[number] if number < len(broken) else answer(asked)

    server.behave = stumbles
    [cell] = ask(concurrency=6)
    assert {one.response.text[:9] for one in cell.samples} == {"answer to"}
    assert cell.record.problems == []


def test_what_the_server_does_not_understand_is_left_out(ask, server, wire):
    answer = server.behave

    def picky(asked):
        if "max_tokens" in asked.body:
            return wire.error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        for name in ("temperature", "seed"):
            if name in asked.body:
                return wire.error(400, f"'{name}' does not support this value")
        return answer(asked)

    server.behave = picky
    [cell] = ask(concurrency=6)
    assert len(cell.samples) == 6
    assert server.asked[-1].body.keys() == {"model", "messages", "max_completion_tokens", "top_p"}


def test_refused_prompts_are_counted_and_have_no_response(ask, server, wire):
    answer = server.behave

    def refuses(asked):
        if asked.number == 2:
            return wire.error(400, "maximum context length is 8 tokens", "context_length_exceeded")
        return wire.completion(None, finish_reason="content_filter") if asked.number == 3 else answer(asked)

    server.behave = refuses
    [cell] = ask(concurrency=1)
    assert len(cell.samples) == 4
    [problem] = cell.record.problems
    assert problem.startswith("The server gave no response to 2 of 6; the first: prompt '")


def test_a_cut_answer_is_not_finished_and_a_missing_count_is_none(ask, server, wire):
    server.behave = lambda asked: wire.completion("half an", finish_reason="length", usage=None)
    [cell] = ask()
    assert {(one.response.finished, one.response.token_count) for one in cell.samples} == {(False, None)}
    assert cell.record.metrics["finished"] == 0.0


def test_without_key_and_server_it_says_what_to_set(registry, server):
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        plan_outside(Request(task="tldr", models=["openai:big"]), registry)


@pytest.mark.soak
def test_a_killed_command_asks_for_the_rest_only(server, wire, tmp_path):
    """kill -9 after a few answers; the same command again: every prompt is there once, at most the calls in flight were asked twice."""
    answer, enough = server.behave, threading.Event()

    def slows_down(asked):
        if asked.number > 6:
            enough.set()
            return wire.Reply(delay=30.0)
        return answer(asked)

    server.behave = slows_down
    arguments = ["evaluate", "--task=apps", "--model=openai:big", f"--base-url={server.url}", "--limit=12"]
    arguments += [f"--out={tmp_path / 'out'}", "--concurrency=2", "--quiet", "--set=evaluation.samples_per_prompt=1"]
    command = [sys.executable, "-m", "marl_bench", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    assert enough.wait(60)
    time.sleep(0.2)
    process.kill()
    process.communicate()
    server.behave = answer
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    samples = (tmp_path / "out/cells/big-seed0/samples.jsonl").read_text().splitlines()
    assert len({json.loads(line)["prompt_id"] for line in samples}) == len(samples) == 12
    assert len(server.asked) <= 12 + 2
