"""Phrases of constituency trees as macro actions."""

import builtins

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marl_bench.errors import ConfigError
from marl_bench.macro.constituency import constituent_starts, word_tokens, words_of
from marl_bench.macro.parsing import phrase_starts
from marl_bench.planning import build_rule, plan_rule

# (S (NP The quick brown fox) (VP jumped (PP over (NP the lazy dog))) .)
FOX = [["The", "quick", "brown", "fox"], ["jumped", ["over", ["the", "lazy", "dog"]]], "."]
FOX_TEXT = "The quick brown fox jumped over the lazy dog."


def _spans(ends):
    return list(zip([0, *ends], ends, strict=False))


@pytest.mark.parametrize(("cutoff", "starts"), [(2, [0]), (3, [0]), (4, [0, 6]), (5, [0, 5]), (6, [0, 4]), (11, [0])])
def test_cutoffs_of_the_given_tree(cutoff, starts):
    assert constituent_starts(FOX, [1] * 10, cutoff=cutoff) == starts


@pytest.mark.parametrize(
    ("tree", "tokens", "cutoff", "starts"),
    [
        # A word of several tokens is one word, however many.
        (["one", "two"], [9, 9], 5, [0]),
        # `the dog` has five tokens now, so it is walked into, and its words join `saw`.
        (["we", "saw", ["the", "dog"]], [1, 1, 1, 4], 5, [0]),
        (["we", "saw", ["the", "dog"]], [1, 1, 1, 3], 5, [0, 2]),
        # A word joins the phrase before it, and the next phrase opens its own.
        ([["a", "b"], "c", ["d", "e"]], [1] * 5, 3, [0, 3]),
        # A phrase of one word is a word.
        ([["a", "b"], [["c"]], ["d", "e"]], [1] * 5, 3, [0, 3]),
        # A word inside its neighbour's token is not there, so (d e) is a phrase of one word.
        ([["a", "b"], ["d", "e"]], [1, 1, 2, 0], 3, [0]),
        ("word", [3], 5, [0]),
        ([], [], 5, []),
    ],
)
def test_words_and_phrases(tree, tokens, cutoff, starts):
    assert constituent_starts(tree, tokens, cutoff=cutoff) == starts


TREES = st.recursive(st.just("w"), lambda trees: st.lists(trees, max_size=4), max_leaves=15)


@given(st.data(), TREES, st.integers(2, 8))
def test_random_trees(reference, data, tree, cutoff):
    count = len([*words_of(tree)])
    tokens = data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    assert constituent_starts(tree, tokens, cutoff=cutoff) == reference.constituent_starts(tree, tokens, cutoff=cutoff)


@pytest.mark.parametrize(
    ("words", "text", "ends", "expected"),
    [
        (["The", "cat", "."], "The cat.", [3, 7, 8, 8], [1, 1, 2]),  # EOS belongs to the last word
        (["The", "cat"], "The  \n cat", [2, 3, 4, 6, 10], [4, 1]),  # white space belongs to the word before
        (["do", "n't"], "don't", [5], [0, 1]),
        (["😀", "宏动"], "😀 宏动", [0, 0, 1, 2, 3, 3, 4], [4, 3]),  # halves of a character belong to it
        ([" cat"], " cat", [4], [1]),
        (["cat"], " \n cat", [2, 6], [2]),  # white space before the first word
    ],
)
def test_tokens_of_words(words, text, ends, expected):
    assert word_tokens(words, text, _spans(ends)) == expected


@pytest.mark.parametrize(
    ("words", "text"),
    [(["a", "c"], "a b c"), (["a"], "a b"), (["A"], "a"), (["a", ""], "a"), ([], "a"), (["b", "a"], "a b")],
)
def test_words_that_are_not_the_text_are_none(words, text):
    assert word_tokens(words, text, _spans([len(text)])) is None


def test_the_text_reaches_the_parser_and_its_failure_is_none():
    ends = [3, 9, 15, 19, 26, 31, 35, 40, 44, 45]
    assert phrase_starts(FOX_TEXT, _spans(ends), parse=lambda text: FOX, cutoff=5) == [0, 5]
    assert phrase_starts(FOX_TEXT, _spans(ends), parse=lambda text: ["something", "else"], cutoff=5) is None
    assert phrase_starts(" \n", _spans([1, 2, 2]), parse=lambda text: [], cutoff=5) == []


@pytest.fixture(scope="module")
def chunker():
    pytest.importorskip("textblob")
    from marl_bench.macro.chunking import english_chunker

    return english_chunker()


@pytest.mark.parametrize(("cutoff", "starts"), [(3, [0]), (4, [0, 6]), (5, [0, 5]), (6, [0, 4])])
def test_the_built_in_chunker_cuts_the_example_as_its_tree(chunker, cutoff, starts):
    ends = [3, 9, 15, 19, 26, 31, 35, 40, 44, 45]
    assert phrase_starts(FOX_TEXT, _spans(ends), parse=chunker, cutoff=cutoff) == starts


@pytest.mark.parametrize(
    "text",
    [
        'I (24F) don\'t know... he said "no/maybe" & left at 10:30!\n\nWhat now?',
        "宏动作。 😀 ok? 👩‍👩‍👧 done",
        "e.g. U.S. prices, $5.50 :-) http://x.org/a_b A&amp;B I'm gonna",
        "a / b // c 1/2",
        "שלום עולם. هل هذا؟",
        "x\t\ty\r\n  z",
    ],
)
def test_words_of_the_chunker_are_the_text(chunker, text):
    tree = chunker(text)
    assert word_tokens([*words_of(tree)], text, _spans([len(text)])) is not None


def test_the_chunker_puts_sentences_above_phrases(chunker):
    tree = chunker("I saw the old dog. It barked at me.")
    assert [" ".join(words_of(sentence)) for sentence in tree] == ["I saw the old dog .", "It barked at me ."]
    assert ["saw", ["the", "old", "dog"]] in tree[0]


def test_a_parser_that_is_not_installed_names_its_extra(registry, monkeypatch):
    real = builtins.__import__

    def without_textblob(name, *args, **kwargs):
        if name.startswith("textblob"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_textblob)
    with pytest.raises(ConfigError, match=r"install marl-bench\[parsing\]"):
        build_rule(plan_rule("parsing", registry), registry)


@pytest.mark.parametrize("text", ["parsing(cutoff=1)", "parsing(cutoff=0)", "parsing(5,6)"])
def test_bad_parameters(registry, text):
    with pytest.raises(ConfigError, match="termination rule 'parsing"):
        plan_rule(text, registry)
