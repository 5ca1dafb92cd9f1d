"""Files of samples: what is read from them, and what is refused with the place."""

import csv
import gzip
import json

import pytest

from marl_bench.errors import DataError, UnknownNameError
from marl_bench.outside.samples_file import matched, read_samples
from marl_bench.records import Prompt, Response

PROMPTS = [Prompt(name, f"text of {name}") for name in ("post-1", "post-2", "post-3")]


def lines(tmp_path, *rows, name="samples.jsonl", end="\n"):
    path = tmp_path / name
    path.write_bytes("".join(json.dumps(row) + end for row in rows).encode())
    return path


def responses(path):
    return [row.response for row in read_samples(path)]


def against(path, **options):
    known = options.pop("known", [prompt.id for prompt in PROMPTS])
    rows = read_samples(path)
    return matched(rows, PROMPTS, known=known, name=path.name, allow_missing=options.pop("allow_missing", False))


def test_optional_fields_are_read_and_unknown_ones_are_none_not_zero(tmp_path):
    path = lines(
        tmp_path,
        {"id": "a", "response": " x", "sample_index": 3, "token_count": 5, "finished": False, "model": "m"},
        {"prompt_id": 7, "response": "", "finish_reason": "stop"},
        {"id": "b", "response": "y", "finish_reason": "content_filter"},
    )
    assert responses(path) == [
        Response("a", " x", 5, False, 3),
        Response("7", "", None, True, 0),
        Response("b", "y", None, None, 0),
    ]


def test_without_an_index_the_order_counts(tmp_path):
    path = lines(tmp_path, *({"id": name, "response": name} for name in "abaa"))
    assert [(one.prompt_id, one.sample_index) for one in responses(path)] == [("a", 0), ("b", 0), ("a", 1), ("a", 2)]


def test_gzip_windows_lines_and_a_byte_order_mark_change_nothing(tmp_path):
    rows = [{"id": "a", "response": "eins\r\nzwei\u2028drei"}, {"id": "b", "response": "日本 👍"}]
    plain = responses(lines(tmp_path, *rows))
    windows = lines(tmp_path, *rows, name="windows.jsonl", end="\r\n")
    marked = tmp_path / "marked.jsonl"
    marked.write_bytes(b"\xef\xbb\xbf" + windows.read_bytes() + b"\r\n")
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(marked.read_bytes()))
    misnamed = tmp_path / "no_suffix"
    misnamed.write_bytes(packed.read_bytes())
    assert plain == responses(windows) == responses(marked) == responses(packed) == responses(misnamed)
    assert plain[0].text == "eins\r\nzwei\u2028drei"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_keeps_line_breaks_quotes_and_long_programs(tmp_path, end):
    long = "x = 1\n" * 40_000  # over csv's own limit of 131,072 characters
    path = tmp_path / "samples.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file, lineterminator=end)
        writer.writerows(
            [["id", "response", "sample_index"], ["a", 'say "no",\r\nthen go', ""], ["a", long, ""], ["b", "", "4"]]
        )
    assert [(one.prompt_id, one.text, one.sample_index) for one in responses(path)] == [
        ("a", 'say "no",\r\nthen go', 0),
        ("a", long, 1),
        ("b", "", 4),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no sample"),
        (b"\n  \n", "holds no sample"),
        (b'{"id": "a", "response": "x"}\n{"id": "a"', "line 2: is no JSON"),
        (b'["a", "x"]\n', r"line 1: holds \['a', 'x'\]; should be an object"),
        (b'{"id": "a", "text": "x"}\n', "line 1: has id, text; should have id and response"),
        (b'{"response": "x"}\n', "line 1: has response; should have id and response"),
        (b'{"id": "a", "response": null}\n', "line 1: response is None; should be a text"),
        (b'{"id": "a", "response": NaN}\n', "line 1: response is nan; should be a text"),
        (b'{"id": "a", "response": ["x"]}\n', r"line 1: response is \['x'\]; should be a text"),
        (b'{"id": NaN, "response": "x"}\n', "line 1: id is nan; should be a text"),
        (b'{"id": true, "response": "x"}\n', "line 1: id is True; should be a text"),
        (b'{"id": "a", "response": "\\ud83d"}\n', "line 1: response holds half a character"),
        (b'{"id": "a", "response": "x", "sample_index": -1}\n', "sample_index is -1; should be a whole number"),
        (b'{"id": "a", "response": "x", "sample_index": 1.5}\n', "sample_index is 1.5; should be a whole number"),
        (b'{"id": "a", "response": "x", "token_count": "many"}\n', "token_count is 'many'; should be a whole number"),
        (b'{"id": "a", "response": "x", "finished": "perhaps"}\n', "finished is 'perhaps'; should be true or false"),
        ('{"id": "a", "response": "ä"}\n'.encode("latin-1"), "cannot be read .*give UTF-8 text"),
        ('{"id": "a", "response": "x"}\n'.encode("utf-16"), "cannot be read .*give UTF-8 text"),
        (b"\x1f\x8b\x08 broken", "cannot be read"),
        (gzip.compress(b'{"id": "a", "response": "x"}\n', mtime=0)[:-12], "cannot be read"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, content, message):
    path = tmp_path / "samples.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_samples(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no sample"),
        ("id,text\na,x\n", r"line 1: the columns are \['id', 'text'\]; should be id, response"),
        ("id,response\na\n", "line 2: has another number of fields than the 2 columns"),
        ("id,response\na,x,y\n", "line 2: has another number of fields than the 2 columns"),
        ('id,response\na,"x\n', "is no CSV"),
        ("id,response\n,x\n", "line 2: has response; should have id and response"),
    ],
)
def test_what_is_wrong_in_csv_is_named_with_its_line(tmp_path, content, message):
    path = tmp_path / "samples.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_samples(path)


def test_a_sample_that_stands_twice_is_refused_with_both_places(tmp_path):
    row = {"id": "a", "response": "x", "sample_index": 0}
    with pytest.raises(DataError, match=r"line 3: sample 0 of prompt 'a' stands already at samples\.jsonl, line 1"):
        read_samples(lines(tmp_path, row, {"id": "b", "response": "y"}, row))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "nowhere.jsonl", tmp_path):
        with pytest.raises(DataError, match="is no file"):
            read_samples(path)


def test_responses_come_in_the_order_of_prompts_and_indices(tmp_path):
    rows = [("post-3", 0), ("post-1", 1), ("post-2", 0), ("post-1", 0)]
    path = lines(tmp_path, *({"id": name, "response": "x", "sample_index": index} for name, index in rows))
    found, notes = against(path)
    assert [(one.prompt_id, one.sample_index) for one in found] == [
        ("post-1", 0),
        ("post-1", 1),
        ("post-2", 0),
        ("post-3", 0),
    ]
    assert notes == ["The prompts have between 1 and 2 responses; means are over responses."]


def test_an_unknown_id_is_named_with_its_line_and_the_nearest(tmp_path):
    path = lines(tmp_path, *({"id": name, "response": "x"} for name in ("post-1", "post-2", "pots-3")))
    with pytest.raises(
        UnknownNameError, match=r"samples\.jsonl, line 3: unknown prompt id 'pots-3'. Did you mean 'post-3'"
    ):
        against(path)


def test_samples_of_another_task_are_told_as_such(tmp_path):
    path = lines(tmp_path, {"id": "HumanEval/0", "response": "x"})
    with pytest.raises(DataError, match=r"none of its 1 ids is of a prompt .* the first: 'HumanEval/0'"):
        against(path)


def test_missing_prompts_are_counted_and_taken_only_when_allowed(tmp_path):
    path = lines(tmp_path, {"id": "post-2", "response": "x"})
    with pytest.raises(DataError, match=r"2 of 3 prompts have no response, the first: 'post-1'; .*--allow-missing"):
        against(path)
    found, [note] = against(path, allow_missing=True)
    assert [one.prompt_id for one in found] == ["post-2"]
    assert note.startswith("2 of 3 prompts have no response and are in no number")


def test_rows_of_prompts_that_are_not_evaluated_are_counted(tmp_path):
    names = ("post-1", "post-2", "post-3", "post-4")
    path = lines(tmp_path, *({"id": name, "response": "x"} for name in names))
    found, [note] = against(path, known=names)
    assert len(found) == 3
    assert note.startswith("1 of 4 rows are of prompts that this evaluation leaves out")
