"""A training with the memory options is the training without them, up to rounding; float32 master weights keep small steps."""

import dataclasses

import pytest
import torch
from marl_bench_baselines.macro_ppo import MacroPpo

from marl_bench.config import MemoryConfig
from marl_bench.errors import TrainingError
from marl_bench.macro.termination import EveryNTokens
from marl_bench.models import offload
from marl_bench.models.memory import with_memory
from marl_bench.models.offload import Offload
from marl_bench.training.optimizer_memory import move_state, with_masters
from marl_bench.training.ppo import _Trainer, train_ppo
from marl_bench.training.progress import NoProgress
from marl_bench.training.update import make_optimizers


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.fixture
def train(make_actors, make_run, letter_task, prompts, ppo):
    """Returns what a short training with macro actions and minibatches leaves: its models and the bytes of its curve."""

    def train(name, memory, **changes):
        actors = with_memory(make_actors(), memory)
        settings = ppo.model_copy(update={"minibatches": 2, "micro_batch_size": 3, "score_batch_size": 4, **changes})
        run = make_run(name)
        train_ppo(run, actors, letter_task, MacroPpo(EveryNTokens(3), settings), prompts, NoProgress())
        return actors, (run.folder / "metrics.jsonl").read_bytes()

    return train


def test_checkpointing_and_offload_change_no_bit_of_a_training(train):
    plain, curve = train("plain", MemoryConfig())
    found, same = train("saving", MemoryConfig(gradient_checkpointing=True, offload=True))
    assert same == curve
    assert torch.equal(weights(found.policy), weights(plain.policy))
    assert torch.equal(weights(found.critic), weights(plain.critic))


@pytest.mark.parametrize(
    "memory",
    [
        MemoryConfig(logits_chunk_tokens=16),
        MemoryConfig(micro_batch_tokens=64, score_batch_tokens=96, sample_batch_tokens=96),
        MemoryConfig(packing=True, micro_batch_tokens=64, logits_chunk_tokens=16, gradient_checkpointing=True),
    ],
    ids=["chunks", "tokens", "all"],
)
def test_a_training_changes_by_rounding_only(train, ppo, memory):
    plain, _ = train("plain", MemoryConfig(), updates=1, minibatches=1)
    found, _ = train("saving", memory, updates=1, minibatches=1)
    # Adam's first step is the sign of a gradient, whose rounding noise it blows up where there is nothing else.
    close = torch.isclose(weights(found.policy), weights(plain.policy), atol=ppo.learning_rate / 50)
    assert close.float().mean() > 0.999
    close = torch.isclose(weights(found.critic), weights(plain.critic), atol=ppo.critic_learning_rate / 50)
    assert close.float().mean() > 0.999


class OneWeight(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1, dtype=torch.bfloat16))


def adam(parameters):
    return torch.optim.AdamW(parameters, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0)


@pytest.mark.parametrize(("masters", "left"), [(False, 1.0), (True, 0.99609375)])
def test_steps_that_bfloat16_loses_add_up_in_master_weights(masters, left):
    model = OneWeight()
    optimizer = with_masters(model, [model.weight], adam) if masters else adam(model.parameters())
    for _ in range(30):
        (model.weight * 3).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    # Adam moves by the learning rate where the gradient stays the same: 30 x 1e-4 = .003. Below 1 the neighbour in bfloat16 is
    # 1 - 2**-8 = .99609375; one step is lost, and .997 rounds to that neighbour.
    assert model.weight.item() == left


def test_master_weights_add_up_gradients_in_float32():
    model = OneWeight()
    optimizer = with_masters(model, [model.weight], adam)
    for factor in (1.0, *[2.0**-9] * 8):
        (model.weight * factor).sum().backward()
    [master] = optimizer.param_groups[0]["params"]
    # In bfloat16 1 + 2**-9 is 1, so that eight such gradients would be lost.
    assert master.grad.item() == 1 + 8 * 2.0**-9
    assert model.weight.grad is None


def test_master_weights_come_back_with_the_optimizer():
    one, other = OneWeight(), OneWeight()
    optimizers = [with_masters(model, [model.weight], adam) for model in (one, other)]
    for step in range(25):
        if step == 12:
            optimizers[1].load_state_dict(optimizers[0].state_dict())
        for model, optimizer in list(zip((one, other), optimizers, strict=True))[: 1 if step < 12 else 2]:
            (model.weight * 3).sum().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    masters = [optimizer.param_groups[0]["params"][0].item() for optimizer in optimizers]
    assert masters[0] == masters[1]
    assert one.weight.item() == other.weight.item()


def test_only_weights_of_low_precision_get_masters(make_actors, ppo):
    actors = with_memory(make_actors(), MemoryConfig(master_weights="float32"))
    actors.critic.bfloat16()
    optimizers = make_optimizers(actors, ppo, steps=1)
    trained = {id(weight) for weight in optimizers.policy.param_groups[0]["params"]}
    assert trained == {id(weight) for weight in actors.policy.parameters()}
    assert all(weight.dtype == torch.float32 for weight in optimizers.critic.param_groups[0]["params"])


def test_the_state_of_an_optimizer_moves_but_for_its_count():
    model = OneWeight()
    optimizer = adam(model.parameters())
    (model.weight * 3).sum().backward()
    optimizer.step()
    move_state(optimizer, torch.device("meta"))
    [state] = optimizer.state.values()
    places = {name: value.device.type for name, value in state.items()}
    assert places == {"step": "cpu", "exp_avg": "meta", "exp_avg_sq": "meta"}
    assert model.weight.device.type == "cpu"


def test_a_bfloat16_training_rounds_its_masters_into_the_policy(make_actors, make_run, letter_task, prompts, ppo):
    actors = make_actors()
    for model in (actors.policy, actors.reference, actors.critic):
        model.bfloat16()
    actors = with_memory(actors, MemoryConfig(master_weights="float32", packing=True, offload=True))
    before = weights(actors.policy).clone()
    trainer = _Trainer(make_run(), actors, letter_task, MacroPpo(EveryNTokens(3), ppo), prompts)
    line = trainer.step(lambda: None)
    masters = trainer.learner.optimizers.policy.param_groups[0]["params"]
    assert {master.dtype for master in masters} == {torch.float32}
    assert line["policy_gradient_norm"] > 0
    assert (weights(actors.policy) != before).any()
    assert torch.equal(weights(actors.policy), torch.cat([master.flatten() for master in masters]).bfloat16())


@pytest.mark.parametrize("source", ["sampler", "recomputed"])
def test_a_bfloat16_rollout_of_another_temperature_is_refused(
    make_actors, make_run, letter_task, prompts, ppo, monkeypatch, source
):
    actors = make_actors()
    for model in (actors.policy, actors.reference, actors.critic):
        model.bfloat16()
    settings = ppo.model_copy(update={"old_logprobs": source})
    trainer = _Trainer(make_run(), actors, letter_task, MacroPpo(EveryNTokens(3), settings), prompts)
    assert 0 <= trainer.step()["mean_ratio_deviation"] < 0.02
    monkeypatch.setattr("marl_bench.training.ppo.log_prob_temperature", lambda _: 2.0)
    with pytest.raises(TrainingError, match=r"differs from 1 by \S+ in the mean, allowed are 0.1"):
        trainer.step()


def test_models_are_on_the_device_when_they_are_called_and_wait_when_the_phase_ends(
    make_actors, make_run, letter_task, prompts, ppo
):
    actors = make_actors()
    device, places, seen = torch.device("meta"), {}, []
    named = {actors.reference: "reference", actors.critic: "critic"}
    waiting = Offload(list(named), device, move=lambda model, to: places.update({named[model]: to.type}))

    def look(model, _inputs):
        seen.append(named[model])
        assert places[named[model]] == "meta"
        assert sorted(places.values()) == ["cpu", "meta"]  # the other one waits

    for model in named:
        model.register_forward_pre_hook(look)
    actors.policy.register_forward_pre_hook(
        lambda *_: seen.append("sampling" if not torch.is_grad_enabled() else "learning")
    )
    actors = dataclasses.replace(actors, offload=waiting)
    assert places == {"reference": "cpu", "critic": "cpu"}
    train_ppo(make_run(), actors, letter_task, MacroPpo(EveryNTokens(3), ppo), prompts, NoProgress())
    assert places == {"reference": "cpu", "critic": "cpu"}
    phases = [name for number, name in enumerate(seen) if name != (seen[number - 1] if number else None)]
    assert phases == ["sampling", "critic", "reference", "learning", "critic"] * 2


def test_models_that_stand_on_the_policys_weights_do_not_wait(make_actors, monkeypatch):
    moved = []
    monkeypatch.setattr(offload.Offload, "__init__", lambda _self, models, *_args, **_kwargs: moved.extend(models))
    actors = make_actors()
    actors.reference.lm_head = actors.policy.lm_head
    with_memory(actors, MemoryConfig(offload=True))
    assert moved == [actors.critic]


@pytest.mark.soak  # imports TRL
def test_sft_with_checkpointing_gives_the_same_weights(make_actors, prompts):
    from marl_bench.config import SupervisedConfig
    from marl_bench.records import SftPair
    from marl_bench.training.supervised import SupervisedRun, train_sft

    found = []
    for switch in (False, True):
        actors = make_actors()
        pairs = [SftPair(prompt, "cats and trees are fine") for prompt in prompts]
        settings = SupervisedConfig(max_steps=2, batch_size=4, micro_batch_size=2, learning_rate=1e-3)
        recomputed = []
        attention = actors.policy.model.layers[0].self_attn
        attention.register_forward_hook(lambda *_, recomputed=recomputed: recomputed.append(1))
        run = SupervisedRun(settings, 16, 0, NoProgress(), gradient_checkpointing=switch)
        train_sft(actors.policy, actors.tokenizer, pairs, run)
        found.append((weights(actors.policy), len(recomputed)))
    assert torch.equal(found[0][0], found[1][0])
    assert found[1][1] == 2 * found[0][1]
