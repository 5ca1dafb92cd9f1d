"""A procedural generator of programming problems: something is done to every element of an input, and something is made of what is left.

Everything follows from the seed. The tests are made from the meaning of the parts, not from a program.
"""

import dataclasses
import random
from collections.abc import Sequence
from typing import Any, Literal

from marl_bench_tasks.apps.reductions import REDUCTIONS
from marl_bench_tasks.apps.steps import STEPS, Element
from marl_bench_tasks.apps.vocabulary import NAMES, WORDS

Difficulty = Literal["introductory", "interview", "competition"]
STEP_COUNTS: dict[Difficulty, int] = {"introductory": 2, "interview": 3, "competition": 4}
PUBLIC_TESTS = 5
HIDDEN_TESTS = 3
MOST_FILTERS = 2
HELD_OUT_SHARE = 0.2
"""Share of the compositions (input, kinds of the steps, reduction) that no training problem has."""

_INPUT_TRIES = 30
_DISTINCT_OUTPUTS = 3


@dataclasses.dataclass(frozen=True)
class Subject:
    """What a problem's input is.

    Attributes:
        element: Kind of its elements.
        plural: Their name.
        task: How a call-based problem begins; `{name}` is the function.
        read: How a standard-input problem begins.
        parameter: Name of the variable that holds the input.
        reader: Expression that reads it.
        loop: What the loop goes over.
    """

    element: Element
    plural: str
    task: str
    read: str
    parameter: str
    reader: str
    loop: str


SUBJECTS = {
    "numbers": Subject(
        "number", "numbers", "Write a function {name} of a list of integers", "Read integers from one line",
        "items", "list(map(int, input().split()))", "items",
    ),
    "range": Subject(
        "number", "numbers", "Write a function {name} that goes through the numbers from 1 to n",
        "Read n and go through the numbers from 1 to n", "n", "int(input())", "range(1, n + 1)",
    ),
    "words": Subject(
        "word", "words", "Write a function {name} of a list of words", "Read words from one line",
        "items", "input().split()", "items",
    ),
    "text": Subject(
        "letter", "letters", "Write a function {name} that goes through the letters of a text",
        "Read a text and go through its letters", "text", "input()", "text",
    ),
}  # fmt: skip
_SUBJECT_WEIGHTS = {"numbers": 5, "range": 3, "words": 5, "text": 2}


@dataclasses.dataclass(frozen=True)
class Part:
    """A step or a reduction of a problem.

    Attributes:
        kind: A key of `STEPS` or `REDUCTIONS`.
        constant: Its constant, or an empty text.
        wording: Which of its phrases the statement has.
    """

    kind: str
    constant: Any = ""
    wording: int = 0


@dataclasses.dataclass(frozen=True)
class Problem:
    """A problem with its tests.

    Attributes:
        subject: A key of `SUBJECTS`.
        name: Name of the function, or None for a problem that reads standard input.
        steps: What is done to every element, in order.
        reduction: What is made of the elements.
        joiner: What stands between the steps in the statement.
        inputs: `PUBLIC_TESTS` inputs of the public tests, then `HIDDEN_TESTS` of the hidden ones.
    """

    subject: str
    name: str | None
    steps: tuple[Part, ...]
    reduction: Part
    joiner: str
    inputs: tuple[Any, ...] = ()

    @property
    def difficulty(self) -> Difficulty:
        """Follows from the number of steps."""
        return next(name for name, count in STEP_COUNTS.items() if count == len(self.steps))

    @property
    def composition(self) -> str:
        """What the problem is apart from constants, names and wording."""
        return " ".join([self.subject, *(step.kind for step in self.steps), self.reduction.kind])


def make_problems(*, train: int, held_out: int, seed: int) -> tuple[list[Problem], list[Problem]]:
    """Returns training and held-out problems; all statements are distinct, and no composition stands on both sides.

    Args:
        train: Number of training problems.
        held_out: Number of held-out problems.
        seed: The only source of randomness.
    """
    rng = random.Random(f"apps problems {seed}")
    parts: tuple[list[Problem], list[Problem]] = ([], [])
    wanted = (train, held_out)
    seen: set[str] = set()
    while len(parts[0]) < train or len(parts[1]) < held_out:
        draft = draw_problem(rng)
        side = random.Random(f"apps composition {seed} {draft.composition}").random() < HELD_OUT_SHARE
        if len(parts[side]) == wanted[side] or statement(draft) in seen:
            continue
        inputs = _draw_inputs(draft, rng)
        if inputs:
            seen.add(statement(draft))
            parts[side].append(dataclasses.replace(draft, inputs=inputs))
    return parts


def draw_problem(rng: random.Random) -> Problem:
    """Returns a problem without tests."""
    subject = rng.choices(list(_SUBJECT_WEIGHTS), weights=list(_SUBJECT_WEIGHTS.values()))[0]
    element = SUBJECTS[subject].element
    steps: list[Part] = []
    for _ in range(STEP_COUNTS[rng.choice(tuple(STEP_COUNTS))]):
        used = {step.kind for step in steps}
        filters = sum(STEPS[step.kind].keeps for step in steps)
        kinds = [
            name
            for name, kind in STEPS.items()
            if element in kind.takes and name not in used and not (kind.keeps and filters == MOST_FILTERS)
        ]
        steps.append(draw_step(rng.choice(kinds), rng))
        element = STEPS[steps[-1].kind].gives or element
    reductions = [name for name, kind in REDUCTIONS.items() if element in kind.takes]
    return Problem(
        subject=subject,
        name=rng.choice(NAMES) if rng.random() < 0.5 else None,
        steps=tuple(steps),
        reduction=draw_reduction(rng.choice(reductions), rng),
        joiner=rng.choice((", ", ", then ")),
    )


def draw_step(kind: str, rng: random.Random) -> Part:
    """Returns a step of a kind with a constant and a wording."""
    found = STEPS[kind]
    return Part(kind, rng.choice(found.constants), rng.randrange(len(found.phrases)))


def draw_reduction(kind: str, rng: random.Random) -> Part:
    """Returns a reduction of a kind with a constant and a wording."""
    found = REDUCTIONS[kind]
    return Part(kind, rng.choice(found.constants), rng.randrange(len(found.phrases)))


def statement(problem: Problem) -> str:
    """Returns the text of the question."""
    subject = SUBJECTS[problem.subject]
    first = subject.read if problem.name is None else subject.task.format(name=problem.name)
    steps = problem.joiner.join(step_phrase(problem, step) for step in problem.steps)
    return f"{first}: {steps}, and {reduction_phrase(problem)}."


def step_phrase(problem: Problem, step: Part) -> str:
    """Returns how the statement words a step."""
    return STEPS[step.kind].phrases[step.wording].format(k=step.constant, s=SUBJECTS[problem.subject].plural)


def reduction_phrase(problem: Problem) -> str:
    """Returns how the statement words the result."""
    phrase = REDUCTIONS[problem.reduction.kind].phrases[problem.reduction.wording]
    return f"{'print' if problem.name is None else 'return'} {phrase.format(k=problem.reduction.constant)}"


def answer(problem: Problem, given: Any) -> Any:
    """Returns what an input should give, or None where nothing is left that the reduction could work on."""
    elements = _elements(problem, given)
    for step in problem.steps:
        kind, k = STEPS[step.kind], step.constant
        apply = kind.apply
        elements = [x for x in elements if apply(x, k)] if kind.keeps else [apply(x, k) for x in elements]
    return REDUCTIONS[problem.reduction.kind].apply(elements, problem.reduction.constant) if elements else None


def _elements(problem: Problem, given: Any) -> list[Any]:
    return list(range(1, given + 1)) if problem.subject == "range" else list(given)


def _draw_inputs(problem: Problem, rng: random.Random) -> tuple[Any, ...]:
    """Returns inputs that tell the problem apart from what it is without any one step, or none if they cannot be found."""
    inputs: list[Any] = []
    for _ in range(_INPUT_TRIES):
        given = _draw_input(problem, rng)
        if given not in inputs and answer(problem, given) not in (None, ""):
            inputs.append(given)
        if len(inputs) == PUBLIC_TESTS + HIDDEN_TESTS:
            return tuple(inputs) if _tell_apart(problem, inputs[:PUBLIC_TESTS]) else ()
    return ()


def _tell_apart(problem: Problem, inputs: Sequence[Any]) -> bool:
    right = [answer(problem, given) for given in inputs]
    if len({str(each) for each in right}) < _DISTINCT_OUTPUTS:
        return False
    for left_out in range(len(problem.steps)):
        if STEPS[problem.steps[left_out].kind].gives:
            continue  # without it the others would make no sense
        fewer = dataclasses.replace(problem, steps=problem.steps[:left_out] + problem.steps[left_out + 1 :])
        if [answer(fewer, given) for given in inputs] == right:
            return False
    return True


def _draw_input(problem: Problem, rng: random.Random) -> Any:
    if problem.subject == "range":
        return rng.randint(8, 40)
    if problem.subject == "words":
        return rng.sample(WORDS, rng.randint(5, 8))
    if problem.subject == "text":
        return "".join(rng.sample(WORDS, 2))
    # A comparison is told from its neighbours by the numbers around its constant.
    edges = [step.constant + shift for step in problem.steps if step.constant != "" for shift in (-1, 0, 0, 1)]
    count = rng.randint(6, 9)
    chosen = rng.sample(edges, min(3, len(edges))) + [rng.randint(0, 25) for _ in range(count)]
    rng.shuffle(chosen)
    return chosen[:count]
