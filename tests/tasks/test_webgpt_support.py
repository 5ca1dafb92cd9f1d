"""The citation metrics of task webgpt, with worked examples."""

import pytest
from marl_bench_tasks.webgpt.prompts import Quote, render_prompt
from marl_bench_tasks.webgpt.support import (
    MIN_CONTENT_OVERLAP,
    SUPPORT_RULE,
    CitationCounts,
    citation_counts,
    citation_metrics,
    content_words,
    split_sentences,
    supports,
)

from marl_bench.records import Prompt, Response

BRIDGE = Quote("Corwin Bridge", "Designed by Ada Moss in 1848, it is made of granite.")
MOSS = Quote("Ada Moss", "The architect studied law and was born in Halden.")
QUESTION = "Where was the designer of the Corwin Bridge born?"


def prompt(*quotes, question=QUESTION, shown_characters=None):
    rendered = render_prompt(question, quotes)
    start, end = rendered.cuttable
    fields = {"question": question}
    if quotes:
        fields["quotes"] = [{"title": quote.title, "extract": quote.extract} for quote in quotes]
    end = end if shown_characters is None else start + shown_characters
    return Prompt("p", rendered.text, fields=fields, cuttable=(start, end))


def response(text):
    return Response("p", text, 1, True)


def counts(text, *quotes):
    return citation_counts(prompt(*(quotes or (BRIDGE, MOSS))), response(text))


def test_the_rule_has_a_name_and_a_threshold():
    assert (SUPPORT_RULE, MIN_CONTENT_OVERLAP) == ("lexical-v1", 0.5)


def test_content_words_are_stems_without_words_that_say_nothing():
    # "the", "was", "by" are stop words, "according", "source" frame words
    assert content_words("According to the source, the bridges were designed by Moss's uncles.") == {
        "bridg",
        "design",
        "moss",
        "uncl",
    }


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        # corwin, bridge, designed, ada, moss: 5 of 5
        ("The Corwin Bridge was designed by Ada Moss.", True),
        # plans, corwin, bridge, came, moss: 3 of 5
        ("The plans of the Corwin Bridge came from Moss.", True),
        # huge, old, bridge, built, granite, blocks: 2 of 6
        ("The huge old bridge was built from granite blocks.", False),
        # exactly half: old, bridge, tough, granite
        ("This old bridge is of tough granite.", True),
        # the number is another
        ("The Corwin Bridge was designed in 1849.", False),
        # part of a number is not the number
        ("The Corwin Bridge was designed in 184.", False),
        # the name is another
        ("The Corwin Bridge was designed by Ada Holt.", False),
        # the first word of a sentence is no name, but counts as content: granite, made, bridge of 3
        ("Granite made the bridge.", True),
        # nothing that could be supported
        ("So it is.", False),
        ("", False),
    ],
)
def test_support_of_worked_examples(sentence, expected):
    assert supports(f"{BRIDGE.title}: {BRIDGE.extract}", sentence) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One is it [1]. Two is it. [2] Three", [("One is it.", (1,)), ("Two is it.", (2,)), ("Three", ())]),
        ("He met Dr. Moss and J. Holt [1]! Why?", [("He met Dr. Moss and J. Holt!", (1,)), ("Why?", ())]),
        ("It costs 3.50 dollars [1][2].", [("It costs 3.50 dollars.", (1, 2))]),
        ("1. Oak [1]\n2. Iron [2]", [("1. Oak", (1,)), ("2. Iron", (2,))]),
        ('She said "no." [1] Then she left.', [('She said "no."', (1,)), ("Then she left.", ())]),
        ("[1]", [("", (1,))]),
        ("", []),
    ],
)
def test_sentences_keep_the_markers_that_follow_them(text, expected):
    assert [(sentence.text, sentence.cited) for sentence in split_sentences(text)] == expected


OPENING = "You would like to know where the designer of the Corwin Bridge was born."
GOOD = f"{OPENING} The Corwin Bridge was designed by Ada Moss [1]. Ada Moss was born in Halden [2]."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the opening says nothing beyond the question; both others are statements
        (GOOD, CitationCounts(2, 2, 2, 2, 2)),
        # without its markers
        (GOOD.replace(" [1]", "").replace(" [2]", ""), CitationCounts(0, 0, 2, 2, 0)),
        # the markers exchanged: the references do not support these sentences
        (GOOD.replace("[1]", "[0]").replace("[2]", "[1]").replace("[0]", "[2]"), CitationCounts(2, 0, 2, 2, 0)),
        # both references for one sentence, one supports it; and a reference that there is not
        (
            "The Corwin Bridge was designed by Ada Moss [1, 2]. It is made of granite [3].",
            CitationCounts(3, 1, 2, 2, 1),
        ),
        # invented
        ("Ada Moss was born in Paris [2].", CitationCounts(1, 0, 1, 0, 0)),
        ("", CitationCounts(0, 0, 0, 0, 0)),
    ],
)
def test_counts_of_worked_examples(text, expected):
    assert counts(text) == expected


def values(text, given):
    return {
        name: values[0]
        for metric in citation_metrics()
        for name, values in metric.compute([given], [response(text)]).items()
    }


def test_the_metrics_are_shares_of_the_counts():
    text = (
        "The Corwin Bridge was designed by Ada Moss [1, 2]. It is made of granite [3]. Ada Moss was born in Paris [2]."
    )
    # 4 markers, of which the [1] supports; 3 statements, of which 1 is cited rightly and 1 has no support
    assert values(text, prompt(BRIDGE, MOSS)) == {
        "citation_precision": pytest.approx(1 / 4),
        "citation_recall": pytest.approx(1 / 3),
        "unsupported_sentences": pytest.approx(1 / 3),
    }


def test_an_empty_response_earns_nothing():
    assert values("", prompt(BRIDGE, MOSS)) == {
        "citation_precision": 0,
        "citation_recall": 0,
        "unsupported_sentences": 0,
    }


def test_without_references_in_the_prompt_there_is_nothing_to_cite():
    assert set(values(GOOD, prompt()).values()) == {None}


def test_a_reference_that_was_cut_off_supports_nothing():
    first = len("[1] Corwin Bridge: Designed by Ada Moss in 1848, it is made of granite.")
    full = prompt(BRIDGE, MOSS)
    for shown in (first, first + 1):
        cut = prompt(BRIDGE, MOSS, shown_characters=shown)
        assert citation_counts(cut, response(GOOD)) == CitationCounts(2, 1, 2, 1, 1)
    assert citation_counts(full, response(GOOD)) == CitationCounts(2, 2, 2, 2, 2)
    # only "[1] Corwin Bridge: Designed by Ada Moss" is left
    part = prompt(BRIDGE, shown_characters=first - len(" in 1848, it is made of granite."))
    text = "The Corwin Bridge was designed by Ada Moss [1]. It is made of granite [1]."
    assert citation_counts(part, response(text)) == CitationCounts(2, 1, 2, 1, 1)
