"""What the embedded tasks share: noisy annotators and faults of texts."""

import random

import pytest
from marl_bench_tasks import faults
from marl_bench_tasks.annotators import label_pairs, preference_probability

SENTENCES = ["One two three.", "Four five six.", "Seven eight nine."]


def test_the_annotator_is_fair_and_prefers_the_better_text_more_often():
    assert preference_probability(0.0, temperature=0.5) == 0.5
    both = [preference_probability(gap, temperature=0.5) for gap in (1.0, -1.0)]
    assert sum(both) == pytest.approx(1.0)
    # 1 / (1 + exp(-0.6 / 0.6)) = 1 / (1 + 0.36788)
    assert preference_probability(0.6, temperature=0.6) == pytest.approx(0.7310586)


def test_a_sure_annotator_always_prefers_the_better_of_two_different_texts():
    def write(item, rng):
        text = rng.choice(("a", "aa", "aaa"))
        return f"source {text}", text

    pairs = label_pairs(
        list(range(200)), write=write, gold=lambda _, text: len(text), temperature=0.01, rng=random.Random(0)
    )
    assert [pair.item for pair in pairs] == list(range(200))
    assert all(len(pair.chosen) > len(pair.rejected) for pair in pairs)
    assert all(pair.chosen_source == f"source {pair.chosen}" for pair in pairs)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rng: faults.repeat_sentences(SENTENCES, rng, most=3),
        lambda rng: faults.loop_words(SENTENCES, rng, max_words=30),
        lambda rng: faults.cut_short(SENTENCES, rng),
        lambda rng: faults.few_sentences(SENTENCES, rng, left_out=1),
        lambda rng: faults.garble(SENTENCES, rng),
        lambda rng: faults.slip(SENTENCES, rng, otherwise=["Other words."]),
    ],
)
def test_every_fault_is_text_of_the_same_words_and_follows_from_the_seed(spoil):
    words = set(" ".join(SENTENCES).replace(".", "").split())
    found = [spoil(random.Random(seed)) for seed in range(50)]
    assert found == [spoil(random.Random(seed)) for seed in range(50)]
    assert all(set(text.replace(".", "").split()) <= words and text for text in found)
    assert len(set(found)) > 5


def test_each_fault_shows():
    rng = random.Random(0)
    repeated = [faults.repeat_sentences(SENTENCES, rng, most=3) for _ in range(20)]
    assert all(len(text.split(". ")) > len(set(text.rstrip(".").split(". "))) for text in repeated)
    assert all(len(faults.loop_words(SENTENCES, rng, max_words=12).split()) <= 12 for _ in range(20))
    assert all(not faults.cut_short(SENTENCES, rng).endswith(".") for _ in range(20))
    assert all(faults.few_sentences(SENTENCES, rng, left_out=1).count(".") <= 2 for _ in range(20))
