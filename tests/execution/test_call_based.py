"""Functions, methods of `Solution`, expressions and checks: the right program passes, a wrong one does not, whatever its style."""

import pytest

from marl_bench.execution.plain_checks import PlainCall, plain_calls
from marl_bench.execution.problems import APPS_IMPORTS, assertion_test
from marl_bench.execution.programs import AssertTest, CallTest, CheckTest, ExpressionTest

TWICE = {
    "function": "def twice(xs):\n    return [2 * x for x in xs]",
    "lambda": "twice = lambda xs: [2 * x for x in xs]",
    "method of Solution": "class Solution:\n    def twice(self, xs):\n        return [2 * x for x in xs]",
    "typed method with imports": "class Solution:\n    def twice(self, xs: List[int]) -> List[int]:\n        return [2 * x for x in xs]",
    "tuple for a list": "def twice(xs):\n    return tuple(2 * x for x in xs)",
    "helper and global": "FACTOR = 2\ndef one(x):\n    return FACTOR * x\ndef twice(xs):\n    return list(map(one, xs))",
    "prints as well": "def twice(xs):\n    print('debug', xs)\n    return [2 * x for x in xs]",
    "guarded main": "def twice(xs):\n    return [2 * x for x in xs]\nif __name__ == '__main__':\n    print(twice(eval(input())))",
    "changes its argument": "def twice(xs):\n    for i, x in enumerate(xs):\n        xs[i] = 2 * x\n    return xs",
    "static method": "class Solution:\n    @staticmethod\n    def twice(xs):\n        return [2 * x for x in xs]",
    "numpy scalars": "import numpy as np\ndef twice(xs):\n    return [np.int64(2) * x for x in xs]",
    "recursion": "def twice(xs):\n    return [2 * xs[0]] + twice(xs[1:]) if xs else []",
}


@pytest.mark.parametrize("style", TWICE)
def test_styles_of_functions(style, run_test):
    test = CallTest("twice", [[1, 2, 3]], [2, 4, 6])
    assert run_test(TWICE[style], test, before=APPS_IMPORTS).status == "passed"
    assert (
        run_test(TWICE[style], CallTest("twice", [[1, 2, 3]], [2, 4, 7]), before=APPS_IMPORTS).status == "wrong_answer"
    )


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("def other():\n    return 1", "runtime_error"),
        ("twice = 1", "runtime_error"),
        ("def twice():\n    return 1", "runtime_error"),
        ("def twice(x):\n    return 1 / 0", "runtime_error"),
        ("1 / 0", "runtime_error"),
        ("def twice(x):\n    return x +", "compile_error"),
        ("def twice(x):\n    return bytearray(1 << 40)", "memory"),
        ("def twice(x):\n    while True:\n        pass", "timeout"),
        ("def twice(x):\n    print('x' * 10**8)", "output_limit"),
        ("def twice(x):\n    return 'x' * (1 << 22)", "output_limit"),
        ("def twice(x):\n    return input()", "runtime_error"),
        (
            "class Solution:\n    def __init__(self):\n        1 / 0\n    def twice(self, x):\n        return 2",
            "runtime_error",
        ),
    ],
)
def test_statuses_of_calls(source, status, run_test):
    assert run_test(source, CallTest("twice", [1], 2)).status == status


def test_values_that_apps_wraps_in_a_list(run_test):
    """Codewars problems store [value]; a longer list is the value itself."""
    five = "def f():\n    return 5"
    assert run_test(five, CallTest("f", [], [5], wrapped=True)).status == "passed"
    assert run_test(five, CallTest("f", [], [5])).status == "wrong_answer"
    assert run_test(five, CallTest("f", [], [5, 6], wrapped=True)).status == "wrong_answer"


def test_a_promised_import_is_no_solution(run_test):
    """`gcd` is among the imports that a problem promises; a program that does not define it has not solved `gcd`."""
    test = CallTest("gcd", [12, 18], 6)
    assert run_test("x = 1", test, before=APPS_IMPORTS).status == "runtime_error"
    assert (
        run_test("class Solution:\n    def gcd(self, a, b):\n        return 0", test, before=APPS_IMPORTS).status
        == "wrong_answer"
    )
    assert (
        run_test(
            "class Solution:\n    def gcd(self, a, b):\n        return gcd(a, b)", test, before=APPS_IMPORTS
        ).status
        == "passed"
    )


@pytest.mark.parametrize(
    ("text", "test"),
    [
        ("assert f(1) == 2", ExpressionTest("f(1)", 2)),
        ("assert set(f([1])) == {1}", ExpressionTest("set(f([1]))", {1})),
        ("assert f(1) == math.pi", ExpressionTest("f(1)", expected_expression="math.pi")),
        ("assert f(1)", AssertTest("assert f(1)")),
        ("assert f(1) != 2", AssertTest("assert f(1) != 2")),
        ("x = f(1)\nassert x == 2", AssertTest("x = f(1)\nassert x == 2")),
        ("assert 2 == f(1)", ExpressionTest("f(1)", 2)),
        ("assert f(1) == Point(1)", AssertTest("assert f(1) == Point(1)")),
        ("assert f(2) == f(1) + 1", AssertTest("assert f(2) == f(1) + 1")),
        ("assert (f(1) == 2) == True", AssertTest("assert (f(1) == 2) == True")),
    ],
)
def test_assertions_are_judged_by_value_where_they_can_be(text, test):
    assert assertion_test(text) == test


def test_expected_expressions_know_nothing_of_the_program(run_test):
    """The expected value is evaluated without the program, which could otherwise redefine what is right."""
    test = ExpressionTest("area(1)", expected_expression="math.pi")
    assert run_test("import math\ndef area(r):\n    return math.pi * r * r", test).status == "passed"
    assert run_test("class math:\n    pi = 3\ndef area(r):\n    return 3", test).status == "wrong_answer"
    opaque = run_test(
        "def area(r):\n    return 3", ExpressionTest("area(1)", expected_expression="datetime.date(2020, 1, 1)")
    )
    assert (opaque.status, "is no plain data, so nothing can equal it" in opaque.message) == ("grader_error", True)
    tag = ExpressionTest("area(1)", expected_expression="dict(o=[1])")  # "o" also marks what is no plain data
    assert run_test("def area(r):\n    return {'o': [1]}", tag).status == "passed"
    broken = run_test("def area(r):\n    return 3", ExpressionTest("area(1)", expected_expression="area(2)"))
    assert broken.status == "grader_error"
    assert "area(2) has no value (NameError" in broken.message


def test_data_built_from_the_programs_classes(run_test):
    node = "class Node:\n    def __init__(self, value):\n        self.value = value\ndef double(node):\n    return 2 * node.value"
    assert run_test(node, ExpressionTest("double(root)", 14), after="root = Node(7)").status == "passed"
    assert run_test(node, ExpressionTest("double(root)", 15), after="root = Node(7)").status == "wrong_answer"


def test_assertions_beside_the_program_are_marked(run_test):
    right = run_test("def f(x):\n    return x > 1", AssertTest("assert f(2) and not f(1)"))
    wrong = run_test("def f(x):\n    return x > 2", AssertTest("assert f(2) and not f(1)"))
    assert (right.status, wrong.status) == ("passed", "wrong_answer")
    assert right.in_process and wrong.in_process
    assert not run_test("print(1)", ExpressionTest("1", 1)).in_process


LOOP = "def check(candidate):\n    for n in range(5):\n        assert candidate(n) == n * n\n"


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("def square(n):\n    return n * n", "passed"),
        ("def square(n):\n    return n * n if n < 4 else 0", "wrong_answer"),
        ("def square(n):\n    return None", "wrong_answer"),
        ("def square(n):\n    return n * n if n < 4 else 1 / 0", "runtime_error"),
        ("def square(n):\n    raise MemoryError", "memory"),
        ("def square(n):\n    raise SystemExit", "runtime_error"),
        ("def square(n):\n    import os\n    os._exit(0)", "runtime_error"),
        ("def square(n):\n    while True:\n        pass", "timeout"),
        ("def square(n):\n    import time\n    time.sleep(100)", "timeout"),
        ("def square(n):\n    while True:\n        print('x' * 1000)", "output_limit"),
        ("def square(n):\n    return [0] * 10**7", "output_limit memory timeout wrong_answer"),
        ("def square(n:\n    return n", "compile_error"),
        ("def other(n):\n    return n", "runtime_error"),
        (
            "state = []\ndef square(n):\n    state.append(n)\n    return n * n if state == list(range(n + 1)) else -1",
            "passed",
        ),
    ],
)
def test_checks_that_run_beside_the_candidate(source, status, run_test):
    assert plain_calls(LOOP) is None
    assert run_test(source, CheckTest(LOOP, "", "square")).status in status.split()


def test_checks_use_what_the_prompt_defines(run_test):
    """HumanEval/32 and others define a function in the prompt that the check calls; the program's own version of it must not be used."""
    prompt = (
        "def poly(xs, x):\n    return sum(c * x**i for i, c in enumerate(xs))\ndef find_zero(xs):\n    '''A zero.'''\n"
    )
    check = "def check(candidate):\n    assert abs(poly([1, 2], candidate([1, 2]))) < 1e-6\n"
    test = CheckTest(check, prompt, "find_zero")
    assert run_test(prompt + "    return -xs[0] / xs[1]", test).status == "passed"
    assert run_test("def poly(*_):\n    return 0\ndef find_zero(xs):\n    return 9", test).status == "wrong_answer"


def test_exceptions_of_the_candidate_reach_the_check(run_test):
    check = "def check(candidate):\n    try:\n        candidate(-1)\n    except ValueError:\n        return\n    assert False\n"
    test = CheckTest(check, "", "root")
    assert run_test("def root(x):\n    raise ValueError(x)", test).status == "passed"
    assert (
        run_test("import json\ndef root(x):\n    json.loads('{')", test).status == "passed"
    )  # its error is a kind of ValueError
    assert run_test("def root(x):\n    b'\\xff'.decode()", test).status == "passed"
    assert run_test("def root(x):\n    raise KeyError(x)", test).status == "runtime_error"
    assert run_test("def root(x):\n    return x", test).status == "wrong_answer"


def test_a_check_that_cannot_be_loaded_is_the_graders_fault(run_test):
    result = run_test(
        "def f():\n    return 1",
        CheckTest("import no_such_module\ndef check(c):\n    for _ in [1]:\n        assert c()", "", "f"),
    )
    assert result.status == "grader_error"
    assert "no_such_module" in result.message


def test_plain_checks_are_read():
    code = "METADATA = {}\ndef check(f):\n    'doc'\n    assert True, 'x'\n    assert f([1], k=(2,)) == {3}, 'message'\n    assert None == f()\n"
    assert plain_calls(code) == (PlainCall([[1]], {"k": (2,)}, {3}), PlainCall([], {}, None))


@pytest.mark.parametrize(
    "body",
    [
        "assert f(1) > 2",
        "assert not f(1)",
        "assert f(x) == 1",
        "assert f(1) == g(1)",
        "x = f(1)",
        "assert abs(f(1) - 2) < 1",
        "assert f(**{}) == 1",
        "pass",
    ],
)
def test_other_checks_are_left_to_a_process(body):
    assert plain_calls(f"def check(f):\n    {body}\n") is None


def test_the_same_check_for_two_functions_calls_each(run_test):
    """Problems may share the text of their check; which function it calls is another matter."""
    both = "def one():\n    return 1\ndef two():\n    return 2"
    check = "def check(f):\n    assert f() == 1\n"
    assert run_test(both, CheckTest(check, "", "one")).status == "passed"
    assert run_test(both, CheckTest(check, "", "two")).status == "wrong_answer"


def test_plain_checks_call_in_order_in_one_process(run_test):
    test = CheckTest("def check(f):\n    assert f() == 1\n    assert f() == 2\n", "", "count")
    counter = "n = 0\ndef count():\n    global n\n    n += 1\n    return n"
    assert run_test(counter, test).status == "passed"
    assert run_test("def count():\n    return 1", test).status == "wrong_answer"
    assert (
        run_test("n = 0\ndef count():\n    global n\n    n += 1\n    return n if n < 2 else 1 / 0", test).status
        == "runtime_error"
    )
    assert (
        run_test(
            "import os\nn = 0\ndef count():\n    global n\n    n += 1\n    return n if n < 2 else os._exit(0)", test
        ).status
        == "runtime_error"
    )
