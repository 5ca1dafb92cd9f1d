"""The presets of the paper run from end to end on their own architectures with tiny random weights."""

import json

import pytest
import torch

SMALL = {
    "data.source": "embedded",
    "data.limit": 6,
    "seeds": 1,
    "sft.max_steps": 1,
    "reward_model.max_steps": 1,
    "ppo.updates": 1,
    "ppo.batch_size": 4,
    "sampling.max_prompt_tokens": 160,
    "sampling.max_response_tokens": 16,
    "evaluation.max_prompts": 4,
}


@pytest.fixture(scope="module")
def tiny_gemma(tmp_path_factory):
    """Returns a `from_pretrained` folder of Gemma or Gemma 2 with random weights and the shipped tokenizer of a task."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma2Config, GemmaConfig

    def make(kind, base):
        tokenizer = AutoTokenizer.from_pretrained(base)
        windows = {"sliding_window": 16, "query_pre_attn_scalar": 16} if kind == "gemma 2" else {}
        config = (Gemma2Config if kind == "gemma 2" else GemmaConfig)(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2 if kind == "gemma 2" else 1,
            head_dim=16,
            max_position_embeddings=512,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=tokenizer.bos_token_id,
            **windows,
        )
        torch.manual_seed(0)
        folder = tmp_path_factory.mktemp("gemma")
        AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


def run_cells(registry, preset, model, root, *, dtype, **changes):
    """Runs every cell of a preset in this process and returns its records and curves."""
    from marl_bench.cell import Worker
    from marl_bench.config_layers import resolve
    from marl_bench.planning import make_plan
    from marl_bench.run_dir import claim, read_cells
    from marl_bench.training.progress import NoProgress

    overrides = {**SMALL, "model.path": str(model), "model.dtype": dtype, **changes}
    resolved = resolve(preset=preset, overrides=list(overrides.items()), task_settings=registry.task_settings)
    plan = make_plan(resolved, registry, out=root, jobs=1, threads=1)
    root.mkdir(parents=True)
    claim(plan.run_dir, plan.config.model_dump(mode="json"), config_hash=plan.config_hash)
    worker = Worker(plan)
    worker.run_shared(NoProgress())
    for arm, seed in plan.cells():
        worker.run_cell(arm, seed, NoProgress())
    return read_cells(plan.run_dir)


def check_cells(cells, root, *, dtype):
    assert [cell.record.status for cell in cells] == ["complete"] * 4
    trained = [cell for cell in cells if cell.record.arm["trained"]]
    assert len(trained) == 3
    for cell in trained:
        line = cell.curve[-1]
        # In float32 the trainer itself refuses a ratio other than 1; in bfloat16 sampling and scoring round differently.
        assert line["ratio_deviation"] <= (1e-4 if dtype == "float32" else 0.2)
        assert line["policy_gradient_norm"] > 0
        config = json.loads(
            (root / "cells" / f"{cell.record.arm['name']}-seed0" / "policy" / "config.json").read_text()
        )
        assert config["dtype"] == dtype


def test_gemma_2_with_its_windows_and_caps_runs_every_arm(registry, tiny_gemma, tmp_path):
    from marl_bench.models.loading import model_folder

    model = tiny_gemma("gemma 2", model_folder("tiny"))
    cells = run_cells(registry, "paper-gemma-27b", model, tmp_path / "run", dtype="bfloat16")
    check_cells(cells, tmp_path / "run", dtype="bfloat16")


@pytest.mark.soak
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("preset", "kind"),
    [
        ("paper-gemma-2b", "gemma"),
        ("paper-gemma-7b", "gemma"),
        ("paper-gemma-27b", "gemma 2"),
        ("paper-codegemma-2b", "gemma"),
        ("paper-codegemma-7b", "gemma"),
    ],
)
def test_every_preset_runs_its_code_path(registry, tiny_gemma, tmp_path, preset, kind, dtype):
    from marl_bench.models.loading import model_folder

    base = registry.task("apps").base_model if "codegemma" in preset else model_folder("tiny")
    model = tiny_gemma(kind, base)
    changes = {"sampling.max_prompt_tokens": 256} if "codegemma" in preset else {}
    cells = run_cells(registry, preset, model, tmp_path / "run", dtype=dtype, **{"ppo.updates": 2, **changes})
    check_cells(cells, tmp_path / "run", dtype=dtype)
