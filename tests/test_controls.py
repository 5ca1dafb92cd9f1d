"""The controls that `--with-controls` adds, and what each of them trains with."""

import math

import pytest
import torch

from marl_bench.config import PpoConfig, RunConfig
from marl_bench.controls import with_controls
from marl_bench.errors import ConfigError, UnknownNameError
from marl_bench.interfaces import PolicyContext
from marl_bench.macro.termination import EveryNTokens
from marl_bench.planning import plan_arm
from marl_bench.plugins import Registry


@pytest.fixture(scope="module")
def registry():
    return Registry()


def _added(arms, registry, **ppo):
    result = with_controls(arms, RunConfig(arms=list(arms), ppo=PpoConfig(**ppo)), registry)
    assert result[: len(arms)] == list(arms)
    for text in result:
        plan_arm(text, RunConfig(), registry)  # every text is an arm
    return result[len(arms) :]


@pytest.mark.parametrize(
    ("arms", "added"),
    [
        (["sft", "token_ppo"], []),
        (["macro_ppo"], ["token_ppo_lambda_one", "token_ppo_matched_lambda:fixed(n=5)"]),
        (["macro_ppo:whole"], ["token_ppo_lambda_one"]),
        (["macro_ppo:fixed(n=1)", "macro_ppo:token"], []),
        (["macro_ppo:perplexity"], ["token_ppo_matched_lambda:perplexity(rule=macro)", "token_ppo_lambda_one"]),
        (
            ["macro_ppo:fixed(3)", "macro_ppo:fixed(n=10)", "macro_ppo:whole"],
            ["token_ppo_matched_lambda:fixed(n=3)", "token_ppo_lambda_one", "token_ppo_matched_lambda:fixed(n=10)"],
        ),
        (["macro_ppo:fixed(n=5)@gae_lambda=1"], ["token_ppo_lambda_one"]),
        (["macro_ppo:fixed(n=5)@lambda_per=token"], ["token_ppo_lambda_one"]),
        (
            ["macro_ppo:fixed(n=5)@macro_reward=mean"],
            [
                "token_ppo_matched_lambda:fixed(n=5)@macro_reward=mean",
                "token_ppo_lambda_one",
                "token_ppo_matched_kl:fixed(n=5)@macro_reward=mean",
                "macro_ppo_summed:fixed(n=5)@macro_reward=mean",
            ],
        ),
        (["macro_ppo:whole@macro_reward=mean"], ["token_ppo_lambda_one", "macro_ppo_summed:whole@macro_reward=mean"]),
        (
            ["macro_ppo:fixed(n=5)@macro_reward=mean,kl_in=loss"],
            ["token_ppo_matched_lambda:fixed(n=5)@macro_reward=mean,kl_in=loss", "token_ppo_lambda_one@kl_in=loss"],
        ),
        (
            ["macro_ppo:randomized@kl_coef=0.1,gae_lambda=0.9"],
            [
                "token_ppo_matched_lambda:randomized(lengths=[2,3,5,10],repeats=3)@kl_coef=0.1,gae_lambda=0.9",
                "token_ppo_lambda_one@kl_coef=0.1",
            ],
        ),
    ],
)
def test_controls_of_arms(registry, arms, added):
    assert sorted(_added(arms, registry)) == sorted(added)


def test_the_preset_of_the_run_decides_what_applies(registry):
    added = _added(["macro_ppo"], registry, method="official_code")
    assert {text.partition(":")[0] for text in added} == {
        "token_ppo_matched_lambda",
        "token_ppo_lambda_one",
        "token_ppo_matched_kl",
        "macro_ppo_summed",
    }


def test_what_is_given_is_not_added_again(registry):
    given = ["macro_ppo", "token_ppo_matched_lambda:fixed(5)", "token_ppo_lambda_one"]
    assert _added(given, registry) == []
    config = RunConfig(arms=given)
    once = with_controls(["macro_ppo"], config, registry)
    assert with_controls(once, config, registry) == once


def test_a_wrong_arm_is_an_error(registry):
    with pytest.raises(UnknownNameError, match="fixd"):
        with_controls(["macro_ppo:fixd"], RunConfig(), registry)


def _build(registry, name, length, **ppo):
    context = PolicyContext(PpoConfig(**ppo), None if length is None else EveryNTokens(length), length)
    return registry.baseline(name).build(context)


def test_lambda_one(registry):
    built = _build(registry, "token_ppo_lambda_one", None, gae_lambda=0.9, kl_coef=0.3)
    assert (built.rule, built.ppo.gae_lambda, built.ppo.kl_coef) == (EveryNTokens(1), 1.0, 0.3)


@pytest.mark.parametrize("length", [5.0, 7.3])
def test_matched_kl_divides_by_the_macro_length(registry, length):
    built = _build(registry, "token_ppo_matched_kl", length, macro_reward="mean", kl_coef=0.1)
    assert built.rule == EveryNTokens(1)
    assert built.ppo.kl_coef == pytest.approx(0.1 / length)
    assert built.ppo.gae_lambda == 0.95


def test_summed_keeps_the_rule_and_all_else(registry):
    built = _build(registry, "macro_ppo_summed", 5, method="official_code", kl_coef=0.1)
    assert built.rule == EveryNTokens(5)
    options = built.ppo.method_options()
    assert (options.macro_reward, options.last_token_alone, options.score_clip, built.ppo.kl_coef) == (
        "sum",
        True,
        2.5,
        0.1,
    )


@pytest.mark.parametrize(
    ("name", "is_another"), [("token_ppo_matched_kl", "it is token PPO"), ("macro_ppo_summed", "it is macro PPO")]
)
def test_kl_controls_do_not_apply_to_summed_rewards(registry, name, is_another):
    with pytest.raises(ConfigError, match=f"not applicable: with summed rewards {is_another}"):
        _build(registry, name, 5)
    with pytest.raises(ConfigError, match="not applicable: with kl_in=loss"):
        _build(registry, name, 5, macro_reward="mean", kl_in="loss")


def test_matched_kl_needs_a_finite_length(registry):
    with pytest.raises(ConfigError, match="finite length"):
        _build(registry, "token_ppo_matched_kl", math.inf, macro_reward="mean")


def test_every_control_says_what_it_isolates(registry):
    specs = [registry.baseline(plugin.id) for plugin in registry.list("marl_bench.baselines")]
    controls = [spec for spec in specs if spec.role == "control"]
    assert {spec.id for spec in controls} >= {
        "token_ppo_matched_lambda",
        "token_ppo_lambda_one",
        "token_ppo_matched_kl",
        "macro_ppo_summed",
    }
    assert all(spec.isolates.endswith(".") for spec in controls)


def test_mean_rewards_feel_a_token_penalty_of_one_over_n():
    # Four tokens with KL rewards -1: summed over n = 2 a macro action feels -2, averaged -1, the same as tokens at half the penalty.
    from marl_bench.batches import Segmentation
    from marl_bench.macro.smdp import macro_rewards

    parts = Segmentation(torch.tensor([[0, 0, 1, 1]]), torch.tensor([[2, 2]]), torch.ones(1, 2, dtype=torch.bool))
    kl_rewards, score = torch.full((1, 4), -1.0), torch.zeros(1)
    averaged = macro_rewards(kl_rewards, score, parts, reduction="mean", gamma=1.0)
    halved = macro_rewards(kl_rewards / 2, score, parts, reduction="sum", gamma=1.0)
    assert torch.equal(averaged, halved)
