"""pass@k over results: what counts, what is left out, and the bounds of what could not be graded."""

import pytest

from marl_bench.errors import DataError
from marl_bench.execution.programs import ProgramResult, TestResult
from marl_bench.execution.scoring import pass_at_k


def result(problem, index, status):
    return ProgramResult(problem, index, (TestResult(status),), 1)


def results(**statuses):
    return [result(name, i, status) for name, given in statuses.items() for i, status in enumerate(given)]


def test_mean_over_problems():
    """a: 1 of 2 passed, b: none. pass@1 = (1/2 + 0) / 2; pass@2 = (1 + 0) / 2."""
    found = pass_at_k(results(a=["passed", "timeout"], b=["wrong_answer"] * 2), [1, 2])
    assert [(score.k, score.interval.estimate) for score in found] == [(1, 0.25), (2, 0.5)]
    assert (found[0].problems, found[0].samples, found[0].unscored) == (2, 4, 0)
    assert found[0].lowest == found[0].highest == 0.25


def test_ungraded_samples_are_left_out_counted_and_bounded():
    """a: 1 of 3 graded as passed, 1 failed, 1 ungraded. pass@1 is 1/2, at worst 1/3, at best 2/3."""
    [found] = pass_at_k(results(a=["passed", "wrong_answer", "grader_error"]), [1])
    assert (found.interval.estimate, found.lowest, found.highest) == pytest.approx((1 / 2, 1 / 3, 2 / 3))
    assert (found.samples, found.unscored) == (2, 1)


def test_a_problem_with_too_few_graded_samples_is_left_out():
    [found] = pass_at_k(results(a=["passed", "grader_error"], b=["passed", "timeout"]), [2])
    assert (found.problems, found.interval.estimate) == (1, 1.0)
    with pytest.raises(DataError, match="pass@1: no problem has 1 samples that could be graded"):
        pass_at_k(results(a=["grader_error"]), [1])


@pytest.mark.parametrize(
    ("given", "ks", "message"),
    [
        ([], [1], "of the results, there are none"),
        (results(a=["passed"]) * 2, [1], "sample 0 of problem a stands there twice"),
        (
            results(a=["passed"] * 3, b=["passed"]),
            [2],
            "pass@2: needs at least 2 samples of every problem; problem b has 1. Give k from 1 to 1",
        ),
        (results(a=["passed"]), [0], "pass@0"),
    ],
)
def test_wrong_input_is_an_error(given, ks, message):
    with pytest.raises(DataError, match=message):
        pass_at_k(given, ks)
