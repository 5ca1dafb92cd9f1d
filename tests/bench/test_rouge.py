"""The benchmark of ROUGE: its arithmetic, and that both contenders give the same values; no test looks at a time."""

import json

from marl_bench.bench.rouge import OWN_LOOP, RougeResult, RougeSize, as_json, bench_rouge, random_pairs, tables


def test_both_contenders_run_in_every_round():
    turns = []
    size = RougeSize(pairs=5, words=4, processes=2, rounds=2)
    result = bench_rouge(size, show=lambda done, name: turns.append((done, name)))
    assert [done for done, _ in turns] == [1, 2, 3, 4]
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in result.seconds.values())
    assert result.started == 1  # five pairs are not worth a process
    assert "pairs" in json.dumps(as_json(result))


def test_ratios_are_of_medians():
    """100 pairs in 2 s against 1 s: 50 and 100 a second, twice as many."""
    result = RougeResult(RougeSize(pairs=100), 2, {OWN_LOOP: [1.0, 2.0, 4.0], "processes": [0.5, 1.0, 10.0]})
    assert tables(result)[0].rows == [[OWN_LOOP, "50", "25", "100", "1.00"], ["processes", "100", "10", "200", "2.00"]]


def test_texts_are_seeded_and_share_words():
    size = RougeSize(pairs=20, words=30)
    pairs = random_pairs(size)
    assert pairs == random_pairs(size)
    assert sum(bool(set(one.split()) & set(other.split())) for one, other in pairs) > 15
