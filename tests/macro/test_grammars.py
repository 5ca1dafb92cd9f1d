"""tree-sitter's grammar and Python's own parser end statements at the same characters."""

import sys

import pytest

from marl_bench.errors import ConfigError
from marl_bench.macro.grammars import tree_sitter_statement_ends
from marl_bench.macro.syntax import statement_ends
from marl_bench.planning import build_rule, plan_rule

PROGRAMS = [
    "if a:\n  b = [1,\n  2]; c()\n",
    "x=1\ny=2\n",
    "x = 1  # hi\n\n# c\ndef f(a):\n    '''doc'''\n    for i in a:\n        if i: return i\n        else: z()\n    return 0\nf(1)\n",
    "try:\n    a()\nexcept ValueError:\n    b()\nfinally:\n    c()\n",
    "@one\n@two(1)\nclass A:\n    x = 1; y = 2;\n    def m(self): pass\n",
    "é = 'ü🙂'\nprint(é)\n",
    "a = 1; b = 2; c = 3",
    "with open(x) as f:\n    s = f.read()\nassert s, \\\n  'no'\nimport os\n",
    "while True:\n\tbreak\nelse:\n\tpass\n",
    "match x:\n    case 1:\n        a()\n    case _:\n        b()\n",
]


def within(ends, program):
    """Returns the ends of all statements but the last."""
    return [end for end in ends if end < len(program.rstrip())]


@pytest.mark.parametrize("program", PROGRAMS)
def test_both_grammars_agree(program):
    pytest.importorskip("tree_sitter_python")
    assert within(tree_sitter_statement_ends()(program), program) == within(statement_ends(program), program)


@pytest.mark.parametrize("program", ["x = (1 +\n", "The author asks what to do.", ""])
def test_what_is_no_program_is_none(program):
    pytest.importorskip("tree_sitter_python")
    assert tree_sitter_statement_ends()(program) is None


def test_a_missing_grammar_names_its_extra(registry, monkeypatch):
    monkeypatch.setitem(sys.modules, "tree_sitter", None)
    with pytest.raises(ConfigError, match=r"install marl-bench\[tree-sitter\]"):
        build_rule(plan_rule("syntax(grammar=tree_sitter)", registry), registry)
