"""Termination rules on worked examples."""

import dataclasses
import itertools

import pytest
import torch

from marl_bench.errors import ConfigError, SegmentationError, UnknownNameError
from marl_bench.macro.information import entropy_starts, surprise_budget_starts, value_change_starts
from marl_bench.macro.perplexity import perplexity_starts
from marl_bench.macro.punctuation import CLAUSE_ENDS, SENTENCE_ENDS
from marl_bench.macro.randomized import randomized_starts
from marl_bench.macro.vocabulary import FIRST_MERGED, Vocabulary, merge_table, vocabulary_starts
from marl_bench.planning import build_rule, plan_rule


def _marked(starts):
    return starts[0].nonzero().squeeze(1).tolist()


@pytest.mark.parametrize(
    ("nll", "rule", "expected"),
    [
        ([1.0, 0.2, 0.5, 0.1], "macro", []),  # means 1.0, .6, .567
        ([1.0, 0.2, 0.5, 0.1], "prefix", []),
        ([1.0, 0.2, 0.5, 0.1], "token", [2]),
        ([1.0, 0.2, 0.7, 0.6, 0.64, 0.4], "macro", [2]),
        ([1.0, 0.2, 0.7, 0.6, 0.64, 0.4], "prefix", [2, 4]),
        ([1.0, 0.2, 0.7, 0.6, 0.64, 0.4], "token", [2, 4]),
        ([0.5, 1.0, 0.9, 0.85], "macro", [1]),
        ([0.5, 1.0, 0.9, 0.85], "prefix", [1, 2, 3]),
        ([0.5, 1.0, 0.9, 0.85], "token", [1]),
        # In float32 0.1 + 0.1 + 0.1 over 3 is less than 0.1 at times: equal tokens never make a cut.
        ([0.1] * 50, "macro", []),
        ([0.1] * 50, "prefix", []),
    ],
)
def test_perplexity(nll, rule, expected):
    assert _marked(perplexity_starts(torch.tensor([nll]), rule=rule)) == expected


def test_perplexity_reads_the_reference_model(building, registry):
    row = building.row(4, log_probs=[-0.1, -5.0, -0.1, -5.0], ref_log_probs=[-1.0, -0.2, -0.5, -0.1])
    rule = build_rule(plan_rule("perplexity(rule=token)", registry), registry)
    assert rule.needs == {"ref_logprobs"}
    assert building.starts(rule.segment(building.rollout([row])), 0) == [2]


def test_entropy():
    # Five tokens, 0.6 * 5 = 3: the third smallest is .3; at 0.61 the fourth, 1.5.
    entropies, mask = torch.tensor([[0.1, 2.0, 0.3, 1.5, 0.2, 9.0]]), torch.tensor([[True] * 5 + [False]])
    assert _marked(entropy_starts(entropies, mask, quantile=0.6) & mask) == [1, 3]
    assert _marked(entropy_starts(entropies, mask, quantile=0.61) & mask) == [1]


def test_entropy_quantile_has_no_rounding_error():
    # 0.7 * 10 is 7.000000000000001 in binary: the seventh smallest of ten all the same, so three are above it.
    entropies = torch.arange(10.0).unsqueeze(0)
    assert _marked(entropy_starts(entropies, torch.ones(1, 10, dtype=torch.bool), quantile=0.7)) == [7, 8, 9]


def test_surprise_budget():
    # 3 + 4 reaches 5, 2 + 9 reaches 5, 1 is the rest.
    assert _marked(surprise_budget_starts(torch.tensor([[3.0, 4.0, 2.0, 9.0, 1.0]]), nats=5)) == [2, 4]
    assert _marked(surprise_budget_starts(torch.tensor([[2.0, 3.0, 5.0]]), nats=5)) == [2]  # reached exactly


def test_value_change():
    # Token 1 moves the value from .05 to .4, so the macro action ends behind it.
    assert _marked(value_change_starts(torch.tensor([[0.0, 0.05, 0.4, 0.35]]), threshold=0.1)) == [2]
    assert _marked(value_change_starts(torch.tensor([[1.0, -1.0, 1.0]]), threshold=0.5)) == [1, 2]


def test_randomized_lengths_are_the_deck_then_the_rest():
    starts = randomized_starts(torch.arange(200), lengths=[2, 3, 5, 10], repeats=3, width=75)
    for row in starts:
        places = row.nonzero().squeeze(1).tolist()
        lengths = [end - begin for begin, end in zip([0, *places], places, strict=False)]
        assert sorted(lengths) == [2, 2, 2, 3, 3, 3, 5, 5, 5, 10, 10, 10]
        assert places[-1] == 60  # the other 15 are one macro action


def test_randomized_orders_are_evenly_shuffled():
    # Six orders of three lengths over 6,000 rows: 1,000 each, standard deviation sqrt(6000 * 1/6 * 5/6) = 29.
    starts = randomized_starts(torch.arange(6000), lengths=[1, 2, 4], repeats=1, width=8)
    orders, counts = starts.unique(dim=0, return_counts=True)
    assert len(orders) == 6
    assert ((counts - 1000).abs() < 5 * 29).all()


def test_randomized_takes_the_largest_and_smallest_seeds():
    seeds = torch.tensor([0, 1, (1 << 63) - 1])
    assert randomized_starts(seeds, lengths=[2, 3], repeats=2, width=4).shape == (3, 4)


def test_merges_follow_the_frequencies():
    # (1, 2) stands three times; then (S, 3) twice; nothing else stands twice.
    table = merge_table([[1, 2, 3, 1, 2, 3], [1, 2, 4]], k=10)
    assert table == ((1, 2), (FIRST_MERGED, 3))
    ids, mask = torch.tensor([[1, 2, 3, 1, 2, 5, 1]]), torch.ones(1, 7, dtype=torch.bool)
    assert _marked(vocabulary_starts(ids, mask, merges=table)) == [0, 3, 5, 6]


def test_merges_of_a_repeated_token_do_not_overlap():
    ids, mask = torch.tensor([[7, 7, 7, 7, 7]]), torch.ones(1, 5, dtype=torch.bool)
    assert _marked(vocabulary_starts(ids, mask, merges=[(7, 7)])) == [0, 2, 4]


def test_no_merge_reaches_over_the_end_of_a_response():
    assert merge_table([[1], [2], [1], [2]], k=3) == ()
    ids, mask = torch.tensor([[9, 1], [2, 9]]), torch.ones(2, 2, dtype=torch.bool)
    assert vocabulary_starts(ids, mask, merges=[(1, 2)]).all()


def test_among_equal_frequencies_the_smallest_pair_wins():
    assert merge_table([[5, 6], [5, 6], [3, 9], [3, 9]], k=1) == ((3, 9),)


def test_a_vocabulary_has_a_hash_of_its_table():
    data = [[1, 2, 3]] * 4
    fitted = Vocabulary(2).fit(data)
    assert fitted.content_hash == Vocabulary(2).fit(iter(data)).content_hash
    assert len(fitted.content_hash) == 12
    assert fitted.content_hash != Vocabulary(1).fit(data).content_hash


def test_a_vocabulary_that_is_not_fitted_says_so(building):
    with pytest.raises(SegmentationError, match="call fit"):
        Vocabulary(2).segment(building.rollout([building.row(3)]))
    with pytest.raises(SegmentationError, match="call fit"):
        _ = Vocabulary(2).content_hash


def _pieces(pattern, text):
    ends = sorted({match.end() for match in pattern.finditer(text + "\x1e")} - {len(text)} | {0, len(text)})
    return [text[begin:end] for begin, end in itertools.pairwise(ends)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Yes. It is 3.5 m, or so.", ["Yes.", " It is 3.5 m, or so."]),
        (
            'He said "No!" Then he left... Why?! Who knows',
            ['He said "No!"', " Then he left...", " Why?!", " Who knows"],
        ),
        ("A title\n\nA line.\n \nAnother", ["A title\n\n", "A line.\n \n", "Another"]),
        ("宏动作。好！「是。」对", ["宏动作。", "好！", "「是。」", "对"]),
        ("कैसे हो। ठीक", ["कैसे हो।", " ठीक"]),
        ("كيف؟ جيد", ["كيف؟", " جيد"]),
        ("Fun 😀! More 😀", ["Fun 😀!", " More 😀"]),
        ("a.b.c www.x.org", ["a.b.c www.x.org"]),
        ("", []),
    ],
)
def test_sentences(text, sentences):
    assert _pieces(SENTENCE_ENDS, text) == sentences


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        (
            "At 10:30, I paid 1,000; then left: done. Bye",
            ["At 10:30,", " I paid 1,000;", " then left:", " done.", " Bye"],
        ),
        ("Well—yes – or -- no, “maybe,” so", ["Well—", "yes –", " or --", " no,", " “maybe,”", " so"]),
        ("你好，世界；再见", ["你好，", "世界；", "再见"]),
        ("well-known", ["well-known"]),
    ],
)
def test_clauses(text, clauses):
    assert _pieces(CLAUSE_ENDS, text) == clauses


@pytest.mark.parametrize("filler", [" ", "\n ", ".", '."', "- ", ", "])
def test_a_long_run_takes_no_quadratic_time(filler):
    # A pattern that began anew or turned back at every character of the run would take 10^10 steps here.
    text = f"a{filler * 100_000}a."
    for pattern in (SENTENCE_ENDS, CLAUSE_ENDS):
        assert [match.end() for match in pattern.finditer(text + "\x1e")][-1] == len(text)


def test_sentences_end_at_tokens_and_eos_belongs_to_the_last(building, registry):
    # The, cat, ".", The, ' ...', "\n", sat, ".", EOS: the point before The, the newline behind ` ...`; the last point ends the text.
    ids = [4, 5, 7, 4, 13, 9, 6, 7, building.EOS]
    row = building.Row(ids, *([0.0] * len(ids) for _ in range(4)))
    rule = build_rule(plan_rule("sentence", registry), registry)
    assert building.starts(rule.segment(building.rollout([row])), 0) == [3, 6]


def test_half_a_character_begins_the_sentence_that_it_stands_in(building, registry):
    # 。 then the two halves of an emoji: the first half, empty in the offsets, begins the next sentence.
    row = building.Row([11, 12, 2, 3, 4], *([0.0] * 5 for _ in range(4)))
    rule = build_rule(plan_rule("sentence", registry), registry)
    assert building.starts(rule.segment(building.rollout([row])), 0) == [2]


def test_a_rollout_without_what_a_rule_reads_is_refused(building, registry):
    bare = dataclasses.replace(building.rollout([building.row(3)]), token_entropies=None, token_offsets=None)
    for text, name in (("entropy", "token_entropies"), ("sentence", "token_offsets")):
        with pytest.raises(SegmentationError, match=name):
            build_rule(plan_rule(text, registry), registry).segment(bare)


@pytest.mark.parametrize(
    "text",
    [
        "fixed(n=0)",
        "fixed(n=2.5)",
        "randomized(lengths=[])",
        "randomized(lengths=[0,3])",
        "randomized(repeats=0)",
        "perplexity(rule=mean)",
        "entropy(quantile=1)",
        "entropy(quantile=0)",
        "surprise_budget(nats=0)",
        "surprise_budget(nats=-1)",
        "value_change(threshold=-0.1)",
        "vocabulary(k=0)",
        "sentence(5)",
    ],
)
def test_parameters_out_of_range_are_one_clear_error(registry, text):
    with pytest.raises(ConfigError, match=r"termination rule '"):
        plan_rule(text, registry)


def test_unknown_parameters_name_the_nearest(registry):
    with pytest.raises(UnknownNameError, match="Did you mean 'quantile'"):
        plan_rule("entropy(quantil=0.5)", registry)


@pytest.mark.parametrize("text", ["fixed", "fixed(5)", "fixed(n=5)", "fixed( n = 5 )"])
def test_one_rule_has_one_text_and_hash(registry, text):
    rule = plan_rule(text, registry)
    assert (rule.text, rule.hash) == ("fixed(n=5)", plan_rule("fixed", registry).hash)
