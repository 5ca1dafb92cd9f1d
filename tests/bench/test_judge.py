"""The benchmark of the judge: its arithmetic, and that every question is really answered; no test looks at a time."""

import json

import pytest

from marl_bench.bench.judge import JudgeResult, JudgeSize, as_json, bench_judge, tables


def test_every_question_is_asked_once_and_answered():
    result = bench_judge(JudgeSize(concurrency=4, milliseconds=5, questions=12, serial=2, rounds=2))
    assert len(result.rates) == len(result.serial_rates) == 2
    assert min(*result.rates, *result.serial_rates) > 0
    assert "speed_up" in json.dumps(as_json(result))


def test_shares_are_those_worked_by_hand():
    # 64 at a time, each 200 ms: 320 a second. Median rate 288 of 320; ratios to the loop 60, 48, 72.
    size = JudgeSize(concurrency=64, milliseconds=200, rounds=3)
    result = JudgeResult(size, [300.0, 240.0, 288.0], [5.0, 5.0, 4.0], [1.6, 3.2, 6.4])
    assert size.ideal == 320
    assert result.share_of_ideal == pytest.approx(0.9)
    assert result.speed_up == pytest.approx(60)
    (table,) = tables(result)
    assert [row[2] for row in table.rows] == ["90.0 %", "100.0 %", "100.0 %"]
    assert "Processor time: 1.00 ms a question" in table.note
