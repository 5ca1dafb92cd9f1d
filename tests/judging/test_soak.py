"""Kill -9 in the middle of a job, again and again: nothing is lost, nothing that was stored is asked twice."""

import collections
import random
import subprocess
import sys
import time

import pytest

from marl_bench.judging.cache import AnswerCache
from marl_bench.judging.plan import JudgeOptions, plan_judging
from marl_bench.plugins import Registry
from marl_bench.run_dir import RunDir

PAIRS, KILLS, CONCURRENCY = 500, 20, 8


def text(arm, seed, number):
    return f"{arm} {number} " + "word " * (1 + (7 * number + len(arm)) % 5)


def outputs(root):
    folder = root / "judgements" / "judge-1"
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())} if folder.exists() else {}


@pytest.mark.soak
def test_a_job_killed_at_twenty_random_points_ends_as_if_it_had_not_been(make_run, server, wire, capsys):
    arms = ("sft", "token_ppo")
    calm, killed = (make_run(PAIRS, text=text, arms=arms, name=name).root for name in ("calm", "killed"))
    server.behave = lambda asked: wire.Reply(body=wire.longer(asked).body, delay=0.02)
    command = [
        sys.executable,
        "-m",
        "marl_bench",
        "judge",
        "--judge",
        "openai:judge-1",
        "--base-url",
        server.url,
        "--quiet",
    ]
    command += ["--concurrency", str(CONCURRENCY), "--pairs", str(PAIRS)]
    subprocess.run([*command, str(calm)], check=True, capture_output=True)
    undisturbed = len(server.asked)
    plan = plan_judging([RunDir(killed)], JudgeOptions("openai:judge-1", own_server=True, pairs=PAIRS), Registry())
    tickets = {key: question.ticket for key, question in plan.questions().items()}
    assert undisturbed == len(tickets) == 2 * PAIRS

    rng, repeated_stored, points = random.Random(0), 0, []
    server.behave = lambda asked: wire.Reply(body=wire.longer(asked).body, delay=0.1)
    server.asked.clear()
    for goal in sorted(rng.sample(range(1, 2 * PAIRS), KILLS)):
        before = len(server.asked)
        stored = _stored(plan, tickets)
        process = subprocess.Popen([*command, str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(server.asked) < goal and process.poll() is None:
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -9, "the job ended before it could be killed"
        time.sleep(0.3)  # what was under way reaches the server
        repeated_stored += sum(asked.ticket in stored for asked in server.asked[before:])
        points.append(len(_stored(plan, tickets)))
    before, stored = len(server.asked), _stored(plan, tickets)
    server.behave = wire.longer
    subprocess.run([*command, str(killed)], check=True, capture_output=True)
    repeated_stored += sum(asked.ticket in stored for asked in server.asked[before:])

    asked = collections.Counter(server.tickets)
    twice = sum(asked.values()) - len(asked)
    with capsys.disabled():
        sys.stdout.write(
            f"\nkilled with {points} of {2 * PAIRS} answers stored; calls {sum(asked.values())}, of them repeated {twice}\n"
        )
    assert outputs(killed) == outputs(calm) != {}
    assert set(asked) == set(tickets.values())
    assert repeated_stored == 0
    assert twice <= KILLS * CONCURRENCY


def _stored(plan, tickets):
    if not plan.cache.exists():
        return set()
    with AnswerCache(plan.cache) as cache:
        return {tickets[key] for key in cache.get_all(tickets)}
