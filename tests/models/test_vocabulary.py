"""Pad tokens where a tokenizer names none, embedding matrices larger or smaller than the tokenizer, reward models of another vocabulary."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from marl_bench.cell import Worker
from marl_bench.config_layers import resolve
from marl_bench.errors import ModelError
from marl_bench.models.loading import check_tokenizer, load_policy, load_tokenizer, model_folder
from marl_bench.models.responses import respond
from marl_bench.models.sampling import ModelSampler, SamplingSettings
from marl_bench.models.vocabulary import give_rows, known_ids
from marl_bench.planning import make_plan
from marl_bench.plugins import Registry
from marl_bench.records import Prompt
from marl_bench.run_dir import claim, read_cells
from marl_bench.training.progress import NoProgress

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
WORDS = ["the", "cat", "sat", "on", "a", "mat", "dog", "is", "it", "no"]


def tokenizer_of(*further, eos="</s>", **special):
    words = [eos, *[f"{word}" for word in WORDS], *further]
    plain = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=words[1]))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=plain, eos_token=eos, **special)


@pytest.mark.parametrize(
    ("further", "special", "chosen"),
    [
        (["<pad>", "<unk>"], {}, "<pad>"),
        (["<|reserved_special_token_0|>", "<|finetune_right_pad_id|>"], {}, "<|finetune_right_pad_id|>"),
        (["<|reserved_special_token_0|>", "<|reserved_special_token_1|>"], {}, "<|reserved_special_token_0|>"),
        (["<|fim_pad|>"], {"pad_token": "</s>"}, "<|fim_pad|>"),
        (["<unk>"], {"unk_token": "<unk>"}, "<unk>"),
        (["padding", "unused"], {}, "<|pad|>"),
    ],
    ids=["pad", "llama-3.1", "llama-3", "qwen", "llama-2", "gpt-2"],
)
def test_a_pad_token_is_found_among_those_that_no_text_holds(further, special, chosen, tmp_path):
    tokenizer_of(*further, **special).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    tokenizer = load_tokenizer(str(tmp_path), may_add_pad=True)
    assert tokenizer.pad_token == chosen
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer("the cat")["input_ids"] == [1, 2]
    assert known_ids(tokenizer) == len(WORDS) + 1 + len(further) + (chosen == "<|pad|>")


def test_a_finished_model_is_given_no_new_token(tmp_path):
    tokenizer_of().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"has no pad token, .* Start from it with --model"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize("tied", [False, True])
def test_a_new_row_is_the_mean_of_the_others_and_changes_nothing_else(tied, tmp_path):
    tokenizer_of().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    tokenizer = load_tokenizer(str(tmp_path), may_add_pad=True)
    rows = len(tokenizer) - 1
    torch.manual_seed(0)
    config = LlamaConfig(**SMALL, vocab_size=rows, tie_word_embeddings=tied, eos_token_id=0, bos_token_id=None)
    model = AutoModelForCausalLM.from_config(config).eval()
    ids = torch.arange(rows)[None]
    before = model(input_ids=ids).logits
    give_rows(model, tokenizer)
    after = model(input_ids=ids).logits
    assert after.shape[-1] == model.config.vocab_size == len(tokenizer)
    torch.testing.assert_close(after[..., :rows], before)
    torch.testing.assert_close(after[..., rows], before.mean(dim=-1))


def test_a_padded_embedding_matrix_is_never_drawn_from_beyond_the_tokenizer(tmp_path):
    tokenizer_of("<pad>").save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    tokenizer = load_tokenizer(str(tmp_path))
    torch.manual_seed(0)
    config = LlamaConfig(**SMALL, vocab_size=64, eos_token_id=0, bos_token_id=None)
    model = AutoModelForCausalLM.from_config(config).eval()  # random: 52 of 64 rows belong to no token
    prompts = [Prompt(str(number), "the cat sat") for number in range(16)]
    for temperature in (1.0, 0.0):
        settings = SamplingSettings(max_response_tokens=12, temperature=temperature)
        sampled = respond(ModelSampler(model), tokenizer, prompts, settings=settings, batch_size=8, seed_parts=(0,))
        assert int(sampled.samples.tokens.response_ids.max()) < len(tokenizer) == 12
        # The log-probs are the model's own, as the update sees them: each near log(1 / 64), not log(1 / 12).
        assert float(sampled.samples.token_log_probs[sampled.samples.tokens.response_mask].mean()) < -3.5


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    tokenizer_of("<pad>").save_pretrained(tmp_path)
    LlamaConfig(**SMALL, vocab_size=9, eos_token_id=0, bos_token_id=None).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="knows ids up to 11, the model has embeddings for 9"):
        check_tokenizer(str(tmp_path), load_tokenizer(str(tmp_path)))


def small_run(folder, **settings):
    small = {
        "arms": ["token_ppo"],
        "seeds": 1,
        "data.limit": 4,
        "sft.max_steps": 1,
        "reward_model.max_steps": 1,
        "ppo.updates": 1,
        "ppo.batch_size": 4,
        "sampling.max_response_tokens": 8,
        "sampling.max_prompt_tokens": 64,
    }
    overrides = list({**small, **settings}.items())
    plan = make_plan(resolve(preset="tiny", overrides=overrides), Registry(), out=folder, jobs=1, threads=1)
    claim(plan.run_dir, plan.config.model_dump(mode="json"), config_hash=plan.config_hash)
    worker = Worker(plan)
    worker.run_shared(NoProgress())
    for arm, seed in plan.cells():
        worker.run_cell(arm, seed, NoProgress())
    [cell] = read_cells(plan.run_dir)
    return plan, cell


def test_a_gpt2_without_a_pad_token_trains_adapters(tmp_path):
    """Its one special token ends texts; it is given a pad token and a row, which the policy's folder keeps."""
    base = tmp_path / "gpt2"
    tokenizer = load_tokenizer("tiny")
    tokenizer.pad_token = None
    tokenizer.save_pretrained(base)
    (base / "tokenizer.json").write_text(
        (base / "tokenizer.json").read_text().replace("<|pad|>", "Ġnever")  # an ordinary word in its place
    )
    rows = len(tokenizer)
    config = GPT2Config(
        n_embd=16, n_layer=1, n_head=2, n_positions=256, vocab_size=rows, bos_token_id=1, eos_token_id=1
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    plan, cell = small_run(tmp_path / "run", **{"model.path": str(base), "lora.rank": 2})
    assert cell.record.status == "complete"
    assert cell.record.shared["sft"]["pad_token"] == "<|pad|>"
    policy = plan.run_dir.cell("token_ppo", 0) / "policy"
    assert load_policy(str(policy), dtype="float32").config.vocab_size == rows + 1
    assert load_tokenizer(str(policy)).pad_token == "<|pad|>"
    assert json.loads((policy / "adapter_config.json").read_text())["fan_in_fan_out"] is True


@pytest.fixture
def other_reward_model(tmp_path):
    """A reward model whose tokens are bytes of another order and fewer merges: the shipped tokenizer with two ids exchanged."""
    folder = tmp_path / "other"
    shutil.copytree(model_folder("tiny"), folder)
    (folder / "model.safetensors").unlink()
    tokenizer = load_tokenizer("tiny")
    tokenizer.add_tokens(["<other>"])
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        **SMALL, vocab_size=len(tokenizer), num_labels=1, pad_token_id=0, eos_token_id=1, bos_token_id=None
    )
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


def test_a_reward_model_of_another_vocabulary_reads_texts(other_reward_model, tmp_path):
    plan, cell = small_run(tmp_path / "run", **{"reward_model.path": str(other_reward_model), "data.limit": 10})
    assert cell.record.shared["reward_model"]["reads"] == "texts"
    assert 0 <= cell.record.shared["reward_model"]["pair_accuracy"] <= 1
    tokenizer = load_tokenizer(str(other_reward_model))
    model = AutoModelForSequenceClassification.from_pretrained(other_reward_model).eval()
    for sample in cell.samples[:3]:
        end = tokenizer.eos_token if sample.response.finished else ""
        ids = tokenizer(sample.prompt + sample.response.text + end, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            expected = float(model(input_ids=ids, use_cache=False).logits)
        assert sample.metrics[cell.record.task["primary_metric"]] == pytest.approx(expected, abs=1e-5)
    critic = Path(plan.run_dir.cell("token_ppo", 0)) / "critic" / "config.json"
    assert json.loads(critic.read_text())["hidden_size"] == 128  # the SFT model's, not the reward model's 16


def test_one_without_a_tokenizer_is_refused(other_reward_model, tmp_path):
    for path in other_reward_model.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match="can read neither the policy's tokens nor texts"):
        small_run(tmp_path / "run", **{"reward_model.path": str(other_reward_model)})
