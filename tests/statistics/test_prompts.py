"""Intervals over prompts: rates are told from other values, prompts are the unit."""

import numpy as np

from marl_bench.statistics.bootstrap import cluster_bootstrap_interval
from marl_bench.statistics.prompts import prompt_interval
from marl_bench.statistics.proportions import clustered_wilson_interval


def _rng():
    return np.random.default_rng(0)


def test_a_rate_has_a_wilson_interval():
    values, prompts = [1.0, 0.0, 1.0, 1.0], list("aabc")
    assert prompt_interval(values, prompts, rng=_rng()) == clustered_wilson_interval(values, prompts)


def test_all_passed_is_no_certainty():
    found = prompt_interval([1.0] * 16, np.arange(16), rng=_rng())
    assert found.low < 0.85 and found.high == 1.0


def test_other_values_are_resampled_even_between_0_and_1():
    values = [0.1, 0.3, 0.0, 1.0] * 4
    assert prompt_interval(values, np.arange(16), rng=_rng()) == cluster_bootstrap_interval(
        values, np.arange(16), rng=_rng()
    )


def test_one_prompt_has_no_interval():
    assert prompt_interval([1.0, 0.0], ["a", "a"], rng=_rng()) is None
    assert prompt_interval([1.5, 0.0], ["a", "a"], rng=_rng()) is None
