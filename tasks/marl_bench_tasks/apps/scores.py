"""What the results of a program's tests are worth: the scores of APPS, and the oracle of embedded problems. No torch."""

from collections.abc import Callable, Mapping

from marl_bench.execution.programs import ProgramResult

NOT_COMPILED = -1.0
BROKEN = -0.6
NONE_PASSED = -0.3
ALL_PASSED = 1.0
SCORE_RANGE = (NOT_COMPILED, ALL_PASSED)

_BREAKING = frozenset({"runtime_error", "timeout", "memory", "output_limit"})


def apps_adaptive(result: ProgramResult) -> float | None:
    """Returns -1 if it does not compile, -0.6 if any test ended in an error or over a limit, else -0.3 + 1.3 * passed / tests.

    None if a test could not be graded: that is no failure of the program.

    Source: METHOD section 5, after Shojaee et al. (2023), "Execution-based Code Generation using Deep Reinforcement Learning", and
    Chai et al. (2025).
    """
    if result.status != "grader_error" and any(test.status in _BREAKING for test in result.tests):
        return BROKEN
    return apps_partial(result)


def apps_partial(result: ProgramResult) -> float | None:
    """Returns -1 if it does not compile, else -0.3 + 1.3 * passed / tests, however the others failed; None as `apps_adaptive`."""
    if result.status == "grader_error":
        return None
    if result.status == "compile_error":
        return NOT_COMPILED
    return NONE_PASSED + (ALL_PASSED - NONE_PASSED) * result.passed_share


SCORES: Mapping[str, Callable[[ProgramResult], float | None]] = {
    "apps_adaptive": apps_adaptive,
    "apps_partial": apps_partial,
}


def gold_score(public: ProgramResult, hidden: ProgramResult | None, *, hidden_tests: int) -> float | None:
    """Returns the true worth of a program in [0, 1]: 1 if it passes every test, else half the share that it passes; None as `apps_adaptive`.

    Args:
        public: Its results in the tests that the score sees.
        hidden: Its results in the others; None for a program that fails a public test: it counts as failing all of them, so that they need
            not run.
        hidden_tests: Number of the others.
    """
    if "grader_error" in (public.status, hidden.status if hidden else ""):
        return None
    tests = public.test_count + hidden_tests
    passed = round(public.passed_share * public.test_count + (hidden.passed_share * hidden_tests if hidden else 0))
    return 1.0 if passed == tests else 0.5 * passed / tests
