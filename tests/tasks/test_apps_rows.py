"""The loader of task apps: schema, splits, where SFT and evaluation come from, errors that name file, line and field."""

import gzip
import json
import re

import pytest
from marl_bench_tasks.apps.task import Options, build_task

from marl_bench.errors import DataError
from marl_bench.interfaces import DataSource
from marl_bench.records import Response

TESTS = {"inputs": ["1\n", "2\n"], "outputs": ["1\n", "2\n"]}


def row(number=0, **changes):
    return {
        "problem_id": number,
        "question": f"Print the number {number}.",
        "solutions": json.dumps([f"print({number})", "print('other')"]),
        "input_output": json.dumps(TESTS),
        "difficulty": "interview",
        "url": "",
        "starter_code": "",
    } | changes


def mbpp_row(number=601, **changes):
    return {
        "task_id": number,
        "text": "Write a function to double.",
        "code": "def twice(n):\r\n    return 2 * n",
        "test_list": ["assert twice(1) == 2"],
        "test_setup_code": "",
        "challenge_test_list": [],
    } | changes


def write(folder, **splits):
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return DataSource("folder", folder)


def load(source, *, seed=0, **options):
    return build_task(Options(**{"min_sft_problems": 1, **options})).load(source, seed=seed)


def train_rows(count=20, **changes):
    return [row(number, **changes) for number in range(count)]


def test_a_fifth_of_the_problems_is_for_sft_and_no_prompt_stands_in_two_stages(tmp_path):
    # Problem 105 has the question of 5, in other spacing.
    rows = [*train_rows(20), row(105, question="Print the  number 5.")]
    data = load(write(tmp_path, train=rows, test=[row(3), *(row(number) for number in range(30, 34))]))
    assert not data.preferences
    parts = [
        {" ".join(prompt.text.split()) for prompt in prompts}
        for prompts in ([pair.prompt for pair in data.sft], data.rl_prompts, data.eval_prompts)
    ]
    assert [len(part) for part in parts] == [4, 16, 4]
    assert not parts[0] & parts[1] and not (parts[0] | parts[1]) & parts[2]
    assert data.counts["test_problems_dropped_because_in_train"] == 1


def test_the_official_split_keeps_the_rows_as_published(tmp_path):
    source = write(tmp_path, train=train_rows(20), test=[row(3, problem_id=900), row(30)])
    data = load(DataSource("folder", source.path, split="official"))
    assert len(data.eval_prompts) == 2


def test_a_question_that_stands_there_twice_is_used_once_and_counted(tmp_path):
    test = [row(30), row(31), row(40, question="Print the  number 30.")]
    source = write(tmp_path, train=train_rows(20), test=test)
    data = load(source)
    assert [prompt.id for prompt in data.eval_prompts] == ["test/30", "test/31"]
    assert data.counts["problems_dropped_because_same_question"] == 1
    assert len(load(DataSource("folder", source.path, split="official")).eval_prompts) == 3


def test_another_seed_splits_otherwise_and_the_same_one_alike(tmp_path):
    source = write(tmp_path, train=train_rows(20), test=[row(30)])
    assert load(source, seed=1) == load(source, seed=1)
    assert load(source, seed=1).sft != load(source, seed=2).sft


def test_prompts_have_question_starter_code_format_and_difficulty(tmp_path):
    tests = {"fn_name": "f", "inputs": [[1]], "outputs": [[1]]}
    called = row(31, input_output=json.dumps(tests), starter_code="def f(n):", difficulty="competition")
    called_prompt, stdin_prompt = load(write(tmp_path, train=train_rows(), test=[called, row(30)])).eval_prompts
    assert called_prompt.text == "\nQUESTION:\nPrint the number 31.\ndef f(n):\n\nUse Call-Based format\n\nANSWER:\n"
    assert stdin_prompt.text == "\nQUESTION:\nPrint the number 30.\n\nUse Standard Input format\n\nANSWER:\n"
    start, end = called_prompt.cuttable
    assert called_prompt.text[start:end] == "Print the number 31."
    assert (called_prompt.id, called_prompt.subset, called_prompt.reference) == ("test/31", "competition", "print(31)")


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"input_output": ""}, "field input_output is empty", "without_tests"),
        ({"input_output": None}, "field input_output is empty", "without_tests"),
        ({"input_output": "{broken"}, "field input_output is '{broken', no JSON", "tests_not_json"),
        ({"input_output": "[1]"}, r"field input_output is '\[1\]'; should be an object", "tests_not_an_object"),
        (
            {"input_output": '{"inputs": ["1"]}'},
            "field input_output has inputs .* and outputs None",
            "tests_without_lists",
        ),
        (
            {"input_output": '{"inputs": ["1"], "outputs": []}'},
            "has 1 inputs and 0 outputs",
            "unequal_inputs_and_outputs",
        ),
        ({"input_output": '{"inputs": [], "outputs": []}'}, "has no input", "empty_tests"),
        ({"input_output": '{"inputs": [3], "outputs": ["3"]}'}, "field input_output: .*TypeError", "unusable_tests"),
        ({"question": " "}, "field question is ' '; should be a text", "without_question"),
        ({"question": None}, "field question is None", "without_question"),
        ({"problem_id": None}, "field problem_id is None", "without_problem_id"),
        ({"problem_id": 1}, r"field problem_id is 1, which stands already at .*line 2", "duplicate_problem_id"),
    ],
)
def test_an_unusable_row_is_left_out_counted_and_named(tmp_path, changes, field, reason):
    rows = [*train_rows(19), row(19, **changes)]
    data = load(write(tmp_path, train=rows, test=[row(30)]))
    assert data.counts[f"unusable_{reason}"] == 1
    assert data.counts["train_problems"] == 19
    [note] = data.notes
    assert note.startswith("1 row was left out; the first: data folder")
    assert re.search(rf"train \(train.jsonl\), line 20: .*{field}", note)


def test_too_many_unusable_rows_stop_the_run(tmp_path):
    rows = [*train_rows(8), row(8, input_output=""), row(9, input_output="x")]
    with pytest.raises(DataError, match="2 of 11 rows cannot be used"):
        load(write(tmp_path, train=rows, test=[row(30)]))


@pytest.mark.parametrize("solutions", ["", None, "[]", '[""]'])
def test_a_problem_without_solutions_serves_rl_and_evaluation(tmp_path, solutions):
    source = write(tmp_path, train=train_rows(20), test=[row(30, solutions=solutions)])
    [prompt] = load(source).eval_prompts
    assert prompt.reference is None
    assert load(source).counts["solutions_not_json"] == 0


@pytest.mark.parametrize("solutions", ["print(1)", '{"a": 1}', "[1]"])
def test_solutions_that_are_no_json_list_are_counted_and_the_problem_is_kept(tmp_path, solutions):
    data = load(write(tmp_path, train=train_rows(20), test=[row(30, solutions=solutions)]))
    assert data.eval_prompts[0].reference is None
    assert data.counts["solutions_not_json"] == 1
    assert "are no JSON list of texts" in data.notes[0] and "test (test.jsonl), line 1" in data.notes[0]


def test_without_enough_solutions_sft_learns_from_mbpp_beside_the_folder(tmp_path):
    source = write(tmp_path / "apps", train=train_rows(20, solutions=""), test=[row(30)])
    write(tmp_path / "mbpp", train=[mbpp_row(601), mbpp_row(602)], test=[mbpp_row(11)])
    data = load(source)
    assert [pair.prompt.id for pair in data.sft] == ["MBPP/601", "MBPP/602"]
    assert data.sft[0].response == "def twice(n):\n    return 2 * n"
    assert data.sft[0].prompt.text == (
        "\nQUESTION:\nWrite a function to double.\nYour code should pass these tests:\n\nassert twice(1) == 2\n\n"
        "Use Call-Based format\n\nANSWER:\n"
    )
    assert data.notes == (
        [
            "SFT uses MBPP train, 2 problems, because only 0 of the 4 problems of the SFT part (20 train problems) have solutions."
        ]
    )


def test_without_solutions_and_mbpp_the_error_says_what_to_set(tmp_path):
    source = write(tmp_path / "apps", train=train_rows(20, solutions=""), test=[row(30)])
    with pytest.raises(
        DataError, match=r"only 0 of the 4 problems .* set task_options.sft_problems to a folder with MBPP"
    ):
        load(source)
    write(tmp_path / "elsewhere", train=[mbpp_row(601)], test=[mbpp_row(11)])
    assert len(load(source, sft_problems=str(tmp_path / "elsewhere")).sft) == 1
    with pytest.raises(DataError, match=r"data folder '.*nowhere': is not a folder"):
        load(source, sft_problems=str(tmp_path / "nowhere"))


def test_solved_problems_are_enough_where_the_option_says_so(tmp_path):
    source = write(
        tmp_path / "apps",
        train=[*train_rows(60), *({**row(n), "solutions": ""} for n in range(60, 100))],
        test=[row(300)],
    )
    data = load(source, min_sft_problems=5)
    assert 5 <= len(data.sft) < 20
    assert all(pair.response.startswith("print(") for pair in data.sft)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": ""}, "train.jsonl.*, line 2: field text is ''; should be a text"),
        ({"code": None}, "train.jsonl.*, line 2: field code is None; should be a text"),
        ({"test_list": []}, "train.jsonl.*, line 2: problem MBPP/602 has an empty test_list"),
    ],
)
def test_an_mbpp_row_that_does_not_fit_is_an_error(tmp_path, changes, message):
    source = write(tmp_path / "apps", train=train_rows(20, solutions=""), test=[row(30)])
    write(tmp_path / "mbpp", train=[mbpp_row(601), mbpp_row(602, **changes)], test=[mbpp_row(11)])
    with pytest.raises(DataError, match=message):
        load(source)


def test_evaluation_on_mbpp_uses_its_test_part(tmp_path):
    source = write(tmp_path / "apps", train=train_rows(), test=[row(30)])
    write(tmp_path / "mbpp", train=[mbpp_row(601)], test=[mbpp_row(11), mbpp_row(12)])
    task = build_task(Options(evaluate_on="mbpp", min_sft_problems=1))
    data = task.load(source, seed=0)
    assert [(prompt.id, prompt.subset) for prompt in data.eval_prompts] == [("MBPP/11", "mbpp"), ("MBPP/12", "mbpp")]
    assert data.notes == ["Evaluation is on mbpp, 2 problems, not on APPS."]
    answers = [
        Response("MBPP/11", "def twice(n):\n    return n + n", 1, True),
        Response("MBPP/12", "twice = 3", 1, True),
    ]
    assert task.score(data.eval_prompts, answers) == [1.0, -0.6]


def test_evaluation_on_humaneval_completes_its_prompts(tmp_path):
    task = build_task(Options(evaluate_on="humaneval", min_sft_problems=1))
    data = task.load(write(tmp_path, train=train_rows(), test=[row(30)]), seed=0)
    assert len(data.eval_prompts) == 164
    prompts = data.eval_prompts[:2]
    assert prompts[0].id == "HumanEval/0" and prompts[0].text.startswith("from typing import List")
    answers = [Response(prompt.id, prompt.reference, 1, True) for prompt in prompts]
    assert task.score(prompts, answers) == [1.0, 1.0]
    assert task.score(prompts[:1], [Response("HumanEval/0", "    return 1\n", 1, True)]) == [-0.3]
    assert task.oracle(prompts, answers) is None


def test_missing_empty_and_unreadable_folders_are_clear_errors(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        load(DataSource("folder", tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is empty"):
        load(DataSource("folder", tmp_path / "empty"))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "train.jsonl").write_text("{broken\n")
    with pytest.raises(DataError, match="cannot be read"):
        load(DataSource("folder", tmp_path / "bad"))
    with pytest.raises(DataError, match="20 train and 0 test problems; both are needed"):
        load(write(tmp_path / "half", train=train_rows()))


def test_the_published_size_is_noted_where_the_counts_equal_it(tmp_path, monkeypatch):
    monkeypatch.setattr("marl_bench_tasks.apps.task.PUBLISHED", {"train": 20, "test": 1})
    data = load(write(tmp_path, train=train_rows(), test=[row(30)]))
    assert data.notes == ["20 train and 1 test problems can be used; the published data set has 20 and 1."]


def test_compressed_files_are_read(tmp_path):
    source = write(tmp_path, train=train_rows())
    (tmp_path / "test.jsonl.gz").write_bytes(gzip.compress(json.dumps(row(30)).encode()))
    assert len(load(source).eval_prompts) == 1


def test_real_sample_data_load_and_their_solutions_pass(sample_data):
    task = build_task(Options())
    data = task.load(DataSource("folder", sample_data / "apps"), seed=0)
    # Its README: 154 train and 146 test problems, solutions for 5 and 4 of them.
    assert (data.counts["train_problems"], data.counts["test_problems"]) == (154, 146)
    assert data.counts["train_problems_with_solutions"] == 5
    assert len(data.rl_prompts) == 123  # 154 - round(0.2 * 154)
    assert len(data.sft) == 374
    assert data.notes[0].startswith("SFT uses MBPP train, 374 problems, because only")
    assert {prompt.subset for prompt in data.eval_prompts} == {"introductory", "interview", "competition"}
    solved = [
        prompt
        for prompt in data.eval_prompts
        if prompt.reference and len(json.loads(prompt.fields["tests"])["row"]["input_output"]) < 5000
    ]
    answers = [Response(prompt.id, prompt.reference, 1, True) for prompt in solved]
    assert len(solved) >= 2
    assert set(task.score(solved, answers)) == {1.0}
