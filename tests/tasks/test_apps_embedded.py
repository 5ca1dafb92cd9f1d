"""The embedded data of task apps: problems, tests, programs, mistakes, rows."""

import dataclasses
import json
import random
import subprocess
import sys

import pytest
from marl_bench_tasks.apps import TASK, texts
from marl_bench_tasks.apps.embedded import TEST_ROWS, TRAIN_ROWS, embedded_rows, starter_code
from marl_bench_tasks.apps.problems import HIDDEN_TESTS, PUBLIC_TESTS, Part, Problem, answer, make_problems, statement
from marl_bench_tasks.apps.programs import (
    CORRUPTIONS,
    MISTAKES,
    careless_program,
    corrupted_program,
    draft_of,
    right_program,
    write,
)
from marl_bench_tasks.apps.reductions import REDUCTIONS
from marl_bench_tasks.apps.steps import STEPS

from marl_bench.execution.programs import CallTest, Limits, Program, StdioTest, TestSuite
from marl_bench.execution.runner import ProgramRunner

CALL = Problem("numbers", "pick", (Part("even"), Part("times", 3)), Part("sum"), ", ")
STDIN = Problem("words", None, (Part("longer", 3), Part("upper")), Part("list"), ", then ")


@pytest.fixture(scope="module")
def rows():
    return embedded_rows()


@pytest.fixture(scope="module")
def problems():
    train, held_out = make_problems(train=300, held_out=60, seed=3)
    return train, held_out


def statuses(programs, suites):
    """Runs (problem, source) pairs and returns their statuses."""
    with ProgramRunner(Limits(timeout_seconds=0.3), workers=1) as runner:
        return [result.status for result in runner.run([Program(*pair) for pair in programs], suites)]


def suite_of(problem):
    """Returns all tests of a problem, built from the meaning of its parts."""
    tests = []
    for given in problem.inputs:
        right = answer(problem, given)
        if problem.name:
            tests.append(CallTest(problem.name, [given], right))
        else:
            shown = [" ".join(map(str, each)) if isinstance(each, list) else str(each) for each in (given, right)]
            tests.append(StdioTest(*shown))
    return TestSuite("p", tuple(tests))


def test_a_call_based_problem_as_text_program_and_answer():
    assert statement(CALL) == (
        "Write a function pick of a list of integers: keep only the even numbers, multiply each by 3, and return their sum."
    )
    assert starter_code(CALL) == "def pick(items):"
    assert right_program(CALL) == (
        "def pick(items):\n"
        "    # return their sum\n"
        "    total = 0\n"
        "    for x in items:\n"
        "        # keep only the even numbers\n"
        "        if x % 2 == 0:\n"
        "            # multiply each by 3\n"
        "            x = x * 3\n"
        "            total += x\n"
        "    return total"
    )
    # (2 + 4) * 3
    assert answer(CALL, [1, 2, 3, 4]) == 18


def test_a_standard_input_problem_as_text_program_and_answer():
    assert statement(STDIN) == (
        "Read words from one line: keep only the words longer than 3, then write each in capitals, and print them in order."
    )
    assert starter_code(STDIN) == ""
    assert right_program(STDIN).splitlines()[0] == "items = input().split()"
    assert right_program(STDIN).splitlines()[-1] == "print(*result)"
    assert answer(STDIN, ["oak", "corn", "fable"]) == ["CORN", "FABLE"]


def test_an_input_that_leaves_nothing_has_no_answer():
    assert answer(CALL, [1, 3]) is None


def test_problems_follow_from_the_seed():
    assert make_problems(train=20, held_out=5, seed=3) == make_problems(train=20, held_out=5, seed=3)
    assert make_problems(train=20, held_out=5, seed=3) != make_problems(train=20, held_out=5, seed=4)


def test_no_composition_stands_on_both_sides_and_statements_are_distinct(problems):
    train, held_out = problems
    assert not {each.composition for each in train} & {each.composition for each in held_out}
    assert len({statement(each) for each in (*train, *held_out)}) == 360


def test_every_part_difficulty_and_format_occurs(problems):
    everything = [*problems[0], *problems[1]]
    assert {step.kind for each in everything for step in each.steps} == set(STEPS)
    assert {each.reduction.kind for each in everything} == set(REDUCTIONS)
    assert {(each.difficulty, each.name is None) for each in everything} == {
        (difficulty, stdin) for difficulty in ("introductory", "interview", "competition") for stdin in (True, False)
    }


def test_the_public_tests_notice_a_forgotten_step(problems):
    for problem in problems[0]:
        public = problem.inputs[:PUBLIC_TESTS]
        for place, step in enumerate(problem.steps):
            if step.kind != "length":
                fewer = dataclasses.replace(problem, steps=problem.steps[:place] + problem.steps[place + 1 :])
                assert [answer(fewer, given) for given in public] != [answer(problem, given) for given in public]


def test_right_programs_pass_and_corrupted_ones_do_not(problems):
    chosen = problems[1][:20]
    suites = {str(number): suite_of(problem) for number, problem in enumerate(chosen)}
    right = [(str(number), right_program(problem)) for number, problem in enumerate(chosen)]
    assert set(statuses(right, suites)) == {"passed"}
    for kind in CORRUPTIONS:
        spoiled = [(str(number), corrupted_program(problem, kind=kind)) for number, problem in enumerate(chosen)]
        assert "passed" not in statuses(spoiled, suites), kind


def test_every_mistake_changes_the_program():
    for mistake in MISTAKES:
        draft = mistake(draft_of(CALL), CALL, random.Random(0))
        assert write(draft) != right_program(CALL), mistake.__name__


def test_one_careless_program_in_five_is_right(problems):
    rng = random.Random(0)
    programs = [careless_program(problem, rng) == right_program(problem) for problem in problems[0] for _ in range(5)]
    # Three chances of a mistake, each with probability (1 - care) / 2, where care is 0.15 on average: (1 - 0.425)^3 = 0.19.
    assert 0.16 < sum(programs) / len(programs) < 0.28


def test_rows_have_the_schema_of_the_hub(rows):
    assert [row["split"] for row in rows] == ["train"] * TRAIN_ROWS + ["test"] * TEST_ROWS
    assert len({row["question"] for row in rows}) == len(rows)
    for row in rows[:50]:
        assert row.keys() == {
            *("problem_id", "question", "solutions", "input_output", "difficulty", "url", "starter_code"),
            *("split", "sft_solution", "hidden_input_output"),
        }
        tests, hidden = json.loads(row["input_output"]), json.loads(row["hidden_input_output"])
        assert len(tests["inputs"]) == len(tests["outputs"]) == PUBLIC_TESTS
        assert len(hidden["inputs"]) == len(hidden["outputs"]) == HIDDEN_TESTS
        assert bool(row["starter_code"]) == ("fn_name" in tests)
        assert all(output not in ("\n", [""], [[]]) for output in tests["outputs"])  # an empty program prints that
        [solution] = json.loads(row["solutions"])
        compile(solution, "solution.py", "exec")


def test_pretraining_texts_hold_no_test_problem_and_seldom_a_right_program(monkeypatch):
    monkeypatch.setattr(texts, "TRAIN_ROWS", 400)
    monkeypatch.setattr(texts, "TEST_ROWS", 80)
    train, held_out = make_problems(train=400, held_out=80, seed=0)
    found = texts.pretraining_texts()
    assert all(statement(problem) in text for problem, text in zip(train, found, strict=True))
    together = "\n".join(found)
    assert not any(statement(problem) in together for problem in held_out)
    # Two programs a text; of one with two steps and a result, all three are the problem's own in 1/2^3 of the cases, or by chance.
    assert sum(right_program(problem) in text for problem, text in zip(train, found, strict=True)) < 0.25 * 400


def test_the_task_ships_its_base_model_and_needs_no_torch():
    assert {path.name for path in TASK.base_model.iterdir()} >= {"model.safetensors", "tokenizer.json", "config.json"}
    assert sum(path.stat().st_size for path in TASK.base_model.iterdir()) < 4_000_000
    code = "import sys, marl_bench_tasks.apps, marl_bench_tasks.apps.texts; print('torch' in sys.modules)"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["False"]
