"""The benchmark of running programs: its arithmetic, and that every contender really runs; no test looks at a time."""

import json

import pytest

from marl_bench.bench.execution import (
    HUMAN_EVAL,
    Contender,
    ExecutionResult,
    ExecutionSize,
    as_json,
    bench_execution,
    tables,
)


@pytest.fixture(scope="module")
def result():
    return bench_execution(ExecutionSize(workers=1, programs=2, rounds=2, endurance=8))


def test_every_contender_runs_in_every_round(result):
    names = [(found.name, found.work) for found in result.contenders]
    assert (HUMAN_EVAL, "HumanEval") in names
    assert len([name for name, _ in names if name.endswith("isolation")]) == 2
    assert {work for _, work in names} == {"HumanEval", "script", "nothing"}
    assert all(len(found.rates) == 2 and min(found.rates) > 0 for found in result.contenders)


def test_memory_is_read_along_the_way(result):
    assert sorted(result.memory_mib) == [1, 2, 4, 6, 8]
    assert all(memory > 1 for memory in result.memory_mib.values())


def test_the_record_is_json_and_names_no_host(result):
    text = json.dumps(as_json(result))
    assert "rates" in text and "python" in text


def test_ratios_are_of_medians():
    """Medians 30 and 300 programs a second: ten times."""
    contenders = [Contender(HUMAN_EVAL, "HumanEval", [20, 30, 90]), Contender("x", "script", [100, 300, 301])]
    [table] = tables(ExecutionResult(ExecutionSize(), "full (namespaces)", contenders, {}))
    assert table.rows == [
        [HUMAN_EVAL, "HumanEval", "30", "20", "90", "1.0"],
        ["x", "script", "300", "100", "301", "10.0"],
    ]


def test_endurance_is_a_table_of_its_own():
    result = ExecutionResult(
        ExecutionSize(), "full", [Contender(HUMAN_EVAL, "HumanEval", [1.0])], {1000: 40.04, 10: 40.0}
    )
    assert tables(result)[1].rows == [["10", "40.0"], ["1,000", "40.0"]]
