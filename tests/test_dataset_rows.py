"""Rows of folders: places in records, and an account of rows that cannot be used."""

import gzip
import json

import pytest

from marl_bench.dataset_rows import dataset_rows
from marl_bench.errors import DataError, RowError
from marl_bench.splits import split_rows, unseen_rows
from marl_bench.usable_rows import UnusableRows


def write(folder, count):
    folder.mkdir()
    (folder / "train.jsonl").write_text("".join(json.dumps({"n": number}) + "\n" for number in range(count)))
    return dataset_rows({"path": str(folder)}, source=f"data folder '{folder}'")


def refuse(*numbers):
    def check(row, *, split, where):
        if row["n"] in numbers:
            raise RowError(f"{where}: field n is {row['n']}; should be another.", reason=f"n_{row['n'] % 2}")
        return row["n"]

    return check


def test_places_name_folder_file_and_line_but_nothing_above_the_folder(tmp_path):
    places = [where for _, where, _ in write(tmp_path / "mine", 2)]
    assert places == [f"data folder 'mine', train (train.jsonl), line {line}" for line in (1, 2)]


@pytest.mark.parametrize("compressed", [False, True])
def test_a_line_that_is_no_json_is_named(tmp_path, compressed):
    text = b'{"n": 1}\n{"n": \n'
    path = tmp_path / ("train.jsonl.gz" if compressed else "train.jsonl")
    path.write_bytes(gzip.compress(text) if compressed else text)
    with pytest.raises(DataError, match=r"cannot be read .*train\.jsonl(\.gz)?, line 2: is no JSON"):
        list(dataset_rows({"path": str(tmp_path)}, source="mine"))


def test_unusable_rows_are_counted_and_the_first_of_each_reason_is_named(tmp_path):
    unusable = UnusableRows()
    kept = list(unusable.keep_usable(write(tmp_path / "mine", 40), refuse(3, 5, 8)))
    assert len(kept) == 37
    assert unusable.counts() == {"unusable_n_1": 2, "unusable_n_0": 1}
    first = "data folder 'mine', train (train.jsonl), line 4: field n is 3; should be another."
    assert unusable.notes()[0] == f"2 rows were left out; the first: {first}"
    unusable.check_share(source="mine")


def test_more_than_a_tenth_of_unusable_rows_stop_the_run(tmp_path):
    unusable = UnusableRows()
    list(unusable.keep_usable(write(tmp_path / "mine", 9), refuse(3)))
    with pytest.raises(DataError, match=r"mine: 1 of 9 rows cannot be used\. .*line 4: field n is 3"):
        unusable.check_share(source="mine")


def test_whole_groups_go_to_one_stage():
    groups = [f"g{number % 10}" for number in range(30)]
    stages = split_rows(groups, (0.2, 0.4), by_prompt=True, seed_text="seed")
    assert [len(stage) for stage in stages] == [6, 12, 12]
    assert sorted(row for stage in stages for row in stage) == list(range(30))
    found = [{groups[row] for row in stage} for stage in stages]
    assert [len(names) for names in found] == [2, 4, 4]
    assert not found[0] & found[1] | found[0] & found[2] | found[1] & found[2]


def test_rows_are_split_one_by_one_as_published():
    stages = split_rows(["same"] * 10, (0.2,), by_prompt=False, seed_text="seed")
    assert [len(stage) for stage in stages] == [2, 8]


def test_held_out_rows_that_share_a_key_with_training_are_seen():
    assert unseen_rows([{"a"}, {"b", "x"}, {"c"}], [{"x"}, {"c", "d"}]) == [0]
