"""The embedded data of the task, in the schema of the hub's `codeparrot/apps`."""

import json
import random
from collections.abc import Sequence
from typing import Any

from marl_bench_tasks.apps.problems import PUBLIC_TESTS, SUBJECTS, Problem, answer, make_problems, statement
from marl_bench_tasks.apps.programs import careless_program, right_program
from marl_bench_tasks.apps.reductions import REDUCTIONS

TRAIN_ROWS = 6000
TEST_ROWS = 192


def embedded_rows(*, seed: int = 0) -> list[dict[str, Any]]:
    """Returns one row a problem, the training rows first.

    Beyond the hub's fields a row has `split`, `sft_solution` (what SFT learns from, careless on purpose) and `hidden_input_output` (tests
    that only the oracle runs). `solutions` holds one right program.

    Args:
        seed: The only source of randomness.
    """
    train, held_out = make_problems(train=TRAIN_ROWS, held_out=TEST_ROWS, seed=seed)
    rng = random.Random(f"apps rows {seed}")
    rows = [_row(problem, rng, number=number, split="train") for number, problem in enumerate(train)]
    return rows + [_row(problem, rng, number=number, split="test") for number, problem in enumerate(held_out)]


def starter_code(problem: Problem) -> str:
    """Returns the head of the function that a call-based problem asks for, else nothing."""
    return "" if problem.name is None else f"def {problem.name}({SUBJECTS[problem.subject].parameter}):"


def _row(problem: Problem, rng: random.Random, *, number: int, split: str) -> dict[str, Any]:
    return {
        "problem_id": number,
        "question": statement(problem),
        "solutions": json.dumps([right_program(problem)]),
        "input_output": json.dumps(_tests(problem, problem.inputs[:PUBLIC_TESTS])),
        "difficulty": problem.difficulty,
        "url": "",
        "starter_code": starter_code(problem),
        "split": split,
        "sft_solution": careless_program(problem, rng),
        "hidden_input_output": json.dumps(_tests(problem, problem.inputs[PUBLIC_TESTS:])),
    }


def _tests(problem: Problem, inputs: Sequence[Any]) -> dict[str, Any]:
    answers = [answer(problem, given) for given in inputs]
    if problem.name is not None:
        # Results stand in lists of one, as in most call-based problems of APPS.
        return {
            "fn_name": problem.name,
            "inputs": [[given] for given in inputs],
            "outputs": [[each] for each in answers],
        }
    is_list = REDUCTIONS[problem.reduction.kind].is_list
    return {
        "inputs": [_line(given) for given in inputs],
        "outputs": [_line(each if is_list else str(each)) for each in answers],
    }


def _line(value: Any) -> str:
    return (" ".join(map(str, value)) if isinstance(value, list) else str(value)) + "\n"
