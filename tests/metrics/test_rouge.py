"""ROUGE behind an `evaluate.Metric`."""

import pytest

from marl_bench.errors import DataError
from marl_bench.metrics import rouge_scores
from marl_bench.metrics.rouge import rouge
from marl_bench.records import Prompt, Response


def scores(response, reference):
    values = rouge().compute([Prompt("p", "", reference=reference)], [Response("p", response, 1, True)])
    return {name: value[0] for name, value in values.items()}


def test_worked_numbers():
    # Unigrams: 3 of 4 and 3 of 3 shared, F = 2 * .75 * 1 / 1.75. Bigrams: (the cat) of (the cat)(cat sat)(sat down) and (the cat)(cat down).
    found = scores("The cat sat down", "the cat down")
    assert found["rouge1"] == pytest.approx(2 * 0.75 / 1.75)
    assert found["rouge2"] == pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))
    assert found["rougeL"] == pytest.approx(2 * 0.75 / 1.75)


@pytest.mark.parametrize("text", ["我喜欢猫", "Ich übe täglich", "Привет мир", "ฉันชอบแมว"])
def test_identical_texts_score_one_in_any_script(text):
    assert scores(text, text)["rouge1"] == 1.0


def test_chinese_counts_characters():
    # Shared 喜 and 欢 of 4 characters each.
    assert scores("我喜欢猫", "你喜欢狗")["rouge1"] == pytest.approx(0.5)


def test_a_prompt_without_reference_is_unscored_and_order_is_kept():
    prompts = [Prompt("a", "", reference="one two"), Prompt("b", ""), Prompt("c", "", reference="three")]
    responses = [
        Response(prompt.id, text, 1, True) for prompt, text in zip(prompts, ["one two", "x", "four"], strict=True)
    ]
    assert rouge().compute(prompts, responses)["rouge1"] == [1.0, None, 0.0]


def test_an_empty_response_scores_zero():
    assert scores("", "some text") == {"rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0}


PAIRS = [
    ("The cat sat down", "the cat down"),
    ("", "some text"),
    ("我喜欢猫", "你喜欢狗"),
    ("lone \ud800 surrogate", "lone surrogate"),
    ("line\nbreak \u2028 here", "break"),
    *((f"w{place} a b", f"w{place % 3} b") for place in range(8)),
]


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_give_the_same_values_in_the_same_order(processes, monkeypatch):
    monkeypatch.setattr(rouge_scores, "WORK_OF_A_START", 1)
    assert rouge_scores.processes_for(PAIRS, processes) == processes
    assert rouge_scores.rouge_scores(PAIRS, processes=processes) == rouge_scores.scores_in_process(PAIRS)


def test_values_are_those_of_rouge_score_itself():
    from rouge_score.rouge_scorer import RougeScorer

    # Its own tokenizer drops what is not ASCII, so on ASCII texts both agree.
    pairs = [pair for pair in PAIRS if "".join(pair).isascii()]
    expected = [
        RougeScorer(["rougeL"]).score(reference, prediction)["rougeL"].fmeasure for prediction, reference in pairs
    ]
    assert rouge_scores.rouge_scores(pairs)["rougeL"] == expected


def test_few_pairs_start_no_process(monkeypatch):
    monkeypatch.setattr(rouge_scores.subprocess, "run", None)
    assert rouge_scores.processes_for(PAIRS, 8) == 1
    assert len(rouge_scores.rouge_scores(PAIRS, processes=8)["rouge1"]) == len(PAIRS)
    assert rouge_scores.rouge_scores([], processes=8) == {"rouge1": [], "rouge2": [], "rougeL": []}


def test_processes_grow_with_the_work_up_to_what_is_allowed():
    # Texts of 1,000 characters: 700 + 200 * 200 = 40,700 a pair; 1,000 pairs are 40.7 million, four starts' worth of ten million.
    pairs = [("x" * 1000, "x" * 1000)] * 1000
    assert rouge_scores.work(pairs) == 40_700_000
    assert [rouge_scores.processes_for(pairs, most) for most in (1, 2, 4, 16)] == [1, 2, 4, 4]


@pytest.mark.parametrize(("given", "expected"), [(None, 1), ("4", 4), ("0", 1), ("4,2", 1), ("", 1)])
def test_a_process_takes_only_the_cores_it_was_given(given, expected, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert rouge_scores.free_processes() == expected


def test_a_process_that_fails_is_an_error_that_says_why(monkeypatch):
    monkeypatch.setattr(rouge_scores, "WORK_OF_A_START", 1)
    monkeypatch.setattr(rouge_scores.sys, "executable", "/bin/false")
    with pytest.raises(DataError, match="ended with status 1: no message"):
        rouge_scores.rouge_scores(PAIRS, processes=2)
