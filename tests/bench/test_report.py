"""The benchmark of reports: both contenders find the same, and every part really runs; no test looks at a time."""

import json

import pytest

from marl_bench.bench.peak_memory import peak_mebibytes
from marl_bench.bench.report import (
    Memory,
    ReportBench,
    ReportSize,
    Timing,
    as_json,
    bench_report,
    by_columns,
    by_objects,
    tables,
    write_run,
)


def test_columns_and_objects_find_the_same_differences(tmp_path):
    runs = [write_run(tmp_path / name, samples=160, seeds=2, seed=place) for place, name in enumerate("ab")]
    objects, columns = by_objects(runs), by_columns(runs)
    assert objects.keys() == columns.keys()
    assert len(objects) == 4 * 2 * 8
    assert columns == pytest.approx(objects)
    assert any(objects.values())


def test_every_part_runs(tmp_path):
    found = bench_report(ReportSize(samples=160, rounds=1, memory_samples=400))
    assert [len(one.seconds) for one in (*found.verbs, *found.reading)] == [1, 1, 1, 1]
    assert [one.samples for one in found.memory] == [0, 400, 400]
    assert all(one.mebibytes > 1 for one in found.memory)
    json.dumps(as_json(found), allow_nan=False)


def test_the_ratio_is_that_of_the_medians():
    reading = [Timing("objects", [4.0, 2.0, 3.0]), Timing("columns", [1.0, 1.5, 9.0])]
    found = ReportBench(ReportSize(), [], reading, [Memory("report", 7, 12.3, 1.0)])
    assert [row[1:] for row in tables(found)[1].rows] == [["3.000", "1.00 x"], ["1.500", "2.00 x"]]
    assert tables(found)[2].rows == [["report", "7", "12", "1.0"]]


def test_a_peak_never_falls():
    before = peak_mebibytes()
    block = bytearray(64 * 1024 * 1024)
    block[::4096] = b"x" * len(block[::4096])
    assert peak_mebibytes() >= before
    del block
    assert peak_mebibytes() >= before
