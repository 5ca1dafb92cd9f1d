"""Files of pair labels: what values mean, and what is wrong where."""

import csv
import gzip
import json

import pytest

from marl_bench.errors import ConfigError, DataError, UnknownNameError
from marl_bench.judging.label_files import LabelFileOptions, read_label_file


def write(path, rows):
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def scores(path, *judges, **options):
    return [judge.scores for judge in read_label_file(path, LabelFileOptions(judges=judges, **options)).judges]


def test_the_usual_words_and_numbers_between_one_and_two(tmp_path):
    values = [1, "2", "Tie", "DRAW", "equal", 0, 1.25, "1.75", None, ""]
    path = write(tmp_path / "labels.jsonl", [{"j": value} for value in values])
    # A preference of 1.25 is nearer to the first response: a score of 0.75.
    assert scores(path, "j") == [{"1": 1.0, "2": 0.0, "3": 0.5, "4": 0.5, "5": 0.5, "6": 0.5, "7": 0.75, "8": 0.25}]


def test_words_of_the_file_and_words_for_what_could_not_be_judged(tmp_path):
    path = write(tmp_path / "labels.jsonl.gz", [{"v": "model"}, {"v": "Gold"}, {"v": "garbage"}, {"v": "equal"}])
    assert scores(path, "v", values={"model": "1", "gold": "2"}, unscored=["garbage"]) == [
        {"1": 1.0, "2": 0.0, "4": 0.5}
    ]


def test_rows_are_counted_as_a_spreadsheet_does(tmp_path):
    path = tmp_path / "labels.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([["a", "b"], ["1", "2"], ["0", "1"]])
    assert scores(path, "a", "b") == [{"2": 1.0, "3": 0.5}, {"2": 0.0, "3": 1.0}]


def test_fields_of_fields_and_column_names_with_dots(tmp_path):
    path = write(tmp_path / "l.jsonl", [{"gpt-3.5-turbo": "1", "judges": {"GPT-4/Vanilla": {"swap_true": "2"}}}])
    assert scores(path, "gpt-3.5-turbo", "judges.GPT-4/Vanilla.swap_true") == [{"1": 1.0}, {"1": 0.0}]


def test_only_the_rows_that_were_asked_for_lengths_and_prompts(tmp_path):
    rows = [
        {"s": "x", "j": 1, "p": "one", "a": "two words", "b": "w"},
        {"s": "y", "j": 1, "p": "one", "a": "", "b": ""},
    ]
    path = write(tmp_path / "l.jsonl", rows)
    found = read_label_file(path, LabelFileOptions(judges=["j"], where={"s": "x"}, responses=("a", "b"), cluster="p"))
    [(key, pair)] = found.pairs.items()
    assert (key, pair.cluster, pair.length_gap) == ("1", "one", 1)


def test_a_majority_stands_after_its_members(tmp_path):
    path = write(tmp_path / "l.jsonl", [{"a": 1, "b": 1, "c": 2}])
    found = read_label_file(path, LabelFileOptions(judges=["a", "b", "c"], majorities={"all": ["a", "b", "c"]}))
    assert [judge.name for judge in found.judges] == ["a", "b", "c", "all"]
    assert found.judges[-1].scores == {"1": 1.0}


@pytest.mark.parametrize(
    ("text", "options", "error", "said"),
    [
        ('{"j": "1"}\n{"j": "better"}\n', {}, DataError, "row 2, column j: 'better' has no meaning"),
        ('{"j": "3"}\n', {}, DataError, "numbers from 1 to 2"),
        ('{"j": "nan"}\n', {}, DataError, "'nan' has no meaning"),
        ('{"k": "1"}\n', {}, DataError, "row 1: has no column 'j'; it has 'k'"),
        ('{"j": "1"}\nnot json\n', {}, DataError, "row 2: is no JSON"),
        ("[1]\n", {}, DataError, "row 1: is list, not an object"),
        ('{"j": "1"}\n', {"where": {"j": "2"}}, DataError, "has no row where j is '2'"),
        ("", {}, DataError, "has no row"),
        ('{"j": "1"}\n', {"values": {"a": "win"}}, ConfigError, "'win' is no meaning"),
        ('{"j": "1"}\n', {"majorities": {"m": ["i"]}}, UnknownNameError, "Known: j"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path, text, options, error, said):
    path = tmp_path / "labels.jsonl"
    path.write_text(text)
    with pytest.raises(error, match=said.replace("[", r"\[")):
        read_label_file(path, LabelFileOptions(judges=["j"], **options))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "labels.csv").write_bytes("größer".encode("latin-1"))
    with pytest.raises(DataError, match=r"labels\.csv: cannot be read .*UTF-8"):
        read_label_file(tmp_path / "labels.csv", LabelFileOptions(judges=["j"]))
    with pytest.raises(DataError, match="missing"):
        read_label_file(tmp_path / "missing.csv", LabelFileOptions(judges=["j"]))
