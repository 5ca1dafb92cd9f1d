"""Batch jobs: submitted once whatever happens, collected however they end, and what is missing is asked by the judge alone."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from marl_bench.cli.main import main
from marl_bench.errors import JudgeError, RecordError, RunFolderError
from marl_bench.judge_batches import collect_jobs, jobs_folder, open_service, submit, wait_for_jobs, what_to_submit
from marl_bench.judgements import judgement_folders, read_pairs
from marl_bench.judging.answers import Answer
from marl_bench.judging.batch_jobs import BatchFolder, BatchRequest, prepare
from marl_bench.judging.batch_service import BatchService
from marl_bench.judging.cache import AnswerCache
from marl_bench.judging.costs import Price
from marl_bench.judging.plan import JudgeOptions, plan_judging


@pytest.fixture(scope="module")
def parts():
    """The module with the server and its lines."""
    name = "batch_server"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def batches(parts, monkeypatch):
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)
    found = parts.BatchServer()
    yield found
    found.close()


@pytest.fixture
def job(batches, run_dir, registry):
    """Submits and collects the run's questions: 3 comparisons of 4 pairs, in both orders."""
    return Job(batches, run_dir.root, registry)


class Job:
    def __init__(self, server, root, registry):
        from openai import OpenAI

        self.plan = plan_judging([_run_dir(root)], JudgeOptions("openai:judge-1", own_server=True, pairs=4), registry)
        self.folder, self.root = jobs_folder(root, self.plan.name), root
        client = OpenAI(api_key="sk-secret-key", base_url=server.url, max_retries=0)
        self.service = BatchService(client, pause_seconds=0.01)

    def submit(self, **limits):
        return submit(self.plan, self.folder, self.service, listener=lambda *_: None, **limits)

    def collect(self):
        [found] = collect_jobs(self.root, self.service, name=None, cache=None, listener=lambda *_: None)
        return found

    def stored(self):
        with AnswerCache(self.plan.cache) as cache:
            return cache.get_all(self.plan.questions())


def _run_dir(root):
    from marl_bench.run_dir import RunDir

    return RunDir(root)


# The way through


def test_a_batch_answers_what_the_judge_would_have_asked(job, batches, judge_it, server):
    questions = job.plan.questions()
    [submitted] = job.submit()
    assert sorted(batches.asked) == sorted(questions)
    assert (submitted.requests, submitted.status) == (len(questions), "validating")
    [collected] = job.collect().jobs
    assert collected.account["answered"] == len(questions)
    judged = judge_it(_run_dir(job.root), pairs=4)
    assert (judged.attempts, server.asked) == (0, [])  # nothing was left to ask
    for pair in read_pairs(judgement_folders(job.root)[0]):
        gap = pair.arm_words - pair.reference_words
        assert pair.score == (0.5 if gap == 0 else float(gap > 0))


def test_the_requests_are_those_of_single_calls(job, batches):
    job.submit()
    [batch] = batches.batches.values()
    for row in batches.requests(batch):
        assert (row["method"], row["url"]) == ("POST", "/v1/chat/completions")
        assert row["body"]["model"] == "judge-1"
        assert len(row["custom_id"]) <= 64
    assert (batch["endpoint"], batch["completion_window"]) == ("/v1/chat/completions", "24h")


def test_answers_of_a_batch_cost_half(job):
    job.submit()
    job.collect()
    count = len(job.plan.questions())
    # 100 tokens at 3 and 10 tokens at 30 dollars a million, halved: 0.0003 an answer.
    assert Price(3, 30, "test").of_answers(job.stored().values()) == pytest.approx(count * 0.0003)
    assert Price(3, 30, "test").of_answers(
        [Answer("ok", "A", prompt_tokens=100, completion_tokens=10)]
    ) == pytest.approx(0.0006)


def test_submitting_again_sends_nothing_twice(job, batches):
    job.submit()
    job.submit()
    assert len(batches.batches) == 1
    todo = what_to_submit(job.plan, job.folder)
    assert (len(todo.questions), todo.stored, todo.under_way) == (0, 0, len(job.plan.questions()))
    job.collect()
    job.submit()
    assert len(batches.batches) == 1


def test_jobs_are_split_at_the_limits_of_the_api(tmp_path):
    requests = [BatchRequest(f"id{number}", "t", {"text": "ü" * number}) for number in range(7)]
    sizes = [len(one.line()) for one in requests]
    by_count = prepare(BatchFolder(tmp_path / "a"), requests, max_requests=3)
    assert [one.requests for one in by_count] == [3, 3, 1]
    limit = sizes[0] + sizes[1] + sizes[2]
    by_size = prepare(BatchFolder(tmp_path / "b"), requests, max_bytes=limit)
    files = [BatchFolder(tmp_path / "b").path(one.key, "requests") for one in by_size]
    assert all(path.stat().st_size <= limit for path in files)
    assert by_size[0].requests == 3
    lines = [json.loads(line)["custom_id"] for path in files for line in path.read_text().splitlines()]
    assert lines == [one.id for one in requests]


def test_several_jobs_are_collected_as_they_end(job, batches):
    job.submit(max_requests=10)
    assert [one.requests for one in job.folder.jobs()] == [10, 10, 4]
    batches.statuses = ["in_progress", "finalizing"]
    found = job.collect()
    assert [one.status for one in found.jobs] == ["in_progress", "finalizing", "completed"]
    assert (found.waiting, len(job.stored())) == (2, 4)
    looks = wait_for_jobs(lambda: [job.collect()], every_seconds=0.01)
    assert (looks[0].waiting, len(job.stored())) == (0, 24)


# Endings


def end_with(parts, **changes):
    def end(requests):
        lines = [parts.verdict(one) for one in requests]
        return parts.Ending(**{name: change(lines) if callable(change) else change for name, change in changes.items()})

    return end


def test_lines_in_another_order_missing_repeated_damaged_or_unknown(job, batches, parts):
    def garbled(lines):
        wrong_ticket = parts.answer(lines[5]["custom_id"], '{"ticket": "000000000000", "reason": "", "verdict": "A"}')
        other = parts.answer(
            lines[3]["custom_id"], lines[3]["response"]["body"]["choices"][0]["message"]["content"] + " "
        )
        failed = {**lines[4], "response": {"status_code": 0, "request_id": "", "body": None}}
        rest = lines[6:]
        return [
            *reversed(rest),
            rest[0],  # repeated
            lines[3],
            other,  # conflicts with it
            failed,
            wrong_ticket,
            parts.answer("nobody asked", "{}"),
            '{"custom_id": "cut',
            "[1]",
            "",
        ]  # and lines 0 to 2 are missing

    batches.end = end_with(parts, output=garbled)
    job.submit()
    [done] = job.collect().jobs
    assert dict(done.account) == {
        "answered": 18,
        "unusable": 1,
        "errors": 1,
        "missing": 3,
        "conflicting": 1,
        "repeated": 1,
        "unknown": 1,
        "damaged": 2,
    }
    assert len(job.stored()) == 18


def test_what_a_batch_left_open_is_asked_by_the_judge_and_nothing_else(job, batches, parts, judge_it, server):
    def partial(lines):
        return lines[:15]

    batches.end = end_with(
        parts,
        status="expired",
        output=partial,
        errors=lambda lines: [parts.failure(one["custom_id"], "batch_expired") for one in lines[15:]],
    )
    job.submit()
    [done] = job.collect().jobs
    assert (done.status, done.account["answered"], done.account["errors"]) == ("expired", 15, 9)
    todo = what_to_submit(job.plan, job.folder)
    assert (len(todo.questions), todo.stored, todo.under_way) == (9, 15, 0)
    judged = judge_it(_run_dir(job.root), pairs=4)
    assert (judged.attempts, len(server.asked)) == (9, 9)


@pytest.mark.parametrize("status", ["failed", "cancelled", "completed"])
def test_a_batch_without_any_file_leaves_all_to_be_asked(job, batches, parts, status):
    batches.end = end_with(parts, status=status, problem="Enqueued token limit reached")
    job.submit()
    [done] = job.collect().jobs
    assert (done.status, done.account["missing"], done.problem) == (status, 24, "Enqueued token limit reached")
    batches.end = end_with(parts, output=lambda lines: lines)
    job.submit()
    assert len(batches.batches) == 2
    job.collect()
    assert len(job.stored()) == 24


def test_refusals_and_verdicts_that_cannot_be_read_are_stored_as_such(job, batches, parts):
    def silent(lines):
        return [parts.answer(one["custom_id"], "") for one in lines]

    batches.end = end_with(parts, output=silent)
    job.submit()
    job.collect()
    assert {answer.status for answer in job.stored().values()} == {"parse_error"}


# Accidents


@pytest.mark.parametrize("how", ["drop", "500", "text"])
@pytest.mark.parametrize("hidden", [0, 1])
def test_a_batch_whose_creation_was_not_answered_is_found_and_not_made_again(job, batches, how, hidden):
    batches.lose = [f"POST batches {how}"]
    # The first list, before the creation, is empty anyway; the next may lag behind.
    batches.hidden_lists = 2 + hidden
    [done] = job.submit()
    assert (done.batch_id, len(batches.batches)) == ("batch-0", 1)


@pytest.mark.parametrize("moment", ["after_upload", "after_create"])
def test_a_kill_between_deed_and_note_submits_nothing_twice(job, batches, moment, tmp_path):
    killed = []

    def kill():
        if not killed:
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

    setattr(batches, moment, kill)
    command = [sys.executable, "-m", "marl_bench", "judge", "submit", str(job.root), "--judge", "openai:judge-1"]
    process = subprocess.Popen(
        [*command, "--base-url", batches.url, "--pairs", "4", "--quiet"], stdout=subprocess.DEVNULL
    )
    assert process.wait(60) == -signal.SIGKILL
    job.submit()
    assert (len(batches.batches), sorted(batches.asked)) == (1, sorted(job.plan.questions()))
    assert sum(call == "POST files" for call in batches.calls) == 1
    job.collect()
    assert len(job.stored()) == 24


def test_a_server_that_refuses_keeps_the_jobs_for_the_next_call_and_shows_no_key(job, batches):
    batches.refuse = (401, "Incorrect API key provided: sk-secret-key")
    with pytest.raises(JudgeError, match="set OPENAI_API_KEY to a valid one") as raised:
        job.submit()
    assert "sk-secret" not in str(raised.value)
    assert [one.batch_id for one in job.folder.jobs()] == [""]
    batches.refuse = None
    assert [one.batch_id for one in job.submit()] == ["batch-0"]


def test_a_server_without_batches_says_so(job, batches):
    batches.refuse = (404, "Not Found")
    with pytest.raises(JudgeError, match=r"batches: status 404: .*--base-url"):
        job.submit()


def test_a_collection_that_breaks_off_goes_on(job, batches):
    job.submit()
    [open_job] = job.folder.jobs()
    batches.lose = ["GET files/file-1/content drop"]
    with pytest.raises(JudgeError, match="connection failed"):
        job.collect()
    assert job.folder.jobs() == [open_job]
    assert not job.folder.path(open_job.key, "output").exists()
    assert job.collect().jobs[0].account["answered"] == 24


def test_collecting_what_was_never_submitted_is_an_error(job):
    with pytest.raises(RecordError, match="no batch jobs there; submit some with marl-bench judge submit"):
        collect_jobs(job.root, job.service, name=None, cache=None, listener=lambda *_: None)


def test_two_at_a_time_is_refused(job):
    with job.folder.held(), pytest.raises(RunFolderError, match="another marl-bench submits or collects"):
        job.submit()


def test_a_damaged_list_of_jobs_is_an_error_and_no_second_submission(job, batches):
    job.submit()
    (job.folder.folder / "jobs.json").write_text("[{}]")
    with pytest.raises(RecordError, match="no list of batch jobs"):
        job.submit()
    assert len(batches.batches) == 1


def test_a_service_needs_a_key_or_a_server(batches):
    from marl_bench.errors import ConfigError

    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        open_service(None)


def test_the_verbs_submit_collect_and_judge_hand_over_to_each_other(job, batches, parts, server, capsys):
    options = ["--judge", "openai:judge-1", "--pairs", "4", "--quiet"]
    assert _ended("judge", "submit", job.root, *options, "--base-url", batches.url) == 0
    assert "Batch batch-0: 24 requests, validating" in capsys.readouterr().out
    batches.statuses = ["in_progress"]
    assert _ended("judge", "collect", job.root, "--base-url", batches.url, "--quiet") == 0
    assert "Not all batches have ended" in capsys.readouterr().out
    batches.end = end_with(parts, output=lambda lines: lines[:20])
    assert _ended("judge", job.root, *options, "--base-url", server.url, "--dry-run") == 0
    assert _ended("judge", "collect", job.root, "--base-url", batches.url, "--wait", "--every", "0.1", "--quiet") == 0
    assert "batch batch-0: completed, 20 of 24 answered, 4 never answered" in capsys.readouterr().out
    assert _ended("judge", job.root, *options, "--base-url", server.url) == 0
    assert len(server.asked) == 4
    capsys.readouterr()
    assert _ended("judge", "submit", job.root, *options, "--base-url", batches.url) == 0
    assert "Nothing is under way. Next: the same marl-bench judge command" in capsys.readouterr().out


def test_submit_names_the_command_that_finds_the_answers_again(job, batches, tmp_path, capsys):
    places = ["--base-url", batches.url, "--cache", tmp_path / "kept.sqlite"]
    assert _ended("judge", "submit", job.root, "--judge", "openai:judge-1", "--pairs", "4", "--quiet", *places) == 0
    said = capsys.readouterr().out
    assert f"Next: marl-bench judge collect {job.root} {' '.join(map(str, places))} --wait" in said


def test_a_judge_that_would_ask_what_is_under_way_warns(job, batches, server, capsys):
    job.submit()
    _ended("judge", job.root, "--judge", "openai:judge-1", "--pairs", "4", "--quiet", "--base-url", server.url)
    assert "24 of the questions stand in batch jobs that are not collected yet" in capsys.readouterr().err


def _ended(*arguments):
    """Runs the command line in this process and returns its exit status."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return ended.code or 0
