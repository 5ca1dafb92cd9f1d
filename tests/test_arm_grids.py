"""Grids become arms."""

import pytest

from marl_bench.arm_grids import expand_grid, expand_grids, grid_names, load_grid
from marl_bench.config_layers import resolve
from marl_bench.controls import with_controls
from marl_bench.errors import UnknownNameError
from marl_bench.planning import make_plan, plan_arm


def test_the_ngram_grid_has_the_lengths_of_the_paper():
    rules = ["fixed(n=1)", "fixed(n=3)", "fixed(n=5)", "fixed(n=10)", "whole"]
    assert expand_grid("grid-ngram") == [f"macro_ppo:{rule}" for rule in rules]


def test_the_rule_grid_has_every_shipped_rule_once(registry):
    arms = [plan_arm(text, resolve(preset="tiny").config, registry) for text in expand_grid("grid-rules")]
    shipped = [plugin.id for plugin in registry.list("marl_bench.terminations") if plugin.owner == "marl-bench"]
    assert sorted(arm.rule.id for arm in arms) == sorted(shipped)


@pytest.mark.parametrize("name", grid_names())
def test_a_grid_is_versioned_canonical_and_summed_up(registry, name):
    grid = load_grid(name)
    labels = [plan_arm(text, resolve(preset="tiny").config, registry).label for text in grid.arms]
    assert labels == list(grid.arms)
    assert len(grid.hash) == 12
    assert grid.version and grid.summary


def test_options_of_a_grid_are_put_on_every_arm():
    assert all(arm.endswith("@gae_lambda=1,kl_coef=0") for arm in expand_grid("grid-ngram@gae_lambda=1,kl_coef=0"))


def test_arms_that_stand_there_already_are_not_repeated():
    arms = expand_grids(["macro_ppo:whole", "grid-ngram", "token_ppo", "grid-ngram"])
    assert arms == ["macro_ppo:whole", *[f"macro_ppo:fixed(n={n})" for n in (1, 3, 5, 10)], "token_ppo"]


def test_a_plan_and_its_controls_know_grids(registry):
    resolved = resolve(preset="tiny", layers=[("test", {"arms": ["token_ppo", "grid-ngram"]})])
    plan = make_plan(resolved, registry, out=None, jobs=1, threads=1)
    assert plan.config.arms == ["token_ppo", *expand_grid("grid-ngram")]
    assert [arm.label for arm in plan.arms] == plan.config.arms
    assert "token_ppo_matched_lambda:fixed(n=10)" in with_controls(resolved.config.arms, resolved.config, registry)


def test_an_unknown_grid_names_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown grid 'grid-ngrams'. Did you mean 'grid-ngram'"):
        expand_grids(["grid-ngrams"])
