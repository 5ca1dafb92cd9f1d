"""Files of an experiment: atomic, owned, locked."""

import fcntl
import json
import threading

import pytest

from marl_bench import run_dir
from marl_bench.errors import RecordError, RunFolderError
from marl_bench.records import EvalSample, Response, RunRecord
from marl_bench.run_dir import (
    LOCK,
    WORKERS_LOCK,
    RunDir,
    append_jsonl,
    claim,
    digest_of_folder,
    folder_written_atomically,
    locked,
    make_writable,
    read_cells,
    read_jsonl,
    remove_leftovers,
    works_in,
    write_json_atomically,
    write_text_atomically,
)


def record(**changes):
    fields = {
        "experiment": "x",
        "status": "complete",
        "task": {"id": "tldr"},
        "arm": {"name": "sft"},
        "seed": 0,
        "config_hash": "abc",
        "digests": {},
    }
    return RunRecord(**(fields | changes))


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "a.json"
    write_json_atomically(path, {"old": 1})
    with pytest.raises(ValueError, match="Out of range float"):
        write_json_atomically(path, {"new": float("nan")})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "policy"
    with pytest.raises(KeyError), folder_written_atomically(target) as temporary:
        (temporary / "half").write_text("x")
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    for text in ("one", "two"):
        with folder_written_atomically(target) as temporary:
            (temporary / "file").write_text(text)
    assert (target / "file").read_text() == "two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["policy"]


def test_a_folder_of_another_configuration_is_refused(tmp_path):
    claim(RunDir(tmp_path / "run"), {"a": 1}, config_hash="one")
    claim(RunDir(tmp_path / "run"), {"a": 1}, config_hash="one")
    with pytest.raises(RunFolderError, match="belongs to another configuration"):
        claim(RunDir(tmp_path / "run"), {"a": 2}, config_hash="two")


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunFolderError, match="is not empty and holds no experiment"):
        claim(RunDir(tmp_path), {}, config_hash="one")
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError, match="cannot write there"):
        make_writable(RunDir(tmp_path / "file" / "run"))


def test_a_second_process_on_one_folder_is_refused(tmp_path):
    with (
        locked(RunDir(tmp_path)),
        pytest.raises(RunFolderError, match="another marl-bench is working"),
        locked(RunDir(tmp_path)),
    ):
        pass
    with locked(RunDir(tmp_path)):
        pass


def test_a_new_process_waits_for_the_workers_of_one_that_was_killed(tmp_path, monkeypatch):
    run = RunDir(tmp_path)
    with works_in(run):
        with monkeypatch.context() as patch:
            patch.setattr(run_dir, "_ORPHAN_SECONDS", 0.1)
            with (
                pytest.raises(RunFolderError, match="worker processes of a marl-bench that has ended still work"),
                locked(run),
            ):
                pass
        order = []

        def second():
            with locked(run):
                order.append("second")

        thread = threading.Thread(target=second)
        thread.start()
        order.append("worker ends")
    thread.join()
    assert order == ["worker ends", "second"]


def test_workers_of_one_process_work_side_by_side(tmp_path):
    run = RunDir(tmp_path)
    with (
        locked(run),
        works_in(run),
        works_in(run),
        (tmp_path / WORKERS_LOCK).open("a") as file,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_a_killed_write_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / ".policy.abc12").mkdir()
    (tmp_path / ".policy.abc12" / "half").write_text("x")
    (tmp_path / ".record.json.xyz").write_text("{")
    for name in (LOCK, WORKERS_LOCK, "record.json"):
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([LOCK, WORKERS_LOCK, "record.json"])


def test_records_and_samples_survive_the_disk(tmp_path):
    run = RunDir(tmp_path)
    claim(run, {}, config_hash="one")
    write_json_atomically(run.cell("sft", 0) / "record.json", record().to_json())
    sample = EvalSample("p", "", "text", Response("p", "är 🙂", 3, True), {"oracle": None, "kl": 0.1})
    append_jsonl(run.cell("sft", 0) / "samples.jsonl", sample.to_json())
    [cell] = read_cells(run)
    assert cell.record == record()
    assert list(cell.samples) == [sample]


def test_samples_of_unfinished_cells_are_not_read(tmp_path):
    run = RunDir(tmp_path)
    claim(run, {}, config_hash="one")
    write_json_atomically(run.cell("sft", 0) / "record.json", record(status="failed", error="x").to_json())
    write_text_atomically(run.cell("sft", 0) / "samples.jsonl", "half a li")
    assert read_cells(run)[0].samples == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, "schema version 99"),
        ({"surprise": 1}, "unknown field surprise"),
        ({"seed": ...}, "incomplete record"),
    ],
)
def test_records_of_another_layout_are_refused(tmp_path, change, message):
    data = record().to_json()
    for key, value in change.items():
        data.pop(key, None) if value is ... else data.update({key: value})
    with pytest.raises(RecordError, match=message):
        RunRecord.from_json(data, where="record.json")


def test_damaged_files_name_themselves(tmp_path):
    run = RunDir(tmp_path)
    with pytest.raises(RecordError, match="no experiment there"):
        read_cells(run)
    write_text_atomically(tmp_path / "x.jsonl", '{"a": 1}\n{"a"\n')
    with pytest.raises(RecordError, match=r"x.jsonl, line 2: not JSON"):
        list(read_jsonl(tmp_path / "x.jsonl"))


def test_the_digest_of_a_folder_sees_names_and_bytes(tmp_path):
    (tmp_path / "a").write_text("1")
    first = digest_of_folder(tmp_path)
    (tmp_path / "stage.json").write_text("ignored")
    assert digest_of_folder(tmp_path) == first
    (tmp_path / "a").write_text("2")
    second = digest_of_folder(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, digest_of_folder(tmp_path)}) == 3
