"""Answers on disk."""

import sqlite3
import subprocess
import sys

import pytest

from marl_bench.errors import RecordError
from marl_bench.judging.answers import Answer
from marl_bench.judging.cache import AnswerCache

OK = Answer("ok", "A", "because ünïcode", "structured", "m", 10, 2)


def test_an_answer_comes_back_as_it_was_and_the_first_one_stays(tmp_path):
    with AnswerCache(tmp_path / "a" / "answers.sqlite") as cache:
        cache.put("k", OK)
        cache.put("k", Answer("tie", "tie"))
        assert cache.get("k") == OK
        assert cache.get("other") is None
        cache.put("k", Answer("tie", "tie"), replace=True)
    with AnswerCache(tmp_path / "a" / "answers.sqlite") as cache:
        assert cache.get_all(["k", "other", *map(str, range(2000))]) == {"k": Answer("tie", "tie")}


@pytest.mark.parametrize("status", ["api_error", "budget"])
def test_what_the_judge_did_not_answer_is_not_stored(status, tmp_path):
    with AnswerCache(tmp_path / "answers.sqlite") as cache:
        with pytest.raises(ValueError, match="no answer of a judge"):
            cache.put("k", Answer(status))
        assert cache.get("k") is None


def test_two_processes_lose_nothing(tmp_path):
    path = tmp_path / "answers.sqlite"
    code = (
        "import sys; from pathlib import Path; from marl_bench.judging.cache import AnswerCache; from marl_bench.judging.answers import Answer\n"
        "with AnswerCache(Path(sys.argv[1])) as cache:\n"
        "    for number in range(200): cache.put(f'{sys.argv[2]}{number % 150}', Answer('ok', 'A', sys.argv[2]))\n"
        "    for number in range(200): cache.put(f'both{number}', Answer('ok', 'A', sys.argv[2]))\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "xy"]
    assert [process.wait(60) for process in running] == [0, 0]
    with AnswerCache(path) as cache:
        found = cache.get_all([f"{name}{number}" for name in ("x", "y", "both") for number in range(200)])
    assert len(found) == 150 + 150 + 200


def test_a_file_with_a_damaged_page_is_named(tmp_path):
    path = tmp_path / "answers.sqlite"
    with AnswerCache(path) as cache:
        for number in range(300):
            cache.put(f"k{number}", Answer("ok", "A", "x" * 500))
    content = bytearray(path.read_bytes())
    content[8192:81920] = b"\xff" * (81920 - 8192)
    path.write_bytes(content)
    with AnswerCache(path) as cache:
        with pytest.raises(RecordError, match=r"answers\.sqlite: cannot be read .*choose another --cache"):
            cache.get_all([f"k{number}" for number in range(300)])
        with pytest.raises(RecordError, match=r"answers\.sqlite: an answer cannot be stored .*choose another --cache"):
            for number in range(300):
                cache.put(f"q{number}", OK)


def test_another_file_or_layout_is_refused(tmp_path):
    path = tmp_path / "answers.sqlite"
    path.write_text("this is no database, but long enough to be taken for one. " * 20)
    with pytest.raises(RecordError, match="no cache of answers"):
        AnswerCache(path)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as database:
        database.execute("PRAGMA user_version=7")
    database.close()
    with pytest.raises(RecordError, match="layout 7"):
        AnswerCache(other)
    with AnswerCache(tmp_path / "good.sqlite") as cache:
        cache.put("k", OK)
    with sqlite3.connect(tmp_path / "good.sqlite") as database:
        database.execute("UPDATE answers SET answer = '{\"no\": 1}'")
    database.close()
    with AnswerCache(tmp_path / "good.sqlite") as cache, pytest.raises(RecordError, match="the answer k is damaged"):
        cache.get("k")
