"""Programs that are known to be right pass, and the same ones made wrong do not: HumanEval, MBPP, APPS."""

import ast
import dataclasses
import warnings
from collections import Counter

import pytest

from marl_bench.execution.problems import load_problems
from marl_bench.execution.programs import CheckTest, Limits, Program
from marl_bench.execution.runner import run_programs


@pytest.fixture(scope="module")
def humaneval():
    return load_problems("humaneval").problems


@pytest.fixture(scope="module")
def mbpp(sample_data):
    return load_problems(str(sample_data / "mbpp")).problems


@pytest.fixture(scope="module")
def apps(sample_data):
    return load_problems(str(sample_data / "apps")).problems


def _failed(problems, sources, **options):
    """Returns the ids, with statuses, of the programs that did not pass, and the number of programs."""
    programs = [Program(name, source) for name, source in sources.items()]
    suites = {name: problems[name].suite for name in sources}
    results = list(run_programs(programs, suites, Limits(), workers=2, stop_at_first_failure=True, **options))
    return {result.problem_id: result.status for result in results if result.status != "passed"}, len(results)


def _with_wrapped_results(source, name):
    """The function returns its value in a list: the right value, in the wrong place."""
    return f"{source}\n_right = {name}\ndef {name}(*arguments, **named):\n    return [_right(*arguments, **named)]\n"


def test_humaneval_solutions_pass(humaneval):
    failed, count = _failed(humaneval, {name: problem.solutions[0] for name, problem in humaneval.items()})
    assert (failed, count) == ({}, 164)


def test_corrupted_humaneval_solutions_fail(humaneval):
    # HumanEval/38 and 50 call the decoder on texts only; wrapped results reach a comparison there too.
    sources = {
        name: _with_wrapped_results(problem.solutions[0], problem.suite.tests[0].entry_point)
        for name, problem in humaneval.items()
        if isinstance(problem.suite.tests[0], CheckTest)
    }
    failed, count = _failed(humaneval, sources)
    assert count == 164
    assert set(sources) - set(failed) == set()
    assert set(failed.values()) <= {"wrong_answer", "runtime_error"}


def test_the_hubs_columns_give_the_same_humaneval(humaneval, sample_data):
    from_folder = load_problems(str(sample_data / "humaneval")).problems
    assert {name: problem.suite for name, problem in from_folder.items()} == {
        name: problem.suite for name, problem in humaneval.items()
    }


def test_mbpp_solutions_pass(mbpp):
    failed, count = _failed(mbpp, {name: problem.solutions[0] for name, problem in mbpp.items()})
    assert (failed, count) == ({}, 974)


def test_no_mbpp_test_runs_beside_the_program(mbpp):
    kinds = Counter(type(test).__name__ for problem in mbpp.values() for test in problem.suite.tests)
    assert kinds == {"ExpressionTest": 2922}


def test_corrupted_mbpp_solutions_fail(mbpp):
    sources = {}
    warnings.simplefilter("ignore")  # some solutions have invalid escapes
    for name, problem in mbpp.items():
        called = {
            node.id for node in ast.walk(ast.parse(problem.suite.tests[0].expression)) if isinstance(node, ast.Name)
        }
        defined = [
            node.name
            for node in ast.parse(problem.solutions[0]).body
            if isinstance(node, ast.FunctionDef) and node.name in called
        ]
        if defined:
            sources[name] = _with_wrapped_results(problem.solutions[0], defined[-1])
    failed, count = _failed(mbpp, sources)
    assert count > 960
    # Tests that put the result into set() or the like could take a wrapped one; none here does.
    assert set(sources) - set(failed) == set()


def test_apps_solutions_pass(apps):
    """The first solution of each of the nine problems that carry some; the README of the data says that these nine are right."""
    sources = {name: problem.solutions[0] for name, problem in apps.items() if problem.solutions}
    failed, count = _failed(apps, sources)
    assert (failed, count) == ({}, 9)


def test_every_apps_solution_passes_as_the_published_grader_takes_it(apps):
    """Some have a `return` outside a function: no program for Python, but the published grader runs scripts as the body of one."""
    programs = [
        Program(name, source, index) for name, problem in apps.items() for index, source in enumerate(problem.solutions)
    ]
    few = {name: _first_tests(problem.suite, 30) for name, problem in apps.items()}
    results = list(run_programs(programs, few, comparator="apps-official-v1", workers=2))
    assert {result.status for result in results} == {"passed"}
    assert len(results) == 180
    strict = [result.status for result in run_programs(programs, few, workers=2)]
    assert Counter(strict) == {"passed": 164, "compile_error": 16}


def _first_tests(suite, count):
    return dataclasses.replace(suite, tests=suite.tests[:count])


@pytest.mark.parametrize(
    ("corruption", "change"),
    [
        ("one more number", "{source}\nprint(1)"),
        ("nothing", "pass"),
        ("echo", "print(open(0).read())"),
        (
            "negated",
            "import builtins\n_p = print\ndef print(*a, **k):\n    _p(*['-' + str(x) for x in a], **k)\n{source}",
        ),
    ],
)
@pytest.mark.parametrize("comparator", ["tokens-v1", "strict-v1"])
def test_corrupted_apps_solutions_fail(apps, comparator, corruption, change):
    sources = {
        name: change.replace("{source}", problem.solutions[0])
        for name, problem in apps.items()
        if problem.solutions and not problem.suite.before
    }
    failed, count = _failed(apps, sources, comparator=comparator)
    assert count == 5
    assert set(sources) == set(failed)


WRAPPING = """
if "Solution" in globals():
    _right = Solution.NAME
    Solution.NAME = lambda *arguments: [[_right(*arguments)]]
else:
    _right = NAME
    NAME = lambda *arguments: [[_right(*arguments)]]
"""


def test_corrupted_call_based_apps_solutions_fail(apps):
    wrapped = {}
    for name, problem in apps.items():
        if problem.solutions and problem.suite.before:
            function = problem.suite.tests[0].function
            wrapped[name] = problem.solutions[0] + WRAPPING.replace("NAME", function)
    failed, count = _failed(apps, wrapped)
    assert count == 4
    assert set(failed) == set(wrapped)
    assert set(failed.values()) == {"wrong_answer"}
