"""Layers, strictness and error texts of the configuration."""

import pytest

from marl_bench.config import METHOD_PRESETS, PpoConfig, RunConfig
from marl_bench.config_layers import describe, known_keys, parse_override, preset_names, read_config_file, resolve
from marl_bench.errors import ConfigError, UnknownNameError


def test_later_layers_win_and_are_remembered():
    resolved = resolve(
        preset="tiny",
        layers=[("file.yaml", {"ppo": {"kl_coef": 0.3, "gamma": 0.9}}), ("--seeds", {"seeds": 5})],
        overrides=[("ppo.kl_coef", 0.4)],
    )
    ppo = resolved.config.ppo
    assert (ppo.kl_coef, ppo.gamma, resolved.config.seeds) == (0.4, 0.9, 5)
    origins = {key: origin for key, _, origin in describe(resolved)}
    assert origins["ppo.kl_coef"] == "--set"
    assert origins["ppo.gamma"] == "file.yaml"
    assert origins["seeds"] == "--seeds"
    assert origins["ppo.updates"] == "preset tiny"
    assert origins["ppo.clip_range"] == "default"


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("ppo.learning_rate=1e-4", "ppo.learning_rate", 1e-4),
        ("ppo.updates=3", "ppo.updates", 3),
        ("sft.path=null", "sft.path", None),
        ("arms=[sft, token_ppo]", "arms", ["sft", "token_ppo"]),
        ("data.source=a=b", "data.source", "a=b"),
    ],
)
def test_overrides_are_typed(text, key, value):
    assert parse_override(text) == (key, value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ppo.kl_coeff=1", r"unknown configuration key \(--set\) 'ppo.kl_coeff'. Did you mean 'ppo.kl_coef'\?"),
        ("ppo.kl_coef=much", r"ppo.kl_coef \(--set\): Input should be a valid number; given: 'much'"),
        ("ppo.updates=1.5", r"ppo.updates \(--set\): .*integer; given: 1.5"),
        ("seeds=0", r"seeds \(--set\): .*greater than or equal to 1; given: 0"),
        ("ppo=3", "is a section; give one of its keys"),
        ("arms=[]", "arms"),
        ("lora.targets=[q_proj]", r"^lora: targets without lora.rank: .* for example to 16\.$"),
    ],
)
def test_wrong_overrides_are_one_clear_error(override, message):
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        resolve(preset="tiny", overrides=[parse_override(override)])


def test_an_override_without_a_value_is_refused():
    with pytest.raises(ConfigError, match="should be KEY=VALUE"):
        parse_override("ppo.kl_coef")


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'tiny'"):
        resolve(preset="tinny")


def test_a_config_file_that_is_no_mapping_is_refused(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("- 1\n- 2\n")
    with pytest.raises(ConfigError, match="holds list, should be a mapping"):
        read_config_file(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config_file(tmp_path / "none.yaml")
    path.write_text("a: [")
    with pytest.raises(ConfigError, match="not YAML"):
        read_config_file(path)


def test_every_preset_resolves():
    for name in preset_names():
        assert resolve(preset=name).config.seeds >= 1


def test_seeds_and_arms_are_not_in_the_hashed_part_and_the_rest_is():
    hashed = RunConfig().hashed_part()
    assert "seeds" not in hashed
    assert "arms" not in hashed
    assert hashed == RunConfig(seeds=9, arms=["sft"]).hashed_part()
    assert hashed != RunConfig(ppo=PpoConfig(kl_coef=0.123)).hashed_part()


def test_warm_up_by_updates_stands_over_the_ratio_and_leaves_older_hashes_alone():
    ppo = PpoConfig(minibatches=4, ppo_epochs=2, batch_size=16)
    assert ppo.warmup_steps(steps=200) == 10  # 5 % of them
    twenty = ppo.model_copy(update={"warmup_updates": 20})
    assert twenty.warmup_steps(steps=200) == 20 * 2 * 4
    assert "warmup_updates" not in RunConfig(ppo=ppo).hashed_part()["ppo"]
    assert RunConfig(ppo=twenty).hashed_part()["ppo"]["warmup_updates"] == 20


def test_method_presets_are_those_of_the_table():
    # METHOD, section 4: reward, ratio, last token alone, score clip, value clip, whitening.
    table = {
        "paper": ("sum", "macro", False, 0.0, 0.0, False),
        "official_code": ("mean", "token", True, 2.5, 0.2, False),
        "corrected": ("sum", "token", False, 0.0, 0.0, True),
    }
    for name, row in table.items():
        preset = METHOD_PRESETS[name]
        assert row == (
            preset.macro_reward,
            preset.ratio_level,
            preset.last_token_alone,
            preset.score_clip,
            preset.value_clip_range,
            preset.whiten_advantages,
        )
        assert (
            preset.value_pooling,
            preset.loss_average,
            preset.lambda_per,
            preset.critic_target,
            preset.truncation,
        ) == (
            "equal",
            "token",
            "macro",
            "token",
            "zero",
        )


def test_an_option_overrides_its_preset():
    options = PpoConfig(method="official_code", value_clip_range=0.0, whiten_advantages=True).method_options()
    assert (options.value_clip_range, options.whiten_advantages, options.score_clip) == (0.0, True, 2.5)


def test_known_keys_cover_every_section():
    keys = set(known_keys())
    assert {"task", "ppo.kl_coef", "data.source", "reward_model.held_out_share", "evaluation.max_prompts"} <= keys
