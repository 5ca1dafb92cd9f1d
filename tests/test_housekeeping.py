"""What `marl-bench clean` lists and removes, and what it leaves alone."""

import os
import time

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from marl_bench.cli.main import app
from marl_bench.errors import RecordError, RunFolderError
from marl_bench.housekeeping import removables, remove
from marl_bench.records import RunRecord
from marl_bench.run_dir import CHECKPOINTS, RECORD, RunDir, write_json_atomically, write_text_atomically


@pytest.fixture
def run(tmp_path):
    """One finished and one unfinished cell, each with 2,000 bytes of checkpoints and 1,000 of weights; half a file of a killed process."""
    run = RunDir(tmp_path / "results" / "run")
    write_text_atomically(run.config, "config_hash: abc\n")
    for arm, status in (("done", "complete"), ("open", "running")):
        folder = run.cell(arm, 0)
        record = RunRecord("run", status, {}, {}, 0, "abc", {})
        write_json_atomically(folder / RECORD, record.to_json())
        for name, size in ((f"{CHECKPOINTS}/update-1/policy.pt", 2000), ("policy/model.safetensors", 1000)):
            path = folder / name
            path.parent.mkdir(parents=True)
            path.write_bytes(b"x" * size)
    (run.cell("open", 0) / ".record.json.k1ll3d").write_bytes(b"{")
    return run


def paths(items, run):
    return [(item.path.relative_to(run.root).as_posix(), item.size_bytes) for item in items]


def test_checkpoints_of_finished_cells_and_half_written_files_can_go(run):
    assert paths(removables([run.root.parent]), run) == [
        (f"cells/done-seed0/{CHECKPOINTS}", 2000),
        ("cells/open-seed0/.record.json.k1ll3d", 1),
    ]


def test_weights_go_on_request_and_only_those_of_finished_cells(run):
    assert ("cells/done-seed0/policy", 1000) in paths(removables([run.root], weights=True), run)
    assert not any("open-seed0/policy" in path for path, _ in paths(removables([run.root], weights=True), run))


def test_age_and_size_choose(run):
    old = time.time() - 3 * 86_400
    os.utime(run.cell("done", 0) / CHECKPOINTS / "update-1" / "policy.pt", (old, old))
    assert paths(removables([run.root], older_than_days=2), run) == [(f"cells/done-seed0/{CHECKPOINTS}", 2000)]
    assert paths(removables([run.root], larger_than_bytes=2001), run) == []


def test_the_verb_asks_and_removes_nothing_else(run):
    refused = CliRunner().invoke(app, ["clean", str(run.root)], input="n\n")
    assert refused.exit_code == 1
    assert len(removables([run.root])) == 2
    done = CliRunner().invoke(app, ["clean", str(run.root)], input="y\n")
    assert done.exit_code == 0, done.output
    left = sorted(path.relative_to(run.root).as_posix() for path in run.root.rglob("*") if path.is_file())
    assert [path for path in left if not path.startswith(".")] == [
        "cells/done-seed0/policy/model.safetensors",
        "cells/done-seed0/record.json",
        f"cells/open-seed0/{CHECKPOINTS}/update-1/policy.pt",
        "cells/open-seed0/policy/model.safetensors",
        "cells/open-seed0/record.json",
        "config.yaml",
    ]
    assert CliRunner().invoke(app, ["clean", str(run.root)]).output == "Nothing to remove.\n"


def test_an_experiment_that_another_process_works_in_is_left_alone(run):
    with FileLock(run.root / ".lock"):
        assert len(remove(removables([run.root]))) == 1
        found = CliRunner().invoke(app, ["clean", str(run.root), "--yes"])
        assert isinstance(found.exception, RunFolderError)
    assert len(removables([run.root])) == 2


def test_a_folder_without_experiments_is_an_error(tmp_path):
    with pytest.raises(RecordError, match="no experiment there"):
        removables([tmp_path])
    with pytest.raises(RecordError, match="no such folder"):
        removables([tmp_path / "missing"])
