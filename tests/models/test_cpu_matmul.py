"""oneDNN's products are torch's up to rounding, forward and backward, in models as in matrices."""

from pathlib import Path

import pytest
import torch

from marl_bench.config import RunConfig, SpeedConfig
from marl_bench.errors import ConfigError
from marl_bench.models.actors import load_actors
from marl_bench.models.cpu_matmul import Linear, product, with_speed
from marl_bench.models.loading import model_folder

FAST = SpeedConfig(cpu_matmul="onednn")
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.mark.parametrize("shape", [(1, 6), (3, 5, 6), (8, 6), (64, 6), (65, 6), (2, 70, 6)])
def test_products_and_gradients_are_those_of_torch(shape):
    generator = torch.Generator().manual_seed(0)
    inputs, weight = torch.randn(shape, generator=generator), torch.randn(4, 6, generator=generator)
    torch.testing.assert_close(product(inputs, weight), inputs @ weight.t(), **CLOSE)
    upstream = torch.randn(*shape[:-1], 4, generator=generator)
    found, expected = ([each.clone().requires_grad_() for each in (inputs, weight)] for _ in range(2))
    Linear.apply(*found).backward(upstream)
    (expected[0] @ expected[1].t()).backward(upstream)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.grad, other.grad, **CLOSE)


def test_gradients_are_those_worked_out_by_hand():
    # loss = sum(inputs @ weight.T): every row of the weight's gradient is the sum of the inputs, every input's gradient the sum of the weights.
    inputs = torch.arange(6.0).view(3, 2).requires_grad_()
    weight = torch.tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=True)
    Linear.apply(inputs, weight).sum().backward()
    assert weight.grad.tolist() == [[6.0, 9.0], [6.0, 9.0]]
    assert inputs.grad.tolist() == [[4.0, 7.0]] * 3


def _actors(dtype="float32"):
    folder = Path(model_folder("tiny"))
    device = torch.device("cpu")
    return load_actors(policy=folder, sft=folder, reward_model=None, dtype=dtype, critic_scale=1.0, device=device)


def test_a_fast_model_computes_the_same_and_the_default_leaves_it_alone():
    actors = _actors()
    ids = torch.arange(2, 42).view(2, 20)
    before = actors.policy(ids).logits
    assert torch.equal(with_speed(actors, SpeedConfig()).policy(ids).logits, before)
    after = with_speed(actors, FAST).policy(ids).logits
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    assert actors.policy(ids, logits_to_keep=torch.empty(0, dtype=torch.long)).logits.numel() == 0
    after.logsumexp(-1).sum().backward()
    plain = _actors()
    plain.policy(ids).logits.logsumexp(-1).sum().backward()
    for (name, one), (_, other) in zip(actors.policy.named_parameters(), plain.policy.named_parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-3, msg=name)


def test_other_than_float32_on_a_cpu_is_refused():
    with pytest.raises(ConfigError, match="onednn is for float32 on a CPU, the models are bfloat16 on cpu"):
        with_speed(_actors("bfloat16"), FAST)


def test_the_default_is_no_part_of_the_hash():
    config = RunConfig()
    assert "speed" not in config.hashed_part()
    assert config.model_copy(update={"speed": FAST}).hashed_part()["speed"] == {"cpu_matmul": "onednn"}
