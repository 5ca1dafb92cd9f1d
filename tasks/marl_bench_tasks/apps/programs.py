"""Writes programs for embedded problems: right ones, those of a careless programmer, and spoiled ones."""

import dataclasses
import random
from collections.abc import Callable, Mapping

from marl_bench_tasks.apps.problems import (
    SUBJECTS,
    Part,
    Problem,
    draw_reduction,
    draw_step,
    reduction_phrase,
    step_phrase,
)
from marl_bench_tasks.apps.reductions import REDUCTIONS
from marl_bench_tasks.apps.steps import STEPS
from marl_bench_tasks.apps.vocabulary import SEPARATORS

_INDENT = "    "
_LOWEST_CARE = 0.0
_HIGHEST_CARE = 0.3
_CHANCES = 3
_NEAR_SHARE = 0.6


@dataclasses.dataclass(frozen=True)
class Line:
    """What a step of a problem becomes.

    Attributes:
        comment: What it is meant to do.
        code: A condition (of a filter) or a statement.
        keeps: Whether it is a filter.
    """

    comment: str
    code: str
    keeps: bool


@dataclasses.dataclass(frozen=True)
class Draft:
    """A program in pieces.

    Attributes:
        head: First line: the function's, or the one that reads.
        is_function: Whether the rest stands in a function.
        comment: What the result is meant to be.
        begin: Statement before the loop.
        loop: Head of the loop.
        steps: What is done to every element.
        gather: Last statement of the loop.
        value: The result.
        last: Statement with `{value}` that hands the result over.
        last_in_loop: Whether it stands in the loop, by mistake.
    """

    head: str
    is_function: bool
    comment: str
    begin: str
    loop: str
    steps: tuple[Line, ...]
    gather: str
    value: str
    last: str
    last_in_loop: bool = False


def right_program(problem: Problem) -> str:
    """Returns a program that passes every test."""
    return write(draft_of(problem))


def careless_program(problem: Problem, rng: random.Random) -> str:
    """Returns a program with no, one or several typical mistakes: what SFT learns from.

    How careful the programmer is differs from program to program.
    """
    care = rng.uniform(_LOWEST_CARE, _HIGHEST_CARE)
    mistakes = sum(rng.random() < (1 - care) / 2 for _ in range(_CHANCES))
    draft = draft_of(problem)
    for _ in range(mistakes):
        draft = rng.choices(tuple(MISTAKES), weights=tuple(MISTAKES.values()))[0](draft, problem, rng)
    return write(draft)


def draft_of(problem: Problem) -> Draft:
    """Returns the right program in pieces."""
    subject, reduction = SUBJECTS[problem.subject], REDUCTIONS[problem.reduction.kind]
    is_function = problem.name is not None
    printed = "print(*{value})" if reduction.is_list else "print({value})"
    return Draft(
        head=f"def {problem.name}({subject.parameter}):" if is_function else f"{subject.parameter} = {subject.reader}",
        is_function=is_function,
        comment=reduction_phrase(problem),
        begin=reduction.begin,
        loop=f"for x in {subject.loop}:",
        steps=tuple(_line(problem, step) for step in problem.steps),
        gather=reduction.gather,
        value=reduction.value.format(k=_separator(problem.reduction)),
        last="return {value}" if is_function else printed,
    )


def write(draft: Draft) -> str:
    """Returns a draft as source text."""
    base = int(draft.is_function)
    lines = [draft.head, *(base * _INDENT + line for line in (f"# {draft.comment}", draft.begin, draft.loop))]
    depth = base + 1
    for step in draft.steps:
        code = f"if {step.code}:" if step.keeps else step.code
        lines += [depth * _INDENT + line for line in (f"# {step.comment}", *code.split("\n"))]
        depth += step.keeps
    lines.append(depth * _INDENT + draft.gather)
    if draft.last:
        lines.append((base + draft.last_in_loop) * _INDENT + draft.last.format(value=draft.value))
    return "\n".join(lines)


def _line(problem: Problem, step: Part) -> Line:
    kind = STEPS[step.kind]
    return Line(step_phrase(problem, step), kind.code.format(k=step.constant), kind.keeps)


def _separator(reduction: Part) -> str:
    return SEPARATORS.get(reduction.constant, "")


def _with_step(draft: Draft, place: int, *steps: Line) -> Draft:
    return dataclasses.replace(draft, steps=draft.steps[:place] + steps + draft.steps[place + 1 :])


def _with_code(draft: Draft, place: int, code: str) -> Draft:
    return _with_step(draft, place, dataclasses.replace(draft.steps[place], code=code))


def _wrong_operator(draft: Draft, problem: Problem, rng: random.Random) -> Draft:
    if len(draft.steps) < len(problem.steps):
        return draft
    place = rng.randrange(len(problem.steps))
    slips = STEPS[problem.steps[place].kind].slips
    return _with_code(draft, place, rng.choice(slips).format(k=problem.steps[place].constant))


def _wrong_constant(draft: Draft, problem: Problem, rng: random.Random) -> Draft:
    if len(draft.steps) < len(problem.steps):
        return draft
    place = rng.randrange(len(problem.steps))
    step = problem.steps[place]
    others = [constant for constant in STEPS[step.kind].constants if constant != step.constant]
    if not others:
        return _wrong_operator(draft, problem, rng)
    near = [constant for constant in others if isinstance(constant, int) and abs(constant - step.constant) == 1]
    constant = rng.choice(near if near and rng.random() < _NEAR_SHARE else others)
    return _with_code(draft, place, STEPS[step.kind].code.format(k=constant))


def _forgotten_step(draft: Draft, _problem: Problem, rng: random.Random) -> Draft:
    return _with_step(draft, rng.randrange(len(draft.steps))) if draft.steps else draft


def _other_step(draft: Draft, problem: Problem, rng: random.Random) -> Draft:
    if len(draft.steps) < len(problem.steps):
        return draft
    place = rng.randrange(len(problem.steps))
    kind = STEPS[problem.steps[place].kind]
    alike = [
        name
        for name, other in STEPS.items()
        if other is not kind and (other.takes, other.gives) == (kind.takes, kind.gives)
    ]
    return _with_step(draft, place, _line(problem, draw_step(rng.choice(alike), rng))) if alike else draft


def _wrong_gathering(draft: Draft, problem: Problem, rng: random.Random) -> Draft:
    old, new = rng.choice(REDUCTIONS[problem.reduction.kind].slips or (("", ""),))
    return dataclasses.replace(
        draft,
        begin=draft.begin.replace(old, new),
        gather=draft.gather.replace(old, new),
        value=draft.value.replace(old, new),
    )


def _other_reduction(draft: Draft, problem: Problem, rng: random.Random) -> Draft:
    takes = REDUCTIONS[problem.reduction.kind].takes
    alike = [
        name for name, kind in REDUCTIONS.items() if name != problem.reduction.kind and set(kind.takes) & set(takes)
    ]
    other = draft_of(dataclasses.replace(problem, reduction=draw_reduction(rng.choice(alike), rng)))
    return dataclasses.replace(other, steps=draft.steps, loop=draft.loop)


def _wrong_loop(draft: Draft, _problem: Problem, rng: random.Random) -> Draft:
    wrong = {
        "for x in items:": ("for x in items[1:]:", "for x in range(items):", "for x in items[:-1]:"),
        "for x in text:": ("for x in text[1:]:", "for x in range(text):", "for x in text.split():"),
        "for x in range(1, n + 1):": ("for x in range(1, n):", "for x in range(n):", "for x in range(n + 1):"),
    }
    return dataclasses.replace(draft, loop=rng.choice(wrong.get(draft.loop, (draft.loop,))))


def _wrong_end(draft: Draft, _problem: Problem, rng: random.Random) -> Draft:
    if rng.random() < 0.4:
        return dataclasses.replace(draft, last_in_loop=True)
    return dataclasses.replace(
        draft, last=rng.choice(("", "print({value})" if draft.is_function else "return {value}"))
    )


def _bad_syntax(draft: Draft, _problem: Problem, rng: random.Random) -> Draft:
    if rng.random() < 0.5:
        return dataclasses.replace(draft, loop=draft.loop.rstrip(":"))
    return dataclasses.replace(draft, last=draft.last + ")", gather=draft.gather.replace(")", ""))


def _unknown_name(draft: Draft, _problem: Problem, rng: random.Random) -> Draft:
    if rng.random() < 0.5:
        return dataclasses.replace(draft, begin="values = []")
    return dataclasses.replace(draft, loop=draft.loop.replace("for x", "for y"))


def _endless_loop(draft: Draft, _problem: Problem, _rng: random.Random) -> Draft:
    return dataclasses.replace(draft, begin=f"{draft.begin}\n{_INDENT * draft.is_function}x = 1", loop="while x > 0:")


Mistake = Callable[[Draft, Problem, random.Random], Draft]

MISTAKES: Mapping[Mistake, float] = {
    _wrong_operator: 20,
    _wrong_constant: 18,
    _forgotten_step: 16,
    _other_step: 10,
    _wrong_gathering: 8,
    _other_reduction: 8,
    _wrong_loop: 6,
    _wrong_end: 6,
    _bad_syntax: 5,
    _unknown_name: 2.8,
    _endless_loop: 0.2,
}
"""Typical mistakes by how often they are made."""


def corrupted_program(problem: Problem, *, kind: str) -> str:
    """Spoils the right program so that it passes fewer tests.

    Args:
        problem: The problem that it answers.
        kind: A key of `CORRUPTIONS`.
    """
    return CORRUPTIONS[kind](problem)


def _reversed_lines(problem: Problem) -> str:
    return "\n".join(reversed(right_program(problem).split("\n")))


def _plus_one(problem: Problem) -> str:
    draft, reduction = draft_of(problem), REDUCTIONS[problem.reduction.kind]
    one = "[1]" if reduction.is_list else "'1'" if "'" in draft.value or problem.reduction.kind == "longest" else "1"
    return write(dataclasses.replace(draft, value=f"{draft.value} + {one}"))


CORRUPTIONS: Mapping[str, Callable[[Problem], str]] = {
    "reversed": _reversed_lines,
    "plus_one": _plus_one,
    "empty": lambda _problem: "",
}
"""Programs that must score below the right one: its lines in reverse, its result with one more, nothing at all."""
