"""Memory: worked numbers, and what torch holds for a model of ten million parameters."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, Gemma2Config, GemmaConfig

from marl_bench.estimates.gpus import gpu_named
from marl_bench.estimates.memory import activation_bytes, ppo_memory
from marl_bench.estimates.on_gpu import estimate_on
from marl_bench.estimates.seconds import Machine
from marl_bench.estimates.shapes import KNOWN_SHAPES, ModelShape
from marl_bench.estimates.sizes import Sizes


def test_what_is_held_is_weights_and_moments(small_load):
    memory = ppo_memory(small_load())
    assert dict(memory.held) == {
        "policy": 1352 * 4,
        "reference": 1352 * 4,
        "critic": 1280 * 4,
        "reward model": 1280 * 4,
        "optimizer of the policy": 2 * 1352 * 4,
        "optimizer of the critic": 2 * 1280 * 4,
    }
    assert "reward model" not in ppo_memory(small_load(reward_model=False)).held
    assert ppo_memory(small_load(**{"model.dtype": "bfloat16"})).held["optimizer of the critic"] == 2 * 1280 * 2


def test_each_phase_is_a_worked_number(small_load):
    phases = ppo_memory(small_load()).phases
    assert phases["sampling"] == {
        "key-value cache": 8 * 10 * 2 * 2 * 4 * 4,  # rows, tokens, layers, keys and values, their width, bytes
        "a layer of the prompts": 8 * 6 * (3 * 16 * 4 + 8 * 8),
        "logits": 8 * 10 * 51,
    }
    assert phases["scoring"]["logits"] == 4 * 4 * 10 * 12
    # A layer saves for a token: norms 2 x 3 tensors of 8 and 4 scalars; gate, its activation, up, product of 16 each; queries and output of
    # 8, keys and values of 4; a number for each of 2 heads. In float32: 4 x (48 + 4 + 64 + 24 + 2) = 568 bytes.
    assert activation_bytes(small_load().shape, width=4, row_tokens=10) == 568
    assert phases["update"] == {
        "gradients of the policy": 1352 * 4,
        "gradients of the critic": 1280 * 4,
        "activations of policy and critic": 2 * 2 * 10 * 2 * 568,  # models, rows, tokens, layers
        "logits": 2 * 4 * 10 * 16,
    }
    assert phases["optimizer step"]["temporaries of the step"] == 1352 * 4


def test_checkpointing_keeps_the_inputs_of_layers_and_one_layer(small_load):
    update = ppo_memory(small_load(**{"memory.gradient_checkpointing": True})).phases["update"]
    assert update["layer inputs of policy and critic"] == 2 * 2 * 10 * 2 * 8 * 4
    assert update["one layer, computed again"] == 2 * 10 * 568


def test_a_token_budget_sets_the_rows_of_a_micro_batch(small_load):
    assert small_load(**{"memory.micro_batch_tokens": 45}).micro_batch == 4
    assert small_load(**{"memory.micro_batch_tokens": 5}).micro_batch == 1


def test_shards_divide_states_and_gather_two_layers_and_the_head(small_load):
    whole, divided = ppo_memory(small_load()), ppo_memory(small_load(), shards=4)
    assert divided.held == {name: count // 4 for name, count in whole.held.items()}
    assert divided.phases["update"]["layers gathered"] == 2 * 592 * 4 + 80 * 4
    assert divided.phases["update"]["logits"] == whole.phases["update"]["logits"]


def _ten_million() -> GemmaConfig:
    return GemmaConfig(
        vocab_size=4096,
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=9,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_gradients_and_moments_are_what_torch_holds(small_load, dtype):
    config = _ten_million()
    shape = ModelShape(9, 256, 4, 2, 64, 1024, 4096)
    held = ppo_memory(small_load(shape=shape, **{"model.dtype": dtype}))
    config.num_labels = 1
    models = {
        "policy": AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)),
        "critic": AutoModelForSequenceClassification.from_config(config, dtype=getattr(torch, dtype)),
    }
    assert 9_500_000 < models["policy"].num_parameters() < 10_500_000
    for name, model in models.items():
        parameters = list(model.parameters())
        optimizer = torch.optim.AdamW(parameters)
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        states = [tensor for state in optimizer.state.values() for tensor in (state["exp_avg"], state["exp_avg_sq"])]
        gradients = [parameter.grad for parameter in parameters]
        assert held.held[name] == sum(tensor.nbytes for tensor in parameters)
        assert held.held[f"optimizer of the {name}"] == sum(tensor.nbytes for tensor in states)
        assert held.phases["update"][f"gradients of the {name}"] == sum(tensor.nbytes for tensor in gradients)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", [GemmaConfig, Gemma2Config])
def test_activations_of_a_layer_are_what_autograd_saves(dtype, kind):
    def saved(layers: int) -> int:
        capped = {"sliding_window": 16, "query_pre_attn_scalar": 32} if kind is Gemma2Config else {}
        config = kind(
            vocab_size=64,
            hidden_size=128,
            intermediate_size=512,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            **capped,
        )
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
        weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        storages: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        ids = torch.arange(2 * 48).reshape(2, 48) % 64
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            kept = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        assert kept.requires_grad
        return sum(storages.values())

    gemma_2 = kind is Gemma2Config
    shape = ModelShape(1, 128, 4, 2, 32, 512, 64, norms=4 if gemma_2 else 2, softcapped=gemma_2)
    a_layer = (saved(4) - saved(2)) / 2 / (2 * 48)
    expected = activation_bytes(shape, width=4 if dtype == "float32" else 2, row_tokens=48)
    assert a_layer == pytest.approx(expected, rel=0.002)


def test_what_does_not_fit_says_what_would(small_load):
    load = small_load(
        shape=KNOWN_SHAPES["google/gemma-7b"],
        **{"model.dtype": "bfloat16", "sampling.max_prompt_tokens": 512, "sampling.max_response_tokens": 512},
        **{"memory.gradient_checkpointing": True},
    )
    estimate = estimate_on(Machine(gpu_named("h100"), 1), load, Sizes(), updates=1, trained_cells=1, cells=1)
    assert not estimate.fits
    advice = {each.text: each for each in estimate.advice}
    assert not advice["ppo.micro_batch_size=1 and ppo.score_batch_size=1"].fits
    enough = advice["FSDP or ZeRO-3 over 4 such GPUs"]
    assert enough.fits
    assert enough.needed_gib < 79.6
    with_four = estimate_on(Machine(gpu_named("h100"), 4), load, Sizes(), updates=1, trained_cells=1, cells=1)
    assert with_four.fits
    assert with_four.advice == ()
    assert not with_four.memory.fits(gpu_named("h100"))
