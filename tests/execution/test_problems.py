"""Problem sets and samples: recognised by their columns, and one clear error for each way to be wrong."""

import gzip
import json

import pytest

from marl_bench.errors import DataError, UnknownNameError
from marl_bench.execution.problems import load_problems
from marl_bench.execution.programs import CallTest, CheckTest, ExpressionTest, Program, StdioTest
from marl_bench.execution.samples import read_samples

OWN = {
    "problem_id": "sum",
    "tests": [{"stdin": "1 2\n", "expected": "3\n"}],
    "difficulty": "easy",
    "tolerance": 1e-6,
    "solutions": ["x"],
}
HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": "def f(x):\n",
    "canonical_solution": "    return x\n",
    "test": "def check(c):\n    assert c(1) == 1\n",
    "entry_point": "f",
}
MBPP = {
    "task_id": 11,
    "text": "t",
    "code": "def f(x): return x",
    "test_list": ["assert f(1) == 1"],
    "test_setup_code": "y = 1",
    "challenge_test_list": [],
}
APPS = {
    "problem_id": 7,
    "question": "q",
    "solutions": '["print(1)"]',
    "input_output": '{"inputs": [["1", "2"]], "outputs": ["1\\n"]}',
    "difficulty": "interview",
    "url": "",
    "starter_code": "",
}


@pytest.fixture
def write(tmp_path):
    def write(rows, name="file.jsonl"):
        path = tmp_path / name
        text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write


def test_four_formats(write):
    problems = load_problems(str(write([OWN, HUMANEVAL, MBPP, APPS]))).problems
    assert list(problems) == ["sum", "HumanEval/0", "MBPP/11", "7"]
    own, humaneval, mbpp, apps = problems.values()
    assert own.suite.tests == (StdioTest("1 2\n", "3\n"),)
    assert (own.suite.difficulty, own.suite.tolerance, own.solutions) == ("easy", 1e-6, ("x",))
    assert humaneval.suite.tests == (CheckTest(HUMANEVAL["test"], "def f(x):\n\n    pass\n", "f"),)
    assert humaneval.solutions == ("def f(x):\n    return x\n",)
    assert mbpp.suite.tests == (ExpressionTest("f(1)", 1),)
    assert mbpp.suite.after.strip() == "y = 1"
    assert apps.suite.tests == (StdioTest("1\n2", "1\n"),)
    assert apps.suite.difficulty == "interview"


def test_call_based_apps(write):
    row = APPS | {"input_output": json.dumps({"fn_name": "g", "inputs": [[1, [2]]], "outputs": [[3]]})}
    suite = load_problems(str(write([row]))).problems["7"].suite
    assert suite.tests == (CallTest("g", [1, [2]], [3], wrapped=True),)
    assert "from typing import *" in suite.before


def test_compressed_files_and_json_lists(write, tmp_path):
    assert list(load_problems(str(write([OWN], "p.jsonl.gz"))).problems) == ["sum"]
    path = tmp_path / "list.json"
    path.write_text(json.dumps([OWN, HUMANEVAL], indent=1))
    assert list(load_problems(str(path)).problems) == ["sum", "HumanEval/0"]


def test_folders_with_the_hubs_splits_tell_equal_ids_apart(sample_data):
    problems = load_problems(str(sample_data / "apps"))
    assert len(problems.problems) == 300
    assert problems.find("2404").id == "train/2404"
    with pytest.raises(DataError, match="problem 1: may be train/1 or test/1; give one of these ids"):
        problems.find("1")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "problems: there are none; give humaneval, mbpp, apps, or a file"),
        (["{"], "line 1: is no JSON"),
        (["[1]"], "line 1: is .*should be a JSON object"),
        ([{"id": 1}], "line 1: has the columns id; should have those of HumanEval, MBPP, APPS or ours"),
        ([OWN, OWN], "line 2: problem sum stands already at .*line 1"),
        ([OWN | {"tests": []}], "line 1: problem sum has an empty list of tests; give at least one"),
        ([OWN | {"tests": [{"stdin": "1"}]}], "line 1: a test with the keys stdin; should be stdin and expected, or"),
        ([OWN | {"tests": [{"assert": "assert f("}]}], "line 1: SyntaxError"),
        ([OWN | {"tests": [{"assert": "f(1) == 2"}]}], "line 1: ValueError: 'f\\(1\\) == 2' asserts nothing"),
        ([OWN | {"tests": [{"stdin": 1, "expected": "1"}]}], "line 1: stdin of a test is '1'; should be a text"),
        (
            [OWN | {"tests": [{"function": "f", "arguments": 1, "expected": 1}]}],
            "line 1: arguments of a test is '1'; should be a list",
        ),
        (
            [OWN | {"tests": [{"code": "x = 1", "entry_point": "f"}]}],
            "line 1: code of a test defines no function check",
        ),
        ([OWN | {"tests": [{"code": "def check(", "entry_point": "f"}]}], "line 1: SyntaxError"),
        (["[" * 100_000], "line 1: is no JSON"),
        ([MBPP | {"test_list": []}], "line 1: problem MBPP/11 has an empty test_list"),
        ([HUMANEVAL | {"test": "def check("}], "line 1: SyntaxError"),
        ([APPS | {"input_output": "{"}], "line 1: JSONDecodeError"),
        ([APPS | {"input_output": '{"inputs": ["1"], "outputs": []}'}], "problem 7 has 1 inputs but 0 outputs"),
    ],
)
def test_wrong_problem_files(rows, message, write):
    with pytest.raises(DataError, match=message):
        load_problems(str(write(rows)))


def test_a_mark_at_the_start_of_a_file_is_no_error(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(OWN).encode() + b"\r\n")
    assert list(load_problems(str(path)).problems) == ["sum"]


def test_missing_problem_set():
    with pytest.raises(
        DataError, match="problems 'humanevil': is no file or folder, and none of humaneval, mbpp, apps"
    ):
        load_problems("humanevil")


def test_a_problem_without_tests_cannot_be_answered(write):
    """The hub's APPS has problems without tests; they do no harm until a sample answers one."""
    problems = load_problems(str(write([APPS | {"input_output": ""}])))
    with pytest.raises(DataError, match="line 1: problem 7 has no tests; no program can pass or fail it"):
        problems.find("7")


def test_samples_in_humanevals_format_and_ours(write):
    problems = load_problems(str(write([OWN, HUMANEVAL, MBPP], "p.jsonl")))
    samples = [
        {"task_id": "HumanEval/0", "completion": "    return 1\n"},
        {"task_id": "HumanEval/0", "completion": "    return 1\n"},
        {"task_id": "HumanEval/0", "solution": "f = id"},
        {"task_id": 11, "completion": "f = id"},
        {"problem_id": "sum", "program": "print(3)", "sample_index": 5},
        {"prompt_id": "sum", "response": "print(4)", "sample_index": 6, "metrics": {}},
    ]
    assert read_samples(write(samples, "s.jsonl.gz"), problems) == [
        Program("HumanEval/0", "def f(x):\n    return 1\n", 0),
        Program("HumanEval/0", "def f(x):\n    return 1\n", 1),
        Program("HumanEval/0", "f = id", 2),
        Program("MBPP/11", "f = id", 0),
        Program("sum", "print(3)", 5),
        Program("sum", "print(4)", 6),
    ]


@pytest.mark.parametrize(
    ("rows", "kind", "message"),
    [
        ([], DataError, "holds no sample; give at least one line"),
        ([{"program": "x"}], DataError, "line 1: has program; should have one of problem_id, task_id, prompt_id"),
        ([{"problem_id": "sum"}], DataError, "line 1: has problem_id; should have one text: program"),
        ([{"problem_id": "sum", "program": 1}], DataError, "line 1: has program; should have one text"),
        (
            [{"problem_id": "sum", "program": "x", "completion": "y"}],
            DataError,
            "line 1: has program, completion; should have one",
        ),
        (
            [{"problem_id": "smu", "program": "x"}],
            UnknownNameError,
            "line 1: unknown problem 'smu'. Did you mean 'sum'?",
        ),
        (
            [{"problem_id": "sum", "program": "x", "sample_index": -1}],
            DataError,
            "line 1: sample_index is -1; should be a whole number from 0",
        ),
        (
            [
                {"problem_id": "sum", "program": "x", "sample_index": 0},
                {"problem_id": "sum", "program": "y", "sample_index": 0},
            ],
            DataError,
            "line 2: sample 0 of problem sum stands already at .*line 1; give each its own sample_index",
        ),
        (["{}x"], DataError, "line 1: is no JSON"),
    ],
)
def test_wrong_samples(rows, kind, message, write):
    problems = load_problems(str(write([OWN], "p.jsonl")))
    with pytest.raises(kind, match=message):
        read_samples(write(rows, "s.jsonl"), problems)


def test_missing_and_unreadable_samples(write, tmp_path):
    problems = load_problems(str(write([OWN], "p.jsonl")))
    with pytest.raises(DataError, match=r"samples '.*none.jsonl': is no file; give JSON lines"):
        read_samples(tmp_path / "none.jsonl", problems)
    broken = tmp_path / "broken.jsonl.gz"
    broken.write_bytes(b"no gzip")
    with pytest.raises(DataError, match=r"broken\.jsonl\.gz: cannot be read"):
        read_samples(broken, problems)
