"""What each comparator takes for equal."""

import pytest

from marl_bench.errors import UnknownNameError
from marl_bench.execution.comparators import COMPARATORS, comparator


@pytest.mark.parametrize(
    ("printed", "expected", "strict", "tokens", "official"),
    [
        ("1 2\n3\n", "1 2\n3\n", True, True, True),
        ("1 2\n3", "1 2\n3\n\n", True, True, True),
        ("1 2  \r\n3\r\n", "1 2\n3", True, True, True),
        ("1  2\n3\n", "1 2\n3\n", False, True, True),  # official: both lines hold the same words
        ("1\n2\n3\n", "1 2\n3\n", False, True, False),
        (" 1 2\n3\n", "1 2\n3\n", False, True, True),
        ("3\n1 2\n", "1 2\n3\n", False, False, True),  # lines in another order
        ("2 1\n3\n", "1 2\n3\n", False, False, True),  # words in another order
        ("1 2 2\n3\n", "1 2\n3\n", False, False, True),  # a word twice
        ("1 2\n3\n3\n", "1 2\n3\n", False, False, True),  # a line twice
        ("0.33333\n", "0.333331\n", False, False, True),
        ("50000000000000001\n", "50000000000000000\n", False, False, True),  # as floats they are one number
        ("1.0\n", "1\n", False, False, True),
        ("yes\n", "YES\n", False, False, False),
        ("", "1\n", False, False, False),
        ("", "\n", True, True, True),
        ("a\u00a0b", "a b", False, False, True),  # a no-break space is no white space, but for the published grader
        ("4", "2", False, False, False),
    ],
)
def test_comparators(printed, expected, strict, tokens, official):
    found = {name: compare(printed, expected, 0.0) for name, compare in COMPARATORS.items()}
    assert found == {"strict-v1": strict, "tokens-v1": tokens, "apps-official-v1": official}


@pytest.mark.parametrize("name", ["strict-v1", "tokens-v1"])
def test_tolerance_holds_for_numbers_where_it_is_declared(name):
    compare = comparator(name)
    assert compare("0.3333 x\n", "0.33331 x\n", 1e-4)
    assert not compare("0.3333 x\n", "0.33331 x\n", 1e-6)
    assert not compare("0.3333 y\n", "0.33331 x\n", 1e-4)
    assert not compare("nan\n", "1\n", 1e-4)


def test_lines_need_the_same_indentation_also_with_a_tolerance():
    assert not comparator("strict-v1")("  1.00001", "1.0", 1e-3)


def test_unknown_comparator_names_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown comparator 'token-v1'\. Did you mean 'tokens-v1'\?"):
        comparator("token-v1")
