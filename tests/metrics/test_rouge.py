"""ROUGE behind an `evaluate.Metric`."""

import pytest

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
