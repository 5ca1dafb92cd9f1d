"""A judge under fire: whatever the server does, nothing is lost, nothing asked twice, nothing silently scored."""

import collections
import json

import pytest

from marl_bench.errors import JudgeError, UnscoredError
from marl_bench.judge_runs import check_unscored
from marl_bench.judging.asking import Patience
from marl_bench.judging.job import JobLimits

PAIRS, CALLS = 18, 36  # macro-sft, token-sft, macro-token on 6 prompts, each in both orders


def once(server, wire, fault, *, on=5):
    """Answers the request number `on` with a fault, all others honestly."""
    server.behave = lambda asked: fault(asked) if asked.number == on else wire.longer(asked)


def always_for_one(server, wire, fault, *, marker="story 3"):
    """Answers every request about one prompt with a fault."""
    server.behave = lambda asked: fault(asked) if marker in asked.user else wire.longer(asked)


def statuses(pairs):
    return collections.Counter(verdict.status for pair in pairs for verdict in pair.verdicts)


def test_an_honest_judge_is_asked_once_about_each_pair_and_order(run_dir, server, judge_it, stored_pairs):
    judged = judge_it(run_dir)
    pairs = stored_pairs(judged)
    assert len(pairs) == PAIRS
    assert len(server.asked) == len(set(server.tickets)) == CALLS
    # By length macro wins 6 of 6 against SFT; against token PPO it wins the even prompts, 3 of 6.
    wins = {
        (arm, reference): sum(pair.score for pair in pairs if (pair.arm, pair.reference) == (arm, reference))
        for arm, reference in {(pair.arm, pair.reference) for pair in pairs}
    }
    assert wins == {("macro_ppo-fixed_n5", "sft"): 6, ("token_ppo", "sft"): 6, ("macro_ppo-fixed_n5", "token_ppo"): 3}
    assert {verdict.path for pair in pairs for verdict in pair.verdicts} == {"structured"}


RECOVERABLE = {
    "429, Retry-After 1 s": (lambda wire: wire.error(429, "slow down", retry_after="1"), 1.0),
    "429, Retry-After 300 s": (lambda wire: wire.error(429, "slow down", retry_after="300"), 300.0),
    "429, Retry-After-Ms": (lambda wire: wire.error(429, "slow down", retry_after_ms="1500"), 1.5),
    "503, Retry-After 300 s": (lambda wire: wire.error(503, "overloaded", retry_after="300"), 300.0),
    "429 without Retry-After": (lambda wire: wire.error(429, "slow down"), None),
    "500": (lambda wire: wire.error(500, "oops"), None),
    "503": (lambda wire: wire.error(503, "oops"), None),
    "dropped before the answer": (lambda wire: wire.Reply(keep=0), None),
    "half an answer": (lambda wire: wire.Reply(body=wire.completion("{}").body, keep=40), None),
    "invalid JSON": (lambda wire: wire.Reply(body=b"<html>Bad gateway</html>"), None),
    "not UTF-8": (lambda wire: wire.Reply(body=b"\xff\xfe{"), None),
    "JSON, but no completion": (lambda wire: wire.Reply(body=b'{"error": {"message": "hidden in 200"}}'), None),
    "JSON nested without end": (lambda wire: wire.Reply(body=b"[" * 200_000), None),
    "no choices": (lambda wire: wire.Reply(body=b'{"choices": []}'), None),
}


@pytest.mark.parametrize("fault", RECOVERABLE)
def test_a_fault_that_passes_costs_one_call_more_and_no_verdict(
    fault, run_dir, server, wire, clock, judge_it, stored_pairs
):
    reply, wait = RECOVERABLE[fault]
    once(server, wire, lambda _: reply(wire))
    waits = []
    pairs = stored_pairs(judge_it(run_dir, on_wait=lambda seconds, why: waits.append(seconds)))
    assert statuses(pairs) == {"ok": CALLS}
    assert len(server.asked) == CALLS + 1
    assert len(set(server.tickets)) == CALLS
    assert len(waits) == 1
    assert waits[0] == wait if wait else 0.375 <= waits[0] <= 0.5  # half a second, less up to a quarter
    assert clock.time >= waits[0]


def test_the_server_that_asks_to_wait_is_left_alone_by_all_questions(run_dir, server, wire, clock, judge_it):
    sent = []

    def behave(asked):
        sent.append(clock.time)
        return wire.error(429, "slow down", retry_after="300") if asked.number == 2 else wire.longer(asked)

    server.behave = behave
    judge_it(run_dir, limits=JobLimits(concurrency=1))
    assert sent[2:] == [300.0] * (CALLS - 1)


def test_a_slow_server_is_given_up_and_asked_again(run_dir, server, wire, judge_it, stored_pairs):
    once(server, wire, lambda asked: wire.Reply(body=wire.longer(asked).body, delay=30.0))
    assert statuses(stored_pairs(judge_it(run_dir, timeout=0.3))) == {"ok": CALLS}
    assert len(server.asked) == CALLS + 1


LASTING = {
    "refusal field": (lambda wire, _: wire.completion(None, refusal="I will not judge this."), "refusal", 1),
    "refusal in words": (lambda wire, _: wire.completion("I'm sorry, but I can't help with that."), "refusal", 1),
    "empty answer": (lambda wire, _: wire.completion(""), "parse_error", 1),
    "no text": (lambda wire, _: wire.completion(None), "parse_error", 1),
    "half a verdict": (lambda wire, asked: wire.completion(f'{{"ticket": "{asked.ticket}", "verd'), "parse_error", 1),
    "cut at the limit": (lambda wire, _: wire.completion('{"tick', finish_reason="length"), "truncated", 1),
    "cut though it seems whole": (
        lambda wire, asked: wire.completion(
            json.dumps({"ticket": asked.ticket, "verdict": "A"}), finish_reason="length"
        ),
        "truncated",
        1,
    ),
    "content filter": (lambda wire, _: wire.completion("", finish_reason="content_filter"), "content_filter", 1),
    "content filter as 400": (lambda wire, _: wire.error(400, "blocked", "content_filter"), "content_filter", 1),
    "unknown label": (lambda _, asked: asked.verdict("C"), "parse_error", 1),
    "half a surrogate pair for a label": (lambda _, asked: asked.verdict("\ud83d"), "parse_error", 1),
    "an error in half surrogates": (lambda wire, _: wire.error(413, "\ud83d too long"), "api_error", 1),
    "label in words": (lambda _, asked: asked.verdict("Both are good"), "parse_error", 1),
    "prompt too long": (lambda wire, _: wire.error(400, "too long", "context_length_exceeded"), "api_error", 1),
    "500 for ever": (lambda wire, _: wire.error(500, "oops"), "api_error", 6),
    "429 for ever": (lambda wire, _: wire.error(429, "slow down", retry_after="300"), "budget", 5),
    "Retry-After beyond patience": (lambda wire, _: wire.error(429, "later", retry_after="86400"), "budget", 1),
    "an answer to another question": (
        lambda wire, _: wire.completion('{"ticket": "0123456789ab", "reason": "", "verdict": "A"}'),
        "api_error",
        3,
    ),
    "no ticket": (lambda wire, _: wire.completion('{"verdict": "A"}'), "parse_error", 1),
    "something else for a ticket": (
        lambda wire, _: wire.completion('{"ticket": "A", "verdict": "A"}'),
        "parse_error",
        1,
    ),
}


@pytest.mark.parametrize("fault", LASTING)
def test_a_fault_that_lasts_leaves_its_pairs_unscored_and_touches_no_other(
    fault, run_dir, server, wire, judge_it, stored_pairs
):
    reply, status, attempts = LASTING[fault]
    always_for_one(server, wire, lambda asked: reply(wire, asked))
    judged = judge_it(run_dir, limits=JobLimits(concurrency=1))
    pairs = stored_pairs(judged)
    # One prompt of six: 3 pairs of 18, 6 verdicts of 36.
    assert statuses(pairs) == {"ok": CALLS - 6, status: 6}
    assert [pair.prompt_id for pair in pairs if pair.score is None] == ["p3"] * 3
    assert all(
        verdict.winner is None and verdict.reason for pair in pairs if pair.score is None for verdict in pair.verdicts
    )
    calls = collections.Counter(asked.ticket for asked in server.asked if "story 3" in asked.user)
    assert list(calls.values()) == [attempts] * 6
    assert judged.unscored_share == 3 / 18
    with pytest.raises(UnscoredError, match=rf"16\.7 %.*6 {status} verdicts"):
        check_unscored(judged, max_unscored=0.02)
    check_unscored(judged, max_unscored=0.2)
    # Again with a server that works: what the judge itself said is not asked again, what failed is.
    server.behave, before = wire.longer, len(server.asked)
    again = stored_pairs(judge_it(run_dir))
    failed = status in ("api_error", "budget")
    assert len(server.asked) - before == (6 if failed else 0)
    assert again == pairs if not failed else statuses(again) == {"ok": CALLS}


def test_unscored_answers_are_asked_again_when_that_is_wanted(run_dir, server, wire, judge_it, stored_pairs):
    always_for_one(server, wire, lambda asked: asked.verdict("C"))
    judge_it(run_dir)
    server.behave, before = wire.longer, len(server.asked)
    assert statuses(stored_pairs(judge_it(run_dir, limits=JobLimits(ask_again=True)))) == {"ok": CALLS}
    assert len(server.asked) - before == 6
    judge_it(run_dir)
    assert len(server.asked) - before == 6


def test_answers_that_were_swapped_on_the_way_are_noticed(run_dir, server, wire, judge_it, stored_pairs):
    held = []

    def behave(asked):
        held.append(asked)
        return wire.longer(held[-2]) if asked.number == 7 else wire.longer(asked)

    server.behave = behave
    assert statuses(stored_pairs(judge_it(run_dir))) == {"ok": CALLS}
    assert len(server.asked) == CALLS + 1


TERMINAL = {
    "wrong key": (401, "Incorrect API key provided: sk-secr***7890", "invalid_api_key", "set OPENAI_API_KEY"),
    "key without the right": (403, "not allowed", "", "check what it is allowed to use"),
    "no such model": (404, "model does not exist", "model_not_found", "check --judge and --base-url"),
    "quota": (429, "You exceeded your current quota", "insufficient_quota", "add credit or raise its limit"),
    "no money": (402, "Payment required", "", "add credit"),
    "bad request": (400, "messages: wrong", "invalid_value", "check --judge and --max-tokens"),
}


@pytest.mark.parametrize("fault", TERMINAL)
def test_an_error_that_concerns_every_question_stops_at_once_and_loses_nothing(
    fault, run_dir, server, wire, judge_it, stored_pairs, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1234567890")
    status, message, code, remedy = TERMINAL[fault]
    server.behave = lambda asked: wire.longer(asked) if asked.number <= 20 else wire.error(status, message, code)
    with pytest.raises(JudgeError, match=remedy) as caught:
        judge_it(run_dir)
    assert "20 of 36 answers are stored; the same command goes on from there" in str(caught.value)
    assert "secr" not in str(caught.value)
    assert len(server.asked) <= 20 + 4  # at most those under way, one each
    assert server.keys == {"sk-secret-1234567890"}
    server.behave, asked = wire.longer, set(server.tickets[:20])
    before = len(server.asked)
    assert statuses(stored_pairs(judge_it(run_dir))) == {"ok": CALLS}
    assert len(server.asked) - before == CALLS - 20
    assert not asked & set(server.tickets[before:])


def test_an_error_in_a_body_with_status_200_shows_no_key(run_dir, server, wire, judge_it, stored_pairs, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "hexadecimal-0123456789")
    always_for_one(server, wire, lambda _: wire.Reply(body=b'{"error": "wrong: hexadecimal-0123456789 sk-secret99"}'))
    (reason,) = {verdict.reason for pair in stored_pairs(judge_it(run_dir)) for verdict in pair.verdicts} - {"because"}
    assert reason == "given up after 6 attempts; last: the body is no chat completion: wrong: *** ***"


def test_a_wrong_key_costs_one_call(run_dir, server, wire, judge_it):
    server.behave = lambda _: wire.error(401, "no")
    with pytest.raises(JudgeError, match="0 of 36 answers are stored"):
        judge_it(run_dir, limits=JobLimits(concurrency=32))
    assert len(server.asked) == 1


def test_a_server_that_is_down_stops_the_job(run_dir, server, wire, judge_it):
    server.behave = lambda asked: wire.longer(asked) if asked.number <= 10 else wire.error(500, "down")
    with pytest.raises(JudgeError, match=r"5 questions in a row had no answer.*10 of 36 answers are stored"):
        judge_it(run_dir, patience=Patience(failures_in_a_row=5))


def test_no_server_at_all_is_named(run_dir, server, judge_it):
    server.close()
    server.close = lambda: None
    with pytest.raises(JudgeError, match=r"questions in a row had no answer.*connection failed \(Connect"):
        judge_it(run_dir, patience=Patience(failures_in_a_row=3))


@pytest.mark.parametrize(
    ("message", "left_out"),
    [
        ("'response_format' of type 'json_schema' is not supported with this model.", {"response_format"}),
        ("Unsupported parameter: 'max_completion_tokens'", {"max_completion_tokens"}),
        ("Unsupported value: 'temperature' does not support 0 with this model.", {"temperature"}),
    ],
)
def test_what_the_server_does_not_know_is_left_out(message, left_out, run_dir, server, wire, judge_it, stored_pairs):
    (name,) = left_out
    server.behave = lambda asked: wire.error(400, message) if name in asked.body else wire.longer(asked)
    pairs = stored_pairs(judge_it(run_dir))
    assert statuses(pairs) == {"ok": CALLS}
    assert len(server.asked) == CALLS + 1
    paths = {verdict.path for pair in pairs for verdict in pair.verdicts}
    assert paths == {"pattern" if name == "response_format" else "structured"}


def test_money_is_bounded(run_dir, server, wire, judge_it, stored_pairs):
    from marl_bench.judging.costs import Price

    # 100 + 10 tokens a call at 100 and 1,000 dollars a million: 2 cents; after 10 calls 20 cents are spent.
    judged = judge_it(run_dir, price=Price(100.0, 1000.0, "test"), limits=JobLimits(concurrency=1, max_cost=0.2))
    assert len(server.asked) == 10
    assert judged.tally.cost == pytest.approx(0.2)
    assert statuses(stored_pairs(judged)) == {"ok": 10, "budget": 26}
    judge_it(run_dir, price=Price(100.0, 1000.0, "test"))
    assert len(server.asked) == CALLS


def test_a_limit_of_nothing_asks_nothing(run_dir, server, judge_it, stored_pairs):
    from marl_bench.judging.costs import Price

    judged = judge_it(run_dir, price=Price(100.0, 1000.0, "test"), limits=JobLimits(max_cost=0.0))
    assert server.asked == []
    assert statuses(stored_pairs(judged)) == {"budget": CALLS}


def test_what_another_process_stored_meanwhile_costs_this_one_nothing(run_dir, server, wire, judge_it):
    from marl_bench.judging.answers import Answer
    from marl_bench.judging.cache import AnswerCache
    from marl_bench.judging.costs import Price
    from marl_bench.judging.plan import JudgeOptions, plan_judging
    from marl_bench.plugins import Registry

    price = Price(100.0, 1000.0, "test")
    plan = plan_judging([run_dir], JudgeOptions("openai:judge-1", own_server=True, price=price), Registry())

    def behave(asked):
        if asked.number == 1:
            with AnswerCache(plan.cache) as cache:
                for key in list(plan.questions())[-10:]:
                    cache.put(key, Answer("ok", "A", prompt_tokens=100, completion_tokens=10))
        return wire.longer(asked)

    server.behave = behave
    judged = judge_it(run_dir, price=price)
    # 26 calls of 100 tokens at 100 and 10 at 1,000 dollars a million: 2 cents each.
    assert len(server.asked) == judged.tally.answered == 26
    assert judged.tally.stored == 10
    assert judged.tally.cost == pytest.approx(0.52)


def test_no_more_questions_are_under_way_than_allowed(run_dir, server, wire, judge_it):
    server.behave = lambda asked: wire.Reply(body=wire.longer(asked).body, delay=0.02)
    judge_it(run_dir, limits=JobLimits(concurrency=3))
    assert server.most_at_a_time == 3


def test_the_same_answers_give_the_same_bytes(run_dir, server, wire, judge_it):
    first = judge_it(run_dir).folders[0]
    content = {path.name: path.read_bytes() for path in first.iterdir()}
    calls = len(server.asked)
    second = judge_it(run_dir, limits=JobLimits(concurrency=1)).folders[0]
    assert {path.name: path.read_bytes() for path in second.iterdir()} == content
    assert len(server.asked) == calls


def test_the_same_judgement_is_not_made_twice_at_a_time(run_dir, judge_it):
    from filelock import FileLock

    from marl_bench.errors import RunFolderError

    (run_dir.root / "judgements").mkdir()
    with (
        FileLock(run_dir.root / "judgements" / ".judge-1.lock"),
        pytest.raises(RunFolderError, match="another marl-bench"),
    ):
        judge_it(run_dir)


def test_the_same_questions_are_not_asked_under_two_names_at_a_time(run_dir, server, wire, judge_it):
    from marl_bench.errors import RunFolderError

    refused = []

    def behave(asked):
        if asked.number == 1:
            with pytest.raises(
                RunFolderError, match="another marl-bench is asking this judge about this run"
            ) as caught:
                judge_it(run_dir, protocol="official")
            refused.append(caught.value)
        return wire.longer(asked)

    server.behave = behave
    judge_it(run_dir)
    assert len(refused) == 1
    assert len(server.asked) == CALLS
    judge_it(run_dir, protocol="official")
    assert len(server.asked) == CALLS  # one order of each pair, all of them stored


def test_a_server_that_asks_for_no_time_over_and_over_is_given_more_and_more(run_dir, server, wire, clock, judge_it):
    server.behave = lambda asked: wire.error(429, "no", retry_after="0") if asked.number <= 8 else wire.longer(asked)
    waits = []
    judge_it(run_dir, limits=JobLimits(concurrency=1), on_wait=lambda seconds, why: waits.append(seconds))
    assert waits == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
