"""Trees of spaCy and benepar, read off stand-ins for their objects, and the errors where they are not installed."""

import dataclasses
import sys

import pytest

from marl_bench.errors import ConfigError
from marl_bench.macro.installed_parsers import constituent_tree, dependency_tree
from marl_bench.planning import build_rule, plan_rule


@dataclasses.dataclass
class Word:
    text: str
    lefts: list = dataclasses.field(default_factory=list)
    rights: list = dataclasses.field(default_factory=list)
    is_space: bool = False


class Span(list):
    """Words with benepar's extension attribute."""

    def __init__(self, words, children=()):
        super().__init__(words)
        self._ = type("Extensions", (), {"children": list(children)})()


def test_a_word_with_its_dependents_is_a_phrase_in_the_order_of_the_text():
    # The quick fox jumped over it . : fox <- The, quick; jumped <- fox, over, "."; over <- it.
    fox = Word("fox", lefts=[Word("The"), Word("quick")])
    root = Word("jumped", lefts=[fox], rights=[Word("over", rights=[Word("it")]), Word(".")])
    assert dependency_tree(root) == [["The", "quick", "fox"], "jumped", ["over", "it"], "."]


def test_white_space_is_no_word():
    root = Word("Stop", rights=[Word("\n", is_space=True), Word(".")])
    assert dependency_tree(root) == ["Stop", "."]
    assert constituent_tree(Span([Word("Stop"), Word("\n", is_space=True)])) == "Stop"


def test_constituents_are_nested_down_to_words():
    the, fox, ran = Word("The"), Word("fox"), Word("ran")
    phrase = Span([the, fox], [Span([the]), Span([fox])])
    assert constituent_tree(Span([the, fox, ran], [phrase, Span([ran])])) == [["The", "fox"], "ran"]
    assert constituent_tree(Span([the, fox])) == ["The", "fox"]


@pytest.mark.parametrize(
    ("parser", "missing", "message"),
    [
        ("spacy:en_core_web_sm", "spacy", r"needs spaCy, which is not installed; install marl-bench\[spacy\]"),
        (
            "benepar:en_core_web_md:benepar_en3",
            "spacy",
            r"needs spaCy, which is not installed; install marl-bench\[spacy\]",
        ),
    ],
)
def test_a_parser_that_is_not_installed_names_its_extra(registry, monkeypatch, parser, missing, message):
    monkeypatch.setitem(sys.modules, missing, None)
    rule = plan_rule(f"parsing(cutoff=5, parser={parser!r})", registry)
    with pytest.raises(ConfigError, match=message):
        build_rule(rule, registry)


def test_the_parser_stands_in_the_definition_and_its_text_can_be_read_again(registry):
    rule = plan_rule("parsing(parser='spacy:en_core_web_sm')", registry)
    assert rule.text == "parsing(cutoff=5, parser='spacy:en_core_web_sm')"
    assert plan_rule(rule.text, registry) == rule
    assert plan_rule("parsing", registry).text == "parsing(cutoff=5, parser=textblob)"
    assert plan_rule("parsing", registry).hash != rule.hash


def test_an_unknown_parser_is_refused(registry):
    with pytest.raises(ConfigError, match="parser"):
        plan_rule("parsing(parser=nltk)", registry)
