"""Prints the texts that the task's tiny model is pretrained on, one JSON string a line.

    python -m marl_bench_tasks.apps.texts > texts.jsonl

Each is the prompt of a training problem and programs under it that do something else: each of their steps, and what they make of the
elements, is the problem's own in half of the cases and another one in the others. So the base model knows Python's shape and which
code goes with which words, and can copy names and constants; it has seen no program that was written to answer a problem, and no
held-out problem.
"""

import dataclasses
import json
import random
import sys

from marl_bench_tasks.apps.embedded import TEST_ROWS, TRAIN_ROWS, starter_code
from marl_bench_tasks.apps.problems import Part, Problem, draw_reduction, draw_step, make_problems, statement
from marl_bench_tasks.apps.programs import right_program
from marl_bench_tasks.apps.prompts import LAST, question_text
from marl_bench_tasks.apps.reductions import REDUCTIONS
from marl_bench_tasks.apps.steps import STEPS

_PROGRAMS_PER_PROBLEM = 2
_OWN_SHARE = 0.5


def pretraining_texts(*, seed: int = 0) -> list[str]:
    """Returns one text a training problem."""
    rng = random.Random(f"apps texts {seed}")
    problems, _ = make_problems(train=TRAIN_ROWS, held_out=TEST_ROWS, seed=seed)
    return [_text(problem, rng) for problem in problems]


def main() -> None:
    """Writes the texts to standard output."""
    for text in pretraining_texts():
        sys.stdout.write(json.dumps(text) + "\n")


def _text(problem: Problem, rng: random.Random) -> str:
    prompt = question_text(statement(problem), starter_code(problem), call_based=problem.name is not None)
    programs = [right_program(_something_else(problem, rng)) for _ in range(_PROGRAMS_PER_PROBLEM)]
    return prompt + LAST.join(programs)


def _something_else(problem: Problem, rng: random.Random) -> Problem:
    steps = tuple(step if rng.random() < _OWN_SHARE else _other_step(step, rng) for step in problem.steps)
    reduction = problem.reduction
    if rng.random() >= _OWN_SHARE:
        takes = set(REDUCTIONS[reduction.kind].takes)
        reduction = draw_reduction(
            rng.choice([name for name, kind in REDUCTIONS.items() if takes & set(kind.takes)]), rng
        )
    return dataclasses.replace(problem, steps=steps, reduction=reduction)


def _other_step(step: Part, rng: random.Random) -> Part:
    kind = STEPS[step.kind]
    alike = [name for name, other in STEPS.items() if (other.takes, other.gives) == (kind.takes, kind.gives)]
    return draw_step(rng.choice(alike), rng)


if __name__ == "__main__":
    main()
