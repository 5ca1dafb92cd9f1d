"""Times: operations and bytes by hand arithmetic."""

import pytest

from marl_bench.estimates.gpus import Gpu
from marl_bench.estimates.on_gpu import estimate_on
from marl_bench.estimates.seconds import Machine, forward_operations, ppo_seconds, sampling_seconds, stage_seconds
from marl_bench.estimates.sizes import Sizes
from marl_bench.estimates.work import work_of

# 0.4 x 2.5e-9 x 1e12 = 1,000 operations a second; 0.6 x 1e-6 / 6 x 1e9 = 100 bytes a second.
SLOW = Gpu("slow", 1.0, 2.5e-9, 1e-6 / 6)


def test_a_forward_pass_is_two_operations_a_parameter_and_its_attention(small_load):
    # 2 x 2 layers x 576 x 10 tokens + 2 x 80 x 4 logits + 2 layers x 4 x 8 x (1 + 2 + ... + 10 = 55)
    assert forward_operations(small_load(), tokens=10, logits=4) == 23_040 + 640 + 3_520


def test_an_update_is_a_worked_number(small_load):
    seconds = ppo_seconds(small_load(), Machine(SLOW))
    policy, trunk = 27_200, 26_560
    assert seconds["scoring"] == pytest.approx(8 * (policy + 2 * trunk) / 1000)  # reference; critic and reward model
    assert seconds["update"] == pytest.approx(8 * 3 * (policy + trunk) / 1000)
    checkpointed = small_load(reward_model=False, **{"memory.gradient_checkpointing": True, "ppo.ppo_epochs": 2})
    again = ppo_seconds(checkpointed, Machine(SLOW))
    assert again["scoring"] == pytest.approx(8 * (policy + trunk) / 1000)
    assert again["update"] == pytest.approx(8 * 4 * 2 * (policy + trunk) / 1000)
    two = ppo_seconds(small_load(), Machine(SLOW, 2))
    assert two["update"] == pytest.approx(seconds["update"] / 2)


def test_sampling_is_bound_by_the_slowest_of_bytes_operations_and_host(small_load):
    load = small_load()
    # Prompts: 2 x 2 x 576 x 6 + 160 + 2 x 4 x 8 x 21 = 15,328 operations each. A step reads 2 x 592 + 80 = 1,264 weights of 4 bytes and
    # 8 rows x 8 tokens on the middle x 2 layers x 2 x 4 x 4 bytes of the cache: 5,056 + 4,096 = 9,152 bytes, 91.52 s at 100 a second.
    assert sampling_seconds(load, Machine(SLOW), rows=8) == pytest.approx(8 * 15.328 + 4 * 91.52)
    # At a million times the bandwidth the operations bind: 8 x (2 x (2 x 576 + 80) + 2 x 4 x 8 x 8) = 8 x 2,976 = 23,808.
    wide = Gpu("wide", 1.0, 2.5e-9, 1.0)
    assert sampling_seconds(load, Machine(wide), rows=8) == pytest.approx(8 * 15.328 + 4 * 23.808)
    # And with both out of the way the host, which starts 2 layers of 0.6 ms.
    fast = Gpu("fast", 1.0, 1e6, 1e9)
    assert sampling_seconds(load, Machine(fast), rows=8) == pytest.approx(4 * 2 * 6e-4, rel=1e-6)
    # Twice the rows of a batch are two batches.
    assert sampling_seconds(load, Machine(SLOW), rows=16) == pytest.approx(2 * (8 * 15.328 + 4 * 91.52))


def test_shared_stages_are_steps_times_rows_times_three_passes(small_load):
    load = small_load(**{"sft.max_steps": 5, "sft.batch_size": 4, "reward_model.max_steps": None})
    sft_row = 3 * (23_040 + 2 * 80 * 10 + 3_520)
    known = stage_seconds(load, Machine(SLOW), Sizes())
    assert known == {
        "sft": pytest.approx(5 * 4 * sft_row / 1000)
    }  # without the data the reward model's steps are not known
    with_data = stage_seconds(load, Machine(SLOW), Sizes(sft=100, preferences=48, rl=10))
    assert with_data["reward model"] == pytest.approx(2 * 24 * 2 * 3 * 26_560 / 1000)  # 48 pairs in batches of 24


def test_all_cells_are_counted_or_nothing_is(small_load):
    load = small_load(**{"sft.max_steps": 1, "reward_model.max_steps": 1, "evaluation.max_prompts": 8})
    counted = estimate_on(Machine(SLOW), load, Sizes(), updates=3, trained_cells=2, cells=4)
    expected = sum(counted.stages.values()) + 2 * 3 * sum(counted.update.values()) + 4 * counted.evaluation
    assert counted.total == pytest.approx(expected)
    assert estimate_on(Machine(SLOW), load, Sizes(), updates=None, trained_cells=2, cells=4).total is None


def test_work_of_a_plan_is_that_of_its_stages(registry):
    from marl_bench.config_layers import resolve
    from marl_bench.planning import make_plan

    plan = make_plan(resolve(preset="tiny"), registry, out=None, jobs=1, threads=1)
    assert work_of(plan, trained_cells=6).stages["sft"] == 3 * 100 * 32 * (160 + 112)
