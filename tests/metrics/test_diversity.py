"""How samples of one prompt differ, by hand."""

import pytest

from marl_bench.metrics.diversity import diversity
from marl_bench.records import Prompt, Response


def computed(*texts, prompts=None):
    prompts = prompts or ["p"] * len(texts)
    rows = [Response(prompt, text, 1, True) for prompt, text in zip(prompts, texts, strict=True)]
    return diversity().compute([Prompt(prompt, "") for prompt in prompts], rows)


def test_distances_by_hand():
    # 2-grams: {ab, bc}, {ab, bd}, {ab, bc}. Distances: 1-2: 1 - 1/3 = 2/3; 1-3: 0; 2-3: 2/3. Means: 1/3, 2/3, 1/3.
    found = computed("a b c", "A b, d", "a b c")
    assert found["diversity"] == pytest.approx([1 / 3, 2 / 3, 1 / 3])
    assert found["unique"] == [1.0, 1.0, 0.0]


def test_a_prompt_with_one_sample_has_no_value_and_prompts_do_not_mix():
    found = computed("a b", "a b", "x y", prompts=["p", "q", "p"])
    assert found["diversity"] == [1.0, None, 1.0]
    assert found["unique"] == [1.0, None, 1.0]


def test_short_and_empty_texts():
    # One word is its own n-gram; two empty texts are alike; an empty one shares nothing with a word.
    assert computed("yes", "yes")["diversity"] == [0.0, 0.0]
    assert computed("", "")["diversity"] == [0.0, 0.0]
    assert computed("", "yes")["diversity"] == [1.0, 1.0]
