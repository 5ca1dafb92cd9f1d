"""Samples as columns."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from marl_bench.errors import RecordError
from marl_bench.records import Cell, EvalSample, Response, RunRecord
from marl_bench.run_dir import StoredSamples
from marl_bench.sample_columns import columns_of_rows


def row(prompt, *, subset="", index=0, tokens=5, **metrics):
    response = Response(prompt, "text", tokens, True, index)
    return EvalSample(prompt, subset, f"prompt {prompt}", response, metrics).to_json()


def stored(path: Path, *lines: str) -> StoredSamples:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return StoredSamples(path)


def test_columns_hold_every_number_of_the_rows():
    found = columns_of_rows([row("b", subset="x", score=1.5), row("a", tokens=7, score=2.0)], where="here")
    assert (list(found.prompt_ids), list(found.subsets), len(found)) == (["b", "a"], ["x", ""], 2)
    assert found.token_counts.tolist() == [5, 7]
    assert found.metrics["score"].tolist() == [1.5, 2.0]
    assert found.prompt_checks.tolist() == [zlib.crc32(b"prompt b"), zlib.crc32(b"prompt a")]


def test_a_token_count_that_nobody_knows_is_no_zero():
    unknown = row("a") | {"token_count": None, "finished": None}
    found = columns_of_rows([unknown, row("b")], where="here")
    assert (found.token_counts.tolist(), found.finished.tolist()) == ([-1, 5], [False, True])


def test_a_prompt_counts_by_the_mean_of_its_scored_samples():
    rows = [
        row("a", index=0, score=1.0),
        row("b", score=None),
        row("a", index=1, score=4.0),
        row("a", index=2, score=None),
    ]
    # a: (1 + 4) / 2; b has no scored sample
    assert columns_of_rows(rows, where="here").prompt_means("score").tolist()[0] == 2.5
    assert np.isnan(columns_of_rows(rows, where="here").prompt_means("score")[1])


def test_a_metric_that_comes_late_or_ends_early_is_unscored_elsewhere():
    found = columns_of_rows([row("a", early=1.0), row("b"), row("c", late=3.0)], where="here")
    np.testing.assert_array_equal(found.metrics["early"], [1.0, np.nan, np.nan])
    np.testing.assert_array_equal(found.metrics["late"], [np.nan, np.nan, 3.0])
    assert np.isnan(found.prompt_means("unknown")).all()


def test_columns_of_stored_samples_equal_those_of_the_samples(tmp_path):
    rows = [row("a", score=1.0), row("ä 🙂", subset="s", score=None)]
    samples = stored(tmp_path / "samples.jsonl", *map(json.dumps, rows))
    record = RunRecord("e", "complete", {}, {}, 0, "", {})
    from_disk, from_memory = Cell(record, [], samples).columns, Cell(record, [], list(samples)).columns
    assert list(from_disk.prompt_ids) == list(from_memory.prompt_ids) == ["a", "ä 🙂"]
    np.testing.assert_array_equal(from_disk.metrics["score"], from_memory.metrics["score"])


def test_stored_samples_are_a_sequence(tmp_path):
    samples = stored(tmp_path / "samples.jsonl", *(json.dumps(row(name, score=1.0)) for name in "abc"))
    assert len(samples) == 3
    assert [sample.prompt_id for sample in samples[1:]] == ["b", "c"]
    assert (samples[-1].prompt_id, samples[0].prompt_id) == ("c", "a")
    with pytest.raises(IndexError):
        samples[3]
    assert not stored(tmp_path / "empty.jsonl")


@pytest.mark.parametrize("broken", [{"prompt_id": "b"}, {"prompt_id": "b", "prompt": "t", "metrics": 3}, [1, 2]])
def test_a_line_that_is_no_sample_is_named(tmp_path, broken):
    samples = stored(tmp_path / "samples.jsonl", json.dumps(row("a", score=1.0)), json.dumps(broken))
    with pytest.raises(RecordError, match=r"samples\.jsonl, line 2: no evaluated sample"):
        samples.columns()
    with pytest.raises(RecordError, match="line 2"):
        list(samples)


def test_a_cut_line_is_named(tmp_path):
    samples = stored(tmp_path / "samples.jsonl", json.dumps(row("a", score=1.0)), '{"prompt_id": "b", "resp')
    with pytest.raises(RecordError, match="line 2: not JSON"):
        samples.columns()


def test_a_number_that_is_text_is_named(tmp_path):
    samples = stored(tmp_path / "samples.jsonl", json.dumps(row("a", score="high")))
    with pytest.raises(RecordError, match="line 1"):
        samples.columns()
