"""The benchmark compares like with like; no test looks at a time."""

import dataclasses
import json

import pytest
import torch

from marl_bench.bench.loop_comparison import LOOPS, compare_with_loop, random_batch, solve_vectorised
from marl_bench.bench.macro import BenchSize, as_json, bench_macro, tables
from marl_bench.bench.row_loop import LoopSettings, every_n_tokens, solve
from marl_bench.bench.updates import UpdateBench, UpdateComparison
from marl_bench.errors import ConfigError, MarlBenchError
from marl_bench.macro.termination import EveryNTokens
from marl_bench.planning import build_rule, plan_rule

CPU = torch.device("cpu")


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("name", LOOPS)
def test_loop_and_vectorised_code_give_the_same_results(registry, name, gamma):
    batch = random_batch(rows=9, tokens=23, device=CPU)
    settings = LoopSettings(gamma=gamma)
    rule = build_rule(plan_rule(name, registry), registry)
    loop = solve(*batch, row_starts=LOOPS[name], settings=settings)
    vectorised = solve_vectorised(*batch, rule=rule, settings=settings)
    for field in dataclasses.fields(loop):
        torch.testing.assert_close(getattr(vectorised, field.name), getattr(loop, field.name), rtol=1e-4, atol=1e-5)
    assert loop.token_advantages.abs().sum() > 0


def test_the_loop_gives_the_golden_advantages(building):
    # Values .1 to .7, KL rewards -.0005 to -.0035, score 1: the golden vector of the method for n = 3.
    from marl_bench.batches import TokenRewards

    rollout = building.rollout([building.row(7, values=[0.1 * t for t in range(1, 8)])])
    rewards = TokenRewards(torch.tensor([[-0.0005 * t for t in range(1, 8)]]), torch.tensor([1.0]))
    zeros = torch.zeros(1, 7)
    found = solve(rollout, rewards, zeros, zeros, row_starts=every_n_tokens(3), settings=LoopSettings())
    expected = [0.7475] * 3 + [0.4742] * 3 + [0.2965]
    assert found.token_advantages[0].tolist() == pytest.approx(expected, abs=5.1e-5)


def test_different_results_are_an_error():
    with pytest.raises(MarlBenchError, match=r"token_advantages of 'fixed\(n=5\)' differ by"):
        compare_with_loop(EveryNTokens(4), name="fixed(n=5)", rows=2, tokens=20, device=CPU)


def test_the_ratio_is_a_geometric_mean_of_pairs():
    # Ratios 2 and 8: the geometric mean is 4.
    found = UpdateComparison("fixed(n=5)", [1.0, 1.0], [2.0, 8.0])
    assert found.ratio.estimate == pytest.approx(4)
    assert found.ratio.low < 2 and found.ratio.high > 8
    with pytest.raises(ConfigError, match="--repeats of at least 2"):
        _ = UpdateComparison("fixed(n=5)", [1.0], [1.0]).ratio


def test_every_update_starts_from_the_same_weights(registry):
    bench = UpdateBench(registry, responses=4, max_response_tokens=8, device=CPU)
    # A second update from moved weights would break the trainer's own check of the first ratio.
    found = bench.compare("fixed(n=3)", pairs=2)
    assert len(found.token_seconds) == len(found.macro_seconds) == 2


def test_the_whole_benchmark_makes_tables_and_json(registry):
    size = BenchSize(rows=3, tokens=8, repeats=2, update_responses=2, update_tokens=6)
    result = bench_macro(registry, size, device=CPU)
    loops, updates, parsing = tables(result)
    assert [row[0] for row in loops.rows] == list(LOOPS)
    assert all(row[-1] == "2" for row in updates.rows)
    assert parsing.rows[0][0] == "parsing(cutoff=5)"
    written = json.loads(json.dumps(as_json(result), allow_nan=False))
    assert written["size"]["rows"] == 3
    assert set(written["loop_ratios"]) == set(LOOPS)
    assert written["environment"]["threads"] == torch.get_num_threads()


def test_without_a_parser_its_row_says_so(registry):
    size = BenchSize(rows=2, tokens=4, repeats=2, update_responses=2, update_tokens=4)
    result = dataclasses.replace(bench_macro(registry, size, device=CPU), parsing_seconds=None)
    assert tables(result)[-1].rows == [["parsing(cutoff=5)", "–", "–"]]
