"""Loads of small and of named models."""

import pytest

from marl_bench.config_layers import resolve
from marl_bench.estimates.memory import Load
from marl_bench.estimates.shapes import ModelShape

# Layer: 2 x 8 x 8 + 2 x 8 x 4 + 3 x 8 x 16 = 128 + 64 + 384 = 576 in matrices, 2 x 8 = 16 in norms: 592.
# Trunk: 2 x 592 + 10 x 8 + 8 = 1,272; with a head of its own 1,352; as a classifier 1,280.
SMALL = ModelShape(layers=2, hidden=8, heads=2, kv_heads=1, head_width=4, intermediate=16, vocabulary=10, tied=False)


@pytest.fixture
def small_load():
    """Returns a load of the small shape with 6 + 4 tokens and changes to its settings."""

    def make(*, reward_model: bool = True, shape: ModelShape = SMALL, **changes: object) -> Load:
        settings = {
            "sampling.max_prompt_tokens": 6,
            "sampling.max_response_tokens": 4,
            "ppo.batch_size": 8,
            "ppo.micro_batch_size": 2,
            "ppo.score_batch_size": 4,
            "ppo.sample_batch_size": 8,
            **changes,
        }
        return Load(resolve(preset="tiny", overrides=list(settings.items())).config, shape, reward_model)

    return make
