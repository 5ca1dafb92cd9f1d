"""PPO through adapters: the first ratio is 1, the reference never moves, it learns, goes on after a kill, and what it leaves is read."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from marl_bench_baselines.macro_ppo import MacroPpo

from marl_bench.cell import Worker
from marl_bench.config import CheckpointConfig, LoraConfig, PpoConfig
from marl_bench.config_layers import resolve
from marl_bench.finished_run import open_run
from marl_bench.macro.termination import EveryNTokens
from marl_bench.models.actors import load_actors
from marl_bench.models.adapters import NewAdapter, trainable_parameters
from marl_bench.models.loading import load_policy, load_reward_model, model_folder
from marl_bench.models.responses import stored_responses
from marl_bench.models.scoring import response_log_probs
from marl_bench.planning import make_plan
from marl_bench.plugins import Registry
from marl_bench.run_dir import claim, digest_of_folder
from marl_bench.training.checkpoint import Checkpoints
from marl_bench.training.ppo import train_ppo
from marl_bench.training.progress import NoProgress
from marl_bench.training.update import make_optimizers

SHARED = LoraConfig(rank=8, share_base=True)
CPU = torch.device("cpu")


def adapted_actors(lora=SHARED, *, reward_model=None, seed=0):
    folder = Path(model_folder("tiny"))
    return load_actors(
        policy=NewAdapter(lora, seed),
        sft=folder,
        reward_model=reward_model,
        dtype="float32",
        critic_scale=1.0,
        device=CPU,
    )


@pytest.fixture
def settings(ppo):
    changed = {"minibatches": 2, "learning_rate": 5e-3, "old_logprobs": "recomputed", "updates": 3}
    return PpoConfig.model_validate({**ppo.model_dump(), **changed})


def train(run, actors, settings, letter_task, prompts):
    train_ppo(run, actors, letter_task, MacroPpo(EveryNTokens(3), settings), prompts, NoProgress())
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def test_at_first_the_policy_is_the_reference_and_the_reference_stays_the_sft_model(
    make_run, settings, letter_task, prompts
):
    actors = adapted_actors()
    sft = load_policy("tiny", dtype="float32")
    ids = torch.arange(2, 82).view(2, 40)
    lines = train(make_run(), actors, settings, letter_task, prompts)
    assert lines[0]["kl"] == 0.0  # bit for bit: the second matrix of each adapter is 0
    assert lines[0]["ratio_deviation"] == 0.0
    assert lines[1]["kl"] != 0.0
    with torch.no_grad():
        assert torch.equal(actors.reference(input_ids=ids).logits, sft(input_ids=ids).logits)
        assert not torch.equal(actors.policy(input_ids=ids).logits, sft(input_ids=ids).logits)
    named = {**sft.state_dict()}
    assert all(torch.equal(weight, named[name]) for name, weight in actors.reference.state_dict().items())


def test_optimizers_hold_adapters_and_head_alone(settings):
    actors = adapted_actors()
    optimizers = make_optimizers(actors, settings, steps=4)
    sizes = [sum(w.numel() for group in each.param_groups for w in group["params"]) for each, _ in optimizers.pairs()]
    adapters = 2 * 8 * (4 * (128 + 128) + 3 * (128 + 256))
    assert sizes == [adapters, adapters + 128]  # the critic's head


@pytest.mark.parametrize("share_base", [False, True])
def test_with_a_reward_model_the_critic_stands_on_its_base_or_on_the_policys(share_base, tmp_path):
    classifier = load_reward_model("tiny", dtype="float32", pad_token_id=0)
    torch.nn.init.constant_(classifier.score.weight, 0.5)
    classifier.save_pretrained(tmp_path)
    for path in Path(model_folder("tiny")).glob("tokenizer*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    actors = adapted_actors(LoraConfig(rank=8, share_base=share_base), reward_model=tmp_path)
    own = actors.reward.parts[0].function.model.classifier
    base = actors.policy if share_base else own
    theirs = {weight.data_ptr() for weight in base.base_model.parameters()}
    critic = actors.critic.classifier
    trained = {weight.data_ptr() for weight in trainable_parameters(critic).values()}
    assert {weight.data_ptr() for weight in critic.parameters()} <= theirs | trained
    assert bool((critic.score.weight == (0.0 if share_base else 0.5)).all())
    models = [actors.policy, actors.reference, critic, own]
    held = {weight.data_ptr(): weight.numel() for model in models for weight in model.parameters()}
    whole = sum(weight.numel() for weight in actors.reference.parameters())
    # Two bases, of policy and of reward model, where training all weights holds four; the rest are adapters and two heads.
    assert sum(held.values()) == 2 * whole + 2 * 34816 + 2 * 128


def test_it_learns(make_run, settings, letter_task, prompts):
    longer = settings.model_copy(update={"updates": 8, "batch_size": 12, "kl_coef": 0.0})
    lines = train(make_run(), adapted_actors(), longer, letter_task, prompts)
    assert sum(line["score"] for line in lines[-3:]) / 3 > sum(line["score"] for line in lines[:3]) / 3 + 0.05


def test_a_training_that_is_killed_goes_on_bit_for_bit_from_its_adapters(make_run, settings, letter_task, prompts):
    class Killed(BaseException):
        pass

    def attempt(name, *, die_after=None):
        run = make_run(name)
        store = Checkpoints(
            run.folder / "checkpoints", {}, CheckpointConfig(every_seconds=0), lines=(run.folder / "metrics.jsonl",)
        )
        if die_after:
            write = store.write

            def write_and_die(position, *arguments, **named):
                write(position, *arguments, **named)
                attempt.written += 1
                if attempt.written == die_after:
                    raise Killed

            attempt.written, store.write = 0, write_and_die
        actors = adapted_actors()
        train(dataclasses.replace(run, checkpoints=store), actors, settings, letter_task, prompts)
        weights = {**trainable_parameters(actors.policy), **trainable_parameters(actors.critic)}
        return (run.folder / "metrics.jsonl").read_bytes(), {
            n: w.detach().numpy().tobytes() for n, w in weights.items()
        }

    whole = attempt("whole")
    for die_after in (2, 5):
        with pytest.raises(Killed):
            attempt("killed", die_after=die_after)
    sizes = [path.stat().st_size for path in (make_run("killed").folder / "checkpoints").rglob("policy.pt")]
    assert sizes and max(sizes) < 4 * 34816 + 40_000  # the base, of 1.8 MB, is not in it
    assert attempt("killed") == whole


@pytest.fixture(scope="module")
def lora_run(tmp_path_factory):
    small = {
        "arms": ["sft", "macro_ppo:fixed(n=5)"],
        "seeds": 1,
        "data.limit": 6,
        "sft.max_steps": 2,
        "reward_model.max_steps": 2,
        "ppo.updates": 2,
        "ppo.batch_size": 4,
        "sampling.max_response_tokens": 16,
        "lora.rank": 8,
        "lora.targets": ["q_proj", "v_proj", "down_proj"],
    }
    folder = tmp_path_factory.mktemp("lora") / "run"
    plan = make_plan(resolve(preset="tiny", overrides=list(small.items())), Registry(), out=folder, jobs=1, threads=1)
    claim(plan.run_dir, plan.config.model_dump(mode="json"), config_hash=plan.config_hash)
    worker = Worker(plan)
    worker.run_shared(NoProgress())
    for arm, seed in plan.cells():
        worker.run_cell(arm, seed, NoProgress())
    return open_run(folder, Registry())


def test_the_shared_stages_leave_plain_models(lora_run):
    for name in ("sft", "reward_model"):
        folder = lora_run.run_dir.shared(name)
        assert (folder / "model.safetensors").is_file() and not (folder / "adapter_config.json").exists()
    assert lora_run.stages.sft.figures["trainable_parameters"] == 2 * 8 * (128 + 128 + 128 + 128 + 128 + 256)
    base, trained = load_policy("tiny", dtype="float32"), load_policy(str(lora_run.stages.sft.folder), dtype="float32")
    changed = {name for name, weight in trained.named_parameters() if not torch.equal(weight, base.state_dict()[name])}
    assert {name.split(".")[-2] for name in changed} == {"q_proj", "v_proj", "down_proj"}


def test_the_record_says_what_was_trained(lora_run):
    said = lora_run.cell("macro_ppo:fixed(n=5)").record.arm["lora"]
    adapters = 2 * 8 * (128 + 128 + 128 + 128 + 128 + 256)
    assert (said["rank"], said["alpha"]) == (8, 16.0)
    assert said["targets"] == ["down_proj", "q_proj", "v_proj"]
    assert said["trainable_parameters"] == {"policy": adapters, "critic": adapters + 128}


def test_what_a_cell_leaves_is_read_again(lora_run):
    cell = lora_run.cell("macro_ppo:fixed(n=5)")
    folder = lora_run.folder(cell) / "policy"
    assert {path.name for path in folder.glob("*.safetensors")} == {"adapter_model.safetensors"}
    actors = lora_run.actors(cell)
    base = {weight.data_ptr() for weight in actors.reference.parameters()}
    assert base <= {weight.data_ptr() for weight in actors.policy.parameters()}
    outside = load_policy(str(folder), dtype="float32")
    again = stored_responses(
        actors.policy, actors.tokenizer, cell.samples, temperature=0.8, batch_size=4, seed_parts=("x",)
    )
    tokens = again.samples.tokens
    with torch.no_grad():
        sums, theirs, reference = (
            response_log_probs(model, tokens, temperature=0.8).token_log_probs.sum(dim=1)
            for model in (actors.policy, outside, actors.reference)
        )
    torch.testing.assert_close(sums, theirs)
    # The KL of each sample as the cell's own evaluation measured it, where the text has one encoding.
    measured = torch.tensor([sample.metrics["kl"] for sample in cell.samples])
    assert ((sums - reference - measured).abs() < 1e-3).float().mean() > 0.8
    assert measured.abs().max() > 0
    assert lora_run.tracing(cell, actors).actors.critic is not None


def test_the_sft_arm_is_the_reference(lora_run):
    cell = lora_run.cell("sft")
    actors = lora_run.actors(cell)
    assert max(abs(sample.metrics["kl"]) for sample in cell.samples) < 1e-4
    ids = torch.arange(2, 82).view(2, 40)
    with torch.no_grad():
        assert torch.equal(actors.policy(input_ids=ids).logits, actors.reference(input_ids=ids).logits)
    assert digest_of_folder(lora_run.stages.sft.folder) == lora_run.stages.sft.digest
