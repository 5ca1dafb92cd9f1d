"""The statements of programs as macro actions."""

import itertools

import pytest

from marl_bench.macro.syntax import statement_ends, statement_starts
from marl_bench.planning import build_rule, plan_rule


def _statements(program):
    ends = statement_ends(program)
    assert ends is not None
    places = [0, *ends]
    return [program[begin:end] for begin, end in itertools.pairwise(places)] + [program[places[-1] :]]


@pytest.mark.parametrize(
    ("program", "statements"),
    [
        ("x = 1\ny = 2\n", ["x = 1\n", "y = 2\n", ""]),
        ("x = 1", ["x = 1", ""]),
        ("if a:\n  b = [1,\n  2]; c()\n", ["if a:\n", "  b = [1,\n  2];", " c()\n", ""]),
        (
            "@cache\ndef f(x):\n    # why\n    return x\n\nelse_ = 1\n",
            ["@cache\n", "def f(x):\n", "    # why\n    return x\n", "\nelse_ = 1\n", ""],
        ),
        ("for i in x: y(i)\nelse:\n z()\n", ["for i in x: y(i)\n", "else:\n", " z()\n", ""]),
        ('s = """a\n;b\n"""\nt = "😀;"\n', ['s = """a\n;b\n"""\n', 't = "😀;"\n', ""]),
        ("x = 1\r\ny = 2\r\n", ["x = 1\r\n", "y = 2\r\n", ""]),
        (" print(1)\nprint(2)", [" print(1)\n", "print(2)", ""]),  # responses begin with a space
        ('p = "\\d"\n', ['p = "\\d"\n', ""]),
        ("# only a comment", ["# only a comment"]),
        ("", [""]),
    ],
)
def test_statements(program, statements):
    found = _statements(program)
    assert "".join(found) == program
    assert [part for part in found if part] == [part for part in statements if part]


@pytest.mark.parametrize(
    "text",
    [
        "x =",
        "This is prose.",
        "if a:\nb",
        "x = 1\n  y = 2",
        "\x00",
        "'''open",
        "(" * 500,
        "\ud800 = 1",
        "x = 1\n\ty\n        z",
        "宏动作。",
    ],
)
def test_what_is_no_program_is_none(text):
    assert statement_ends(text) is None
    assert statement_starts(text, [(0, len(text))]) is None


def test_deep_nesting_does_not_crash():
    assert statement_ends("-" * 100_000 + "1") in (None, [100_001])


def test_tokens_that_begin_statements():
    # `x = 1\n` `y` ` = 2` `;z` `\n\n` EOS: the second statement ends inside `;z`, what stands behind the last one belongs to it.
    text, ends = "x = 1\ny = 2;z\n\n", [6, 7, 11, 13, 15, 15]
    assert statement_starts(text, list(zip([0, *ends], ends, strict=False))) == [1, 4]


@pytest.fixture
def mixed(building):
    """A program, prose that does not parse, and a response without text."""
    program = [
        9,
        4,
        9,
        9,
        5,
        9,
        6,
        building.EOS,
    ]  # \n The \n\n cat \n sat: indented after the first line, so no program
    return [
        building.Row(ids, *([0.0] * len(ids) for _ in range(4)))
        for ids in (program, [4, 5, 7, 6, 7, 4], [building.EOS], [10, 9, 10])
    ]


def test_rows_that_do_not_parse_are_cut_by_fixed_5_and_counted(building, registry, mixed):
    rule = build_rule(plan_rule("syntax", registry), registry)
    segmentation = rule.segment(building.rollout(mixed))
    assert segmentation.fallbacks == 3
    # Rows 0, 1 and 3 are no programs; the empty text of row 2 is one.
    assert [building.starts(segmentation, row) for row in range(4)] == [[5], [5], [], []]
