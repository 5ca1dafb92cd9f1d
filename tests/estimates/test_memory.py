"""Memory: worked numbers, and what torch holds for a model of ten million parameters."""

import dataclasses

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, Gemma2Config, GemmaConfig

from marl_bench.config_layers import with_overrides
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


def test_token_limits_set_the_rows_of_each_kind_of_pass(small_load):
    load = small_load(
        **{"memory.micro_batch_tokens": 45, "memory.score_batch_tokens": 10, "memory.sample_batch_tokens": 4000}
    )
    assert (load.micro_batch, load.score_batch, load.sample_batch) == (4, 1, 8)


def test_logits_exist_for_one_chunk_at_a_time(small_load):
    phases = ppo_memory(small_load(**{"memory.logits_chunk_tokens": 3})).phases
    assert phases["update"]["logits"] == 3 * 10 * 16
    assert phases["scoring"]["logits"] == 3 * 10 * 12


def test_float32_copies_of_bfloat16_weights_count_with_the_optimizer(small_load):
    memory = ppo_memory(small_load(**{"model.dtype": "bfloat16", "memory.master_weights": "float32"}))
    assert memory.held["policy"] == 1352 * 2
    assert memory.held["optimizer of the policy"] == 3 * 1352 * 4
    assert memory.phases["update"]["gradients of the policy"] == 1352 * 4


def test_adapters_stand_on_one_base(small_load):
    # Sides of a layer's matrices: queries and output 16 each, keys and values 12 each, feed-forward 24 each: 32 + 24 + 72 = 128.
    memory = ppo_memory(small_load(**{"lora.rank": 2}))
    adapter = 2 * 2 * 128 * 4
    assert dict(memory.held) == {
        "policy": 1352 * 4 + adapter,
        "reference": 0,
        "critic": adapter + 8 * 4,
        "reward model": 1280 * 4,
        "optimizer of the policy": 2 * adapter,
        "optimizer of the critic": 2 * (adapter + 8 * 4),
    }
    only_queries = small_load(**{"lora.rank": 2, "lora.targets": ["q_proj", "v_proj"]})
    assert only_queries.adapter == 2 * 2 * (16 + 12)


def test_what_waits_on_the_cpu_is_there_one_at_a_time(small_load):
    memory = ppo_memory(small_load(**{"memory.offload": True}))
    assert dict(memory.held) == {"policy": 1352 * 4}
    assert memory.phases["scoring"]["largest of the models that wait"] == 1352 * 4
    assert memory.phases["update"]["critic"] == 1280 * 4
    assert memory.phases["optimizer step"]["optimizer of the policy"] == 2 * 1352 * 4


def test_shards_divide_states_and_put_two_layers_and_what_is_in_no_layer_together(small_load):
    whole, divided = ppo_memory(small_load()), ppo_memory(small_load(), shards=4)
    assert divided.held == {name: count // 4 for name, count in whole.held.items()}
    # In no layer: 2 x 80 + 8 of the policy's 1352 parameters, 80 + 8 + 8 of the critic's 1280.
    assert divided.phases["sampling"]["layers put together"] == (2 * 592 + 168) * 4
    assert divided.phases["update"]["layers put together"] == 2 * (2 * 592 + 168 + 96) * 4 + 592 * 4
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


def test_float32_copies_and_adapters_are_what_torch_holds(small_load, tmp_path):
    from transformers import AutoTokenizer

    from marl_bench.models.actors import load_actors
    from marl_bench.models.adapters import NewAdapter, trainable_parameters
    from marl_bench.models.loading import model_folder
    from marl_bench.training.optimizer_memory import trained_parameters, with_masters

    shape = ModelShape(9, 256, 4, 2, 64, 1024, 4096)
    config = _ten_million()
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    copies = ppo_memory(small_load(shape=shape, **{"model.dtype": "bfloat16", "memory.master_weights": "float32"}))
    optimizer = with_masters(model, list(model.parameters()), torch.optim.AdamW)
    masters = trained_parameters(optimizer)
    for master in masters:
        master.grad = torch.zeros_like(master)
    optimizer.step()
    moments = [state[name] for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    assert copies.held["optimizer of the policy"] == sum(tensor.nbytes for tensor in [*masters, *moments])
    assert copies.phases["update"]["gradients of the policy"] == sum(master.grad.nbytes for master in masters)

    load = small_load(shape=shape, **{"model.dtype": "bfloat16", "lora.rank": 8})
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(model_folder("tiny")).save_pretrained(tmp_path)
    actors = load_actors(
        policy=NewAdapter(load.config.lora, 0),
        sft=tmp_path,
        reward_model=None,
        dtype="bfloat16",
        critic_scale=1.0,
        device=torch.device("cpu"),
    )
    adapters = ppo_memory(small_load(shape=shape, reward_model=False, **{"model.dtype": "bfloat16", "lora.rank": 8}))
    for name, adapted in (("policy", actors.policy), ("critic", actors.critic)):
        trained = trainable_parameters(adapted).values()
        assert adapters.phases["update"][f"gradients of the {name}"] == sum(each.nbytes for each in trained)
    models = (actors.policy, actors.reference, actors.critic)
    tensors = {each.data_ptr(): each.nbytes for one in models for each in one.parameters()}
    assert sum(adapters.held[name] for name in ("policy", "reference", "critic")) == sum(tensors.values())


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
    assert "ppo.micro_batch_size=1 and ppo.score_batch_size=1" not in advice  # the optimizer's step needs most
    assert not advice["memory.offload=true"].fits
    assert "all of these" not in advice  # it is the only one
    assert advice["lora.rank=16, which trains adapters only"].fits
    enough = advice["memory.shard=true over 4 GPUs"]
    assert enough.fits
    assert enough.needed_gib < 79.6
    divided_load = dataclasses.replace(load, config=with_overrides(load.config, [("memory.shard", True)]))
    as_configured = estimate_on(
        Machine(gpu_named("h100"), 4), divided_load, Sizes(), updates=1, trained_cells=1, cells=1
    )
    assert as_configured.fits
    assert as_configured.configured.needed_gib == enough.needed_gib
    with_four = estimate_on(Machine(gpu_named("h100"), 4), load, Sizes(), updates=1, trained_cells=1, cells=1)
    assert not with_four.fits  # data parallel holds everything on each
    assert with_four.sharded is not None
    assert with_four.sharded.needed_gib == enough.needed_gib
