"""Arm and rule texts become exact plans."""

from pathlib import Path

import pytest

from marl_bench.arms import parse_arm, parse_rule
from marl_bench.config_layers import resolve
from marl_bench.errors import ConfigError, UnknownNameError
from marl_bench.planning import make_plan, plan_arm, plan_rule


@pytest.fixture
def config():
    return resolve(preset="tiny").config


def plan_of(registry, *, out=None, **changes):
    resolved = resolve(preset="tiny", layers=[("test", changes)])
    return make_plan(resolved, registry, out=out, jobs=2, threads=1)


def test_one_rule_has_one_text_and_one_hash(registry):
    texts = ["fixed", "fixed(5)", "fixed(n=5)", " fixed( n = 5 ) "]
    rules = [plan_rule(text, registry) for text in texts]
    assert {rule.text for rule in rules} == {"fixed(n=5)"}
    assert len({rule.hash for rule in rules}) == 1
    assert plan_rule("fixed(n=6)", registry).hash != rules[0].hash


def test_bare_words_and_lists_are_values():
    assert parse_rule("perplexity(rule=macro)").kwargs == {"rule": "macro"}
    assert parse_rule("randomized([2, 3], repeats=3)").args == ([2, 3],)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fixed(n=0)", "greater than or equal to 1; given: 0"),
        ("fixed(n=two)", "given: 'two'"),
        ("fixed(3, 4)", "2 arguments, fixed takes 1"),
        ("fixed(3, n=4)", "n given twice"),
        ("fixed(m=3)", "unknown parameter of termination rule 'fixed' 'm'"),
        ("fixxed(n=3)", "Did you mean 'fixed'"),
        ("fixed(n=__import__('os'))", "should be NAME or NAME"),
        ("fixed(", "should be NAME or NAME"),
    ],
)
def test_wrong_rules_are_one_clear_error(registry, text, message):
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        plan_rule(text, registry)


def test_arms_have_readable_folder_names(registry, config):
    names = {
        text: plan_arm(text, config, registry).name
        for text in ("sft", "macro_ppo", "macro_ppo:whole", "token_ppo@gae_lambda=0.99,gamma=1")
    }
    assert names == {
        "sft": "sft",
        "macro_ppo": "macro_ppo-fixed_n5",
        "macro_ppo:whole": "macro_ppo-whole",
        "token_ppo@gae_lambda=0.99,gamma=1": "token_ppo-gae_lambda0.99-gamma1",
    }


def test_options_reach_the_trainer_of_their_arm_only(registry, config):
    arm = plan_arm("macro_ppo:fixed(n=3)@method=paper,kl_coef=0.5", config, registry)
    assert (arm.ppo(config).method, arm.ppo(config).kl_coef) == ("paper", 0.5)
    assert plan_arm("macro_ppo", config, registry).ppo(config) == config.ppo


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("macro_pop", "Did you mean 'macro_ppo'"),
        ("token_ppo:fixed(n=5)", "token_ppo takes no termination rule"),
        ("macro_ppo:", "should be BASELINE"),
        ("macro_ppo@kl_coef", "should be option=value"),
        ("macro_ppo@kl_coeff=1", "Did you mean 'kl_coef'"),
        ("macro_ppo@kl_coef=-1", "greater than or equal to 0; given: -1"),
    ],
)
def test_wrong_arms_are_one_clear_error(registry, config, text, message):
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        plan_arm(text, config, registry)


def test_an_arm_given_twice_is_refused(registry):
    with pytest.raises(ConfigError, match="given twice"):
        plan_of(registry, arms=["macro_ppo", "macro_ppo:fixed(5)"])


def test_the_default_folder_depends_on_what_is_computed_only(registry):
    plain, more = plan_of(registry), plan_of(registry, seeds=7, arms=["sft"])
    assert plain.root == more.root
    assert plain.root == Path("results") / f"tldr-tiny-{plain.config_hash[:8]}"
    assert plan_of(registry, ppo={"kl_coef": 0.5}).root != plain.root


def test_unknown_task_options_name_the_nearest(registry):
    with pytest.raises(UnknownNameError, match=r"option of task 'tldr' 'promt'. Did you mean 'prompt'"):
        plan_of(registry, task_options={"promt": "default"})
    with pytest.raises(ConfigError, match="task_options of 'tldr'"):
        plan_of(registry, task_options={"prompt": "other"})


def test_parse_arm_keeps_commas_of_the_rule_apart_from_options():
    parsed = parse_arm("macro_ppo:randomized([2,3],repeats=3)@gamma=0.9,whiten_advantages=false")
    assert parsed.rule == "randomized([2,3],repeats=3)"
    assert parsed.options == {"gamma": 0.9, "whiten_advantages": False}
