"""Samples on disk survive a killed process and do not mix policies."""

import pytest

from marl_bench.errors import RecordError
from marl_bench.records import EvalSample, Response
from marl_bench.sweeps.store import SampleFile


def sample(prompt, index, text="text"):
    return EvalSample(prompt, "", "", Response(prompt, text, 1, True, index), {"score": 1.0})


def test_a_line_that_was_not_finished_is_cut_and_sampled_again(tmp_path):
    path = tmp_path / "t.jsonl"
    SampleFile(path, policy="p").append([sample("a", 0), sample("b", 0)])
    whole = path.read_bytes()
    for lost in (1, 5, 40):
        path.write_bytes(whole[:-lost])
        file = SampleFile(path, policy="p")
        assert ("a", 0) in file
        assert ("b", 0) not in file
        file.append([sample("a", 0), sample("b", 0)])
        assert path.read_bytes() == whole


def test_a_file_that_was_just_begun_is_begun_again(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"policy": "p')
    file = SampleFile(path, policy="p")
    file.append([sample("a", 0)])
    assert list(SampleFile(path, policy="p").samples(["a"], 1)["a"]) == [sample("a", 0)]


def test_samples_of_another_policy_are_refused(tmp_path):
    path = tmp_path / "t.jsonl"
    SampleFile(path, policy="p").append([sample("a", 0)])
    with pytest.raises(RecordError, match="another policy than the one there now; remove it"):
        SampleFile(path, policy="q")


def test_damage_in_the_middle_is_told_with_its_line(tmp_path):
    path = tmp_path / "t.jsonl"
    SampleFile(path, policy="p").append([sample("a", 0), sample("b", 0)])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{ no json\n" + lines[2])
    with pytest.raises(RecordError, match="line 2: not JSON"):
        SampleFile(path, policy="p")
