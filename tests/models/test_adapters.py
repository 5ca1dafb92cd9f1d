"""LoRA adapters: on every architecture nothing changes before training, nothing but the adapter is trained, and the base is held once."""

import copy
import json
import warnings

import pytest
import torch
from transformers import AutoModelForCausalLM

from marl_bench.config import LoraConfig
from marl_bench.errors import ConfigError, ModelError, UnknownNameError
from marl_bench.models.adapters import (
    NewAdapter,
    adapter_targets,
    check_adapters,
    critic_on,
    fold_in,
    save_model,
    trainable_parameters,
    trained_model,
    with_new_adapter,
    with_stored_adapter,
)
from marl_bench.models.checkpointing import checkpoint_activations
from marl_bench.models.loading import SCORE_OFFSET, load_policy, load_reward_model
from marl_bench.models.lora_install import check_lora_installed
from marl_bench.models.scoring import TokenValues

LORA = LoraConfig(rank=4, alpha=6.0)
IDS = torch.arange(2, 42).view(4, 10)


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def shaken(model):
    """Gives every trained weight random values, as a training would."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in trainable_parameters(model).values():
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    return model


@pytest.fixture
def adapted(policy):
    return with_new_adapter(policy, NewAdapter(LORA, 0))


def test_a_new_adapter_changes_no_bit(policy, adapted):
    assert torch.equal(logits(adapted), logits(policy))


def test_the_base_is_held_once_and_frozen_and_stays_what_it_was(policy, adapted):
    before = logits(policy)
    base = {weight.data_ptr() for weight in policy.parameters()}
    trained = trainable_parameters(adapted)
    assert {weight.data_ptr() for weight in adapted.parameters()} - base == {w.data_ptr() for w in trained.values()}
    assert trained and all("lora_" in name for name in trained)
    assert not trainable_parameters(policy)
    optimizer = torch.optim.AdamW(trained.values(), lr=0.1)
    for _ in range(2):
        adapted(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
    assert all(weight.grad is None for weight in policy.parameters())
    assert not torch.equal(logits(adapted), before)
    assert torch.equal(logits(policy), before)


def test_the_adapter_adds_the_scaled_product_of_its_matrices(policy, adapted):
    shaken(adapted)
    whole = copy.deepcopy(policy)
    state = adapted.state_dict()
    for name, weight in whole.named_parameters():
        stem = name.removesuffix(".weight")
        if f"{stem}.lora_A.default.weight" in state:
            product = state[f"{stem}.lora_B.default.weight"] @ state[f"{stem}.lora_A.default.weight"]
            # alpha / rank = 6 / 4; a Conv1D holds its matrix the other way round.
            weight.data += 1.5 * (product.T if type(policy.get_submodule(stem)).__name__ == "Conv1D" else product)
    torch.testing.assert_close(logits(whole), logits(adapted), atol=1e-4, rtol=1e-4)
    fold_in(adapted)
    torch.testing.assert_close(logits(adapted), logits(whole), atol=1e-4, rtol=1e-4)
    assert {name for name, _ in adapted.named_parameters()} == {name for name, _ in policy.named_parameters()}


def test_first_weights_depend_on_the_seed_alone(policy):
    state = torch.get_rng_state()
    first, second, other = (with_new_adapter(policy, NewAdapter(LORA, seed)).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_policy_and_critic_on_one_base_do_not_touch_each_other(policy, config):
    """Also where activations are computed again in the backward pass: each has the gradients that it has alone."""
    adapted, critic = with_new_adapter(policy, NewAdapter(LORA, 0)), critic_on(policy, NewAdapter(LORA, 1))
    shaken(adapted), shaken(critic)
    assert critic.score.weight.shape == (1, policy.config.hidden_size)
    assert not set(map(id, trainable_parameters(adapted).values())) & set(
        map(id, trainable_parameters(critic).values())
    )

    def gradients(*losses):
        sum(loss() for loss in losses).backward()
        found = {}
        for name, model in (("policy", adapted), ("critic", critic)):
            for key, weight in trainable_parameters(model).items():
                if weight.grad is not None:
                    found[name, key], weight.grad = weight.grad, None
        return found

    def policy_loss():
        return adapted(input_ids=IDS).logits.logsumexp(-1).sum()

    def critic_loss():
        return critic.score(critic.base_model(input_ids=IDS).last_hidden_state).square().sum()

    alone = {**gradients(policy_loss), **gradients(critic_loss)}
    together = gradients(policy_loss, critic_loss)
    for model in (adapted, critic):
        checkpoint_activations(model, name="it")
    recomputed = gradients(policy_loss, critic_loss)
    assert alone.keys() == together.keys() == recomputed.keys()
    for key, gradient in alone.items():
        torch.testing.assert_close(together[key], gradient, msg=str(key))
        torch.testing.assert_close(recomputed[key], gradient, msg=str(key))


def test_a_critic_on_a_reward_model_starts_from_its_head_and_leaves_it_alone(classifier):
    before = {name: weight.clone() for name, weight in classifier.named_parameters()}
    critic = critic_on(classifier, NewAdapter(LORA, 0))
    assert torch.equal(critic.score.weight, classifier.score.weight)
    assert {name for name in trainable_parameters(critic) if "lora_" not in name} == {"score.weight"}
    shaken(critic)
    assert all(torch.equal(weight, before[name]) for name, weight in classifier.named_parameters())


@pytest.mark.parametrize("merged", [False, True], ids=["adapter", "merged"])
def test_a_stored_policy_is_the_policy(policy, tmp_path, merged):
    policy.save_pretrained(tmp_path / "shared" / "sft")
    base = load_policy(str(tmp_path / "shared" / "sft"), dtype="float32")
    adapted = shaken(with_new_adapter(base, NewAdapter(LORA, 0)))
    folder = tmp_path / "cells" / "arm" / "policy"
    folder.mkdir(parents=True)
    save_model(adapted, folder, merged=merged)
    torch.testing.assert_close(logits(load_policy(str(folder), dtype="float32")), logits(adapted), atol=1e-4, rtol=1e-4)
    if not merged:
        assert (
            json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "../../../shared/sft"
        )
        # Moved with its experiment; peft reads it as well.
        (tmp_path / "shared").rename(tmp_path / "away")
        with pytest.raises(ModelError, match=r"its base model '../../../shared/sft' is not there"):
            load_policy(str(folder), dtype="float32")
        assert torch.equal(logits(with_stored_adapter(base, folder)), logits(adapted))


def test_a_stored_critic_is_the_critic(tmp_path):
    base = load_policy("tiny", dtype="float32")
    critic = shaken(critic_on(base, NewAdapter(LORA, 0)))
    setattr(critic.config, SCORE_OFFSET, -1.25)
    folder = tmp_path / "cells" / "arm" / "critic"
    folder.mkdir(parents=True)
    save_model(critic, folder, merged=False)
    again = load_reward_model(str(folder), dtype="float32", pad_token_id=0)
    assert getattr(again.config, SCORE_OFFSET) == -1.25
    with torch.no_grad():
        hidden = [model.base_model(input_ids=IDS).last_hidden_state for model in (critic, again)]
        assert torch.equal(critic.score(hidden[0]), again.score(hidden[1]))
    assert TokenValues(again).classifier is again


def test_adapters_of_bfloat16_weights_are_float32(policy):
    base = policy.to(torch.bfloat16)
    adapted = with_new_adapter(base, NewAdapter(LORA, 0))
    assert {weight.dtype for weight in trainable_parameters(adapted).values()} == {torch.float32}
    assert torch.equal(logits(adapted), logits(base))


def test_a_trained_stage_is_a_plain_model_with_its_head_trained(classifier):
    start = copy.deepcopy(classifier)

    def train(model):
        assert {name.split(".")[-2] for name in trainable_parameters(model) if "lora_" not in name} == {"default"}
        shaken(model)
        with torch.no_grad():
            train.expected = model.base_model(input_ids=IDS, use_cache=False).logits
        return {"steps": 1}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, figures = trained_model(lambda _: classifier, LORA, train, seed=0)
    assert type(model) is type(start)
    assert model.state_dict().keys() == start.state_dict().keys()
    assert not torch.equal(model.score.weight, start.score.weight)
    assert all(weight.requires_grad for weight in model.parameters())
    torch.testing.assert_close(model(input_ids=IDS, use_cache=False).logits, train.expected, atol=1e-4, rtol=1e-4)
    assert figures["trainable_parameters"] > figures["steps"] == 1


def test_stages_ppo_trains_the_other_stages_whole(policy):
    model, _ = trained_model(lambda _: policy, LORA.model_copy(update={"stages": "ppo"}), lambda _: {}, seed=0)
    assert model is policy
    assert all(weight.requires_grad for weight in policy.parameters())


def test_parameters_are_counted_from_the_configuration():
    # Two layers; 4 projections of 128 x 128 and 3 between 128 and 256, rank 4 times the sum of the sides.
    assert check_adapters("tiny", LORA) == 2 * 4 * (4 * (128 + 128) + 3 * (128 + 256))
    two = LORA.model_copy(update={"targets": ["q_proj", "mlp.down_proj"]})
    assert check_adapters("tiny", two) == 2 * 4 * (128 + 128 + 128 + 256)
    found = with_new_adapter(load_policy("tiny", dtype="float32"), NewAdapter(two, 0))
    assert sum(weight.numel() for weight in trainable_parameters(found).values()) == check_adapters("tiny", two)
    assert check_adapters("tiny", LoraConfig()) == 0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"targets": ["q_porj"]},
            UnknownNameError,
            r"layer of LlamaForCausalLM in lora.targets 'q_porj'. Did you mean 'q_proj'",
        ),
        (
            {"targets": ["embed_tokens"]},
            ModelError,
            "'embed_tokens' of LlamaForCausalLM is no linear layer below the head",
        ),
        ({"targets": ["lm_head"]}, ModelError, "'lm_head' of LlamaForCausalLM is no linear layer below the head"),
        ({"rank": 129}, ConfigError, "lora.rank=129: layer .* is 128 x 256, where a rank above 128 adds"),
        ({"quantize": "nf4"}, ModelError, "needs a GPU, and torch sees none"),
    ],
)
def test_what_cannot_be_adapted_is_refused_before_any_training(changes, error, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(error, match=message):
        check_adapters("tiny", LORA.model_copy(update=changes))


def test_a_model_without_linear_layers_is_refused():
    class Convolutions(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.base_model = torch.nn.Sequential(torch.nn.Conv1d(4, 4, 3), torch.nn.ReLU())

    with pytest.raises(ModelError, match="Convolutions has no linear layers below its head"):
        adapter_targets(Convolutions(), LORA)


def test_an_adapter_of_another_model_is_refused(tmp_path):
    adapted = with_new_adapter(load_policy("tiny", dtype="float32"), NewAdapter(LORA, 0))
    folder = tmp_path / "cells" / "arm" / "policy"
    folder.mkdir(parents=True)
    save_model(adapted, folder, merged=False)
    config = adapted.config.to_dict() | {"hidden_size": 64, "head_dim": 16, "architectures": None}
    other = AutoModelForCausalLM.from_config(type(adapted.config)(**config))
    with pytest.raises(ModelError, match="does not fit its base model"):
        with_stored_adapter(other, folder)


@pytest.mark.parametrize(
    ("lora", "missing", "message"),
    [
        (LORA, "peft", r"lora.rank=4: needs the package peft: pip install 'marl-bench\[lora\]'"),
        (
            LoraConfig(rank=4, quantize="nf4"),
            "bitsandbytes",
            r"needs the package bitsandbytes: pip install 'marl-bench\[qlora\]'",
        ),
    ],
)
def test_a_missing_package_is_named_with_its_extra(lora, missing, message, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    with pytest.raises(ModelError, match=message):
        check_lora_installed(lora)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 8.0}, "alpha without lora.rank"),
        ({"rank": 4, "quantize": "nf4", "save": "merged"}, "save=merged with quantize=nf4 would change the policy"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LoraConfig(**settings)
