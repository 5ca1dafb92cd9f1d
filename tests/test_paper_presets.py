"""The presets of the paper: the values of its table, task by task, and a dry run that needs neither network nor weights."""

import pytest
from typer.testing import CliRunner

from marl_bench.cli.main import app
from marl_bench.config_layers import resolve
from marl_bench.estimates.sizes import ppo_updates, stage_sizes, supervised_steps
from marl_bench.planning import make_plan

# METHOD, section 5: SFT batch, epochs, rate; reward model batch, rate; PPO batch, rates of policy and critic, KL coefficient.
TABLE = {
    ("paper-gemma-2b", "tldr"): (512, 3, 5e-5, 64, 1e-5, 256, 1.5e-5, 1.5e-5, 0.05),
    ("paper-gemma-2b", "hh"): (512, 3, 5e-5, 64, 1e-5, 256, 1.5e-5, 1.5e-5, 0.05),
    ("paper-gemma-2b", "webgpt"): (64, 3, 1e-4, 32, 2e-5, 256, 1.5e-5, 1.5e-5, 0.05),
    ("paper-gemma-7b", "tldr"): (128, 1, 2e-5, 128, 1e-6, 256, 1e-6, 1e-6, 0.05),
    ("paper-gemma-7b", "hh"): (128, 1, 2e-5, 64, 1e-6, 256, 1e-6, 1e-6, 0.05),
    ("paper-gemma-7b", "webgpt"): (128, 5, 2e-5, 32, 1e-6, 256, 1e-6, 1e-6, 0.1),
    ("paper-gemma-27b", "tldr"): (128, 3, 5e-6, 128, 8e-6, 256, 7e-7, 1e-6, 0.1),
    ("paper-codegemma-2b", "apps"): (16, 1, 5e-6, None, None, 16, 5e-7, 5e-5, 0.05),
    ("paper-codegemma-7b", "apps"): (32, 1, 2e-6, None, None, 16, 5e-7, 5e-5, 0.05),
}


def resolved(registry, preset, task, **overrides):
    return resolve(
        preset=preset,
        layers=[("--task", {"task": task})],
        overrides=list(overrides.items()),
        task_settings=registry.task_settings,
    )


@pytest.mark.parametrize(("preset", "task"), list(TABLE))
def test_a_preset_has_the_values_of_the_table(registry, preset, task):
    config = resolved(registry, preset, task).config
    sft, reward_model, ppo, sampling = config.sft, config.reward_model, config.ppo, config.sampling
    row = (sft.batch_size, sft.epochs, sft.learning_rate, reward_model.batch_size, reward_model.learning_rate)
    row += (ppo.batch_size, ppo.learning_rate, ppo.critic_learning_rate, ppo.kl_coef)
    expected = TABLE[preset, task]
    if task == "apps":  # no reward model
        assert (row[:3], row[5:]) == (expected[:3], expected[5:])
        assert (sampling.max_prompt_tokens, sampling.temperature, sampling.top_k) == (600, 1.0, 5)
    else:
        assert row == expected
        assert (sampling.max_prompt_tokens, sampling.temperature, sampling.top_k) == (512, 0.8, 50)
        assert (reward_model.epochs, reward_model.schedule) == (1, "cosine")
    assert (sampling.max_response_tokens, sampling.top_p) == (512, 1.0)
    assert (ppo.method, ppo.ppo_epochs, ppo.minibatches, ppo.clip_range) == ("paper", 1, 1, 0.2)
    assert (ppo.gae_lambda, ppo.gamma, ppo.adam_betas, ppo.schedule) == (0.95, 1.0, [0.9, 0.95], "linear")
    assert config.model.dtype == "bfloat16"
    assert (
        config.model.path
        == {
            "paper-gemma-2b": "google/gemma-2b",
            "paper-gemma-7b": "google/gemma-7b",
            "paper-gemma-27b": "google/gemma-2-27b",
            "paper-codegemma-2b": "google/codegemma-2b",
            "paper-codegemma-7b": "google/codegemma-7b-it",
        }[preset]
    )


def test_warm_up_is_what_the_method_says(registry):
    # 5 % of 145 updates are 7; the 27B model has none; CodeGemma has 20 of 4,000 / 16 = 250.
    steps = {}
    for preset, task in TABLE:
        config = resolved(registry, preset, task).config
        updates = ppo_updates(config, stage_sizes(registry.task(task), config))
        steps[preset, task] = (updates, config.ppo.warmup_steps(steps=updates))
    assert steps["paper-gemma-2b", "tldr"] == steps["paper-gemma-7b", "tldr"] == (145, 7)
    assert steps["paper-gemma-27b", "tldr"] == (145, 0)
    assert steps["paper-gemma-2b", "hh"] == (175, 8)  # 44,821 rows
    assert steps["paper-codegemma-2b", "apps"] == steps["paper-codegemma-7b", "apps"] == (250, 20)


def test_rows_of_the_hub_are_what_the_tasks_split_comes_to(registry):
    sizes = {
        task: stage_sizes(registry.task(task), resolved(registry, "paper-gemma-2b", task).config)
        for task in ("tldr", "hh", "webgpt")
    }
    assert (sizes["tldr"].sft, sizes["tldr"].preferences, sizes["tldr"].rl) == (18_572, 37_143, 37_143)
    assert (sizes["hh"].sft, sizes["hh"].preferences, sizes["hh"].rl) == (22_410, 44_821, 44_821)
    assert sizes["webgpt"].rl // 256 == 29
    config = resolved(registry, "paper-gemma-2b", "tldr").config
    assert supervised_steps(config.sft, sizes["tldr"].sft) == 109  # 3 x 18,572 / 512 = 108.8
    assert supervised_steps(config.reward_model, sizes["tldr"].preferences) == 580  # 37,143 / 64 = 580.4
    limited = resolved(registry, "paper-gemma-2b", "tldr", **{"data.limit": 1000}).config
    assert stage_sizes(registry.task("tldr"), limited).rl == 1000


def test_local_data_are_counted_where_steps_hang_on_them(registry):
    config = resolve(preset="tiny", overrides=[("ppo.updates", None), ("data.limit", 40)]).config
    sizes = stage_sizes(registry.task("tldr"), config)
    assert (sizes.rl, sizes.origin) == (40, "read from the data")
    assert ppo_updates(config, sizes) == 1
    assert stage_sizes(registry.task("tldr"), resolve(preset="tiny").config).rl is None


def test_arms_and_folders_of_a_preset_are_a_plan(registry, tmp_path):
    plan = make_plan(
        resolved(registry, "paper-codegemma-7b", "apps"), registry, out=tmp_path / "run", jobs=1, threads=1
    )
    assert [arm.label for arm in plan.arms][-1] == "macro_ppo:fixed(n=10)"
    assert plan.stages == ["sft"] or tuple(plan.stages) == ("sft",)


def dry_run(*arguments):
    return CliRunner().invoke(app, ["run", "--dry-run", *arguments])


def test_a_dry_run_counts_and_says_whether_it_fits():
    result = dry_run("--preset", "paper-gemma-2b", "--task", "tldr", "--gpu", "h100")
    assert result.exit_code == 0, result.output
    assert "2,506,172,416 parameters; 145 updates of 256 prompts, up to 512 + 512 tokens" in result.stdout
    assert "Steps of SFT: 109" in result.stdout
    # 2,506,172,416 x 2 bytes are 4.67 GiB; float32 copies and two moments x 4 bytes each 28.01 GiB.
    assert "  policy: 4.7\n" in result.stdout
    assert "  optimizer of the policy: 28.0\n" in result.stdout
    assert "79.6 GiB (most in optimizer step): does not fit" in result.stdout
    assert "It does not fit. What would lower the need, each by itself:" in result.stdout
    assert "  memory.offload=true:" in result.stdout
    larger = dry_run("--preset", "paper-gemma-2b", "--gpu", "b200", "--gpus", "2").stdout
    assert "179.0 GiB (most in optimizer step): fits" in larger
    assert "does not fit" not in larger
    adapters = dry_run("--preset", "paper-gemma-2b", "--gpu", "h100", "--set", "lora.rank=16").stdout
    assert "does not fit" not in adapters


def test_a_dry_run_warns_where_warm_up_never_ends():
    result = dry_run("--preset", "paper-gemma-2b", "--set", "ppo.warmup_updates=200")
    assert "Warning: ppo.warmup_updates is 200 and there are 145 updates" in result.stderr
    assert "warmup_updates" not in dry_run("--preset", "paper-gemma-2b").stderr


def test_gpus_are_refused_where_they_mean_nothing():
    result = CliRunner().invoke(app, ["run", "--gpu", "h100"])
    assert "is what --dry-run estimates for" in str(result.exception)
    assert "--gpus 4: say which with --gpu" in str(dry_run("--gpus", "4").exception)
    assert "unknown GPU 'h1000'" in str(dry_run("--gpu", "h1000").exception)
