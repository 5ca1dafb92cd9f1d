"""What programs are worth in task apps: scores, oracle, metrics, and the runner behind them."""

import json
import os
import pickle
import threading

import pytest
from marl_bench_tasks.apps import TASK
from marl_bench_tasks.apps.grader import ProgramGrader, suite_of, suite_text, without_idle_imports
from marl_bench_tasks.apps.prompts import program_of, question_text
from marl_bench_tasks.apps.scores import apps_adaptive, apps_partial, gold_score
from marl_bench_tasks.apps.task import Options

from marl_bench.errors import DataError
from marl_bench.execution.programs import Limits, ProgramResult, TestResult
from marl_bench.execution.sandbox.processes import descendants
from marl_bench.records import Prompt, Response

DOUBLE = "def f(n):\n    return 2 * n"
HALF_RIGHT = "def f(n):\n    return 2 * n if n < 2 else 0"
RAISES = "def f(n):\n    return 2 * n if n < 3 else 1 / 0"
ENDLESS = "def f(n):\n    while True:\n        pass"
BROKEN = "def f(n:"


def result(*statuses, count=None):
    return ProgramResult("p", 0, tuple(TestResult(status) for status in statuses), count or len(statuses))


def doubling(values, *, name="p"):
    """Returns tests in which f(n) should be 2 n."""
    content = {"fn_name": "f", "inputs": [[n] for n in values], "outputs": [[2 * n] for n in values]}
    return suite_text(name, {"problem_id": name, "input_output": json.dumps(content)}, ("problem_id", "input_output"))


def prompt(number=0, *, hidden=None):
    extra = {"hidden": doubling(hidden), "hidden_tests": len(hidden)} if hidden else {}
    return Prompt(f"p{number}", "write f", fields={"tests": doubling((0, 1, 2, 3), name=f"p{number}"), **extra})


def responses(*texts):
    return [Response("p0", text, 1, True, number) for number, text in enumerate(texts)]


@pytest.fixture(scope="module")
def task():
    task = TASK.build(Options(timeout_seconds=0.3))
    yield task
    task.grader.close()


@pytest.mark.parametrize(
    ("given", "adaptive", "partial"),
    [
        (result("passed", "passed"), 1.0, 1.0),
        # -0.3 + 1.3 * 1 / 4
        (result("passed", "wrong_answer", "wrong_answer", "wrong_answer"), 0.025, 0.025),
        (result("wrong_answer", "wrong_answer"), -0.3, -0.3),
        (result("compile_error", "compile_error"), -1.0, -1.0),
        # one error is enough for -0.6; -0.3 + 1.3 * 3 / 4 counts it as a test that did not pass
        (result("passed", "passed", "passed", "runtime_error"), -0.6, 0.675),
        (result("passed", "memory"), -0.6, 0.35),
        (result("passed", "output_limit"), -0.6, 0.35),
        # the tests after a timeout were skipped: -0.3 + 1.3 * 1 / 5
        (result("passed", "timeout", count=5), -0.6, -0.04),
        # no failure of the program, whatever else it did
        (result("passed", "grader_error"), None, None),
        (result("runtime_error", "grader_error"), None, None),
    ],
)
def test_scores_of_worked_examples(given, adaptive, partial):
    assert apps_adaptive(given) == pytest.approx(adaptive)
    assert apps_partial(given) == pytest.approx(partial)


@pytest.mark.parametrize(
    ("public", "hidden", "expected"),
    [
        (result("passed", "passed"), result("passed", "passed"), 1.0),
        # 0.5 * (2 + 1) / 4
        (result("passed", "passed"), result("passed", "wrong_answer"), 0.375),
        # 0.5 * 1 / 4: the hidden ones did not run
        (result("passed", "wrong_answer"), None, 0.125),
        (result("compile_error", "compile_error"), None, 0.0),
        (result("passed", "grader_error"), None, None),
        (result("passed", "passed"), result("grader_error", "passed"), None),
    ],
)
def test_gold_scores_of_worked_examples(public, hidden, expected):
    assert gold_score(public, hidden, hidden_tests=2) == expected


def test_the_task_scores_what_programs_do(task):
    given = responses(DOUBLE, HALF_RIGHT, RAISES, ENDLESS, BROKEN, "")
    # HALF_RIGHT is right for 0 and 1 of 0, 1, 2, 3: -0.3 + 1.3 / 2
    assert task.score([prompt()] * 6, given) == pytest.approx([1.0, 0.35, -0.6, -0.6, -1.0, -0.6])
    partial = TASK.build(Options(score="apps_partial"))
    partial_task = type(partial)(partial.options, task.grader)
    # RAISES passes 3 of 4: -0.3 + 1.3 * 0.75; an empty program compiles and passes nothing
    assert partial_task.score([prompt()] * 6, given) == pytest.approx([1.0, 0.35, 0.675, -0.3, -1.0, -0.3])


def test_the_oracle_runs_hidden_tests_where_there_are_some(task):
    prompts = [prompt(hidden=(4, -5))] * 3
    positive = "def f(n):\n    return 2 * abs(n)"
    # all 6; 4 and one hidden of 6, halved; 2 of 6, halved
    assert task.oracle(prompts, responses(DOUBLE, positive, HALF_RIGHT)) == pytest.approx([1.0, 5 / 12, 1 / 6])
    assert task.oracle([prompt()], responses(DOUBLE)) is None


def values(task, prompts, given):
    return {name: column for metric in task.metrics for name, column in metric.compute(prompts, given).items()}


def test_metrics_say_how_a_program_failed(task):
    found = values(task, [prompt()] * 5, responses(DOUBLE, HALF_RIGHT, RAISES, ENDLESS, BROKEN))
    assert found["passed"] == [1, 0, 0, 0, 0]
    assert found["tests_passed"] == [1, 0.5, 0.75, 0, 0]
    assert found["wrong_answer"] == [0, 1, 0, 0, 0]
    assert found["runtime_error"] == [0, 0, 1, 0, 0]
    assert found["timeout"] == [0, 0, 0, 1, 0]
    assert found["compile_error"] == [0, 0, 0, 0, 1]
    assert found["other_failure"] == [0, 0, 0, 0, 0]
    assert found["program_lines"] == [2, 2, 2, 3, 1]


def test_pass_at_k_is_the_estimate_of_the_prompts_group(task):
    prompts = [prompt()] * 6 + [prompt(1)] * 2
    found = values(task, prompts, responses(*[DOUBLE] * 2, *[HALF_RIGHT] * 4, DOUBLE, HALF_RIGHT))
    assert found["pass@1"] == pytest.approx([2 / 6] * 6 + [1 / 2] * 2)
    # 1 - C(4, 5) / C(6, 5) = 1; two samples are too few for k = 5
    assert found["pass@5"] == [1.0] * 6 + [None] * 2
    more = values(task, [prompt()] * 7, responses(DOUBLE, *[HALF_RIGHT] * 6))
    # 1 - C(6, 5) / C(7, 5) = 1 - 6 / 21
    assert more["pass@5"] == pytest.approx([5 / 7] * 7)


def test_directions_are_honest(task):
    directions = {name: metric.higher_is_better for metric in task.metrics for name in metric.names}
    assert {name for name, better in directions.items() if better} == {"passed", "tests_passed", "pass@1", "pass@5"}
    assert directions["program_lines"] is None
    assert directions["timeout"] is False


def test_what_cannot_be_graded_is_unscored_everywhere(task, monkeypatch):
    unknown = result("grader_error", "passed")
    monkeypatch.setattr(ProgramGrader, "grade", lambda _self, programs: [unknown for _ in programs])
    prompts = [prompt(hidden=(4,))]
    assert task.score(prompts, responses(DOUBLE)) == [None]
    assert task.oracle(prompts, responses(DOUBLE)) == [None]
    found = values(task, prompts, responses(DOUBLE))
    assert {name for name, column in found.items() if column != [None]} == {"program_lines"}


def test_each_program_runs_once(task, monkeypatch):
    ran = []
    run = ProgramGrader._run
    monkeypatch.setattr(ProgramGrader, "_run", lambda self, pairs: ran.extend(pairs) or run(self, pairs))
    prompts, given = [prompt(7, hidden=(4,))] * 3, responses("x = 1", "x = 1", DOUBLE)
    task.score(prompts, given)
    values(task, prompts, given)
    task.oracle(prompts, given)
    # two distinct programs in the public tests, and the one that passes in the hidden ones
    assert [source for _, source in ran] == ["x = 1", DOUBLE, DOUBLE]


def test_a_task_may_be_copied_to_another_process_and_used_from_threads(task):
    copy = pickle.loads(pickle.dumps(task))
    assert copy.options == task.options
    found = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(task.score([prompt(n)], responses(DOUBLE)))) for n in (8, 9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[1.0], [1.0]]


def test_a_grader_keeps_one_runner_and_ends_it():
    before = set(descendants(os.getpid()))
    grader = ProgramGrader(Limits(timeout_seconds=1.0), workers=1)
    for source in (DOUBLE, HALF_RIGHT):
        grader.grade([(doubling((1,)), source)])
    assert len(set(descendants(os.getpid())) - before) in (1, 2)  # a helper, and its first process in a namespace
    grader.close()
    assert not set(descendants(os.getpid())) - before
    assert grader.grade([(doubling((1,)), DOUBLE)])[0].status == "passed"


def test_tests_of_the_same_name_are_told_apart(task):
    assert task.grader.grade([(doubling((1,)), "def f(n):\n    return 2")])[0].status == "passed"
    assert task.grader.grade([(doubling((2,)), "def f(n):\n    return 2")])[0].status == "wrong_answer"


@pytest.mark.parametrize(
    ("source", "uses_them"),
    [
        (DOUBLE, False),
        ("def f(n: List[int]):\n    return 2 * n", True),  # from typing import *
        ("def f(n):\n    return heappop([2 * n])", True),  # from heapq import *
        ("def f(n):\n    return floor(2 * n)", True),
        ("def f(n):\n    return math.floor(2 * n)", True),
    ],
)
def test_promised_imports_are_left_out_for_programs_without_their_names(task, source, uses_them):
    suite = suite_of(doubling((1, 2)))
    assert bool(without_idle_imports(suite, source).before) == uses_them
    assert task.grader.grade([(doubling((1, 2)), source)])[0].status == "passed"


def test_tests_that_do_not_fit_their_columns_name_the_problem():
    text = suite_text(
        "p", {"problem_id": "p", "input_output": '{"inputs": [1], "outputs": []}'}, ("problem_id", "input_output")
    )
    with pytest.raises(DataError, match="problem p: problem p has 1 inputs but 0 outputs"):
        suite_of(text)


def test_prompts_are_worded_as_published():
    assert question_text("Add.", "def f(a):", call_based=True) == (
        "\nQUESTION:\nAdd.\ndef f(a):\n\nUse Call-Based format\n\nANSWER:\n"
    )
    assert question_text("Add.", "", call_based=False) == "\nQUESTION:\nAdd.\n\nUse Standard Input format\n\nANSWER:\n"


@pytest.mark.parametrize(
    ("response", "program"),
    [
        ("x = 1\n", "x = 1\n"),
        ("Here it is:\n```python\nx = 1\n```\nIt works.\n```\ny = 2\n```", "x = 1\n"),
        ("```\nx = 1", "x = 1"),
        ("  ```py\nx = 1\n  ```", "x = 1\n"),
        ("print('```')\n", "print('```')\n"),
        ("", ""),
    ],
)
def test_of_a_fenced_response_the_first_block_is_the_program(response, program):
    plain = Prompt("p", "text")
    assert program_of(plain, response, fences="strip") == program
    assert program_of(plain, response, fences="keep") == response


def test_a_completion_follows_the_prompt_of_the_data_set_even_if_the_text_was_cut():
    completed = Prompt("p", "def", fields={"completes": "def f(n):\n"})
    assert program_of(completed, "    return n\n", fences="strip") == "def f(n):\n    return n\n"
