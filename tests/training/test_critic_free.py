"""Baselines without a critic, through the shared trainer and against their own formulas."""

import dataclasses
import json

import pytest
import torch
from marl_bench_baselines import gspo, macro_grpo, macro_rloo, reinforce

from marl_bench.config import PpoConfig
from marl_bench.errors import ConfigError
from marl_bench.interfaces import PolicyContext
from marl_bench.macro.termination import EveryNTokens
from marl_bench.run_dir import CURVE
from marl_bench.training.ppo import PromptOrder, train_ppo
from marl_bench.training.progress import NoProgress

BASELINES = {"reinforce": reinforce, "macro_rloo": macro_rloo, "macro_grpo": macro_grpo, "gspo": gspo}


def built(name, ppo, rule=None):
    return BASELINES[name].build(PolicyContext(ppo, rule, None))


@pytest.mark.parametrize("name", BASELINES)
def test_it_trains_without_a_critic_at_the_same_number_of_responses(
    name, make_actors, make_run, letter_task, prompts, ppo
):
    ppo = ppo.model_copy(update={"group_size": 3})
    baseline = built(name, ppo, EveryNTokens(5))
    actors = dataclasses.replace(make_actors(), critic=None)
    before = [parameter.detach().clone() for parameter in actors.policy.parameters()]
    run = make_run(name)
    budget = train_ppo(run, actors, letter_task, baseline, prompts, NoProgress())
    assert budget.responses_sampled == 2 * ppo.batch_size
    lines = [json.loads(line) for line in (run.folder / CURVE).read_text().splitlines()]
    assert [line["critic_loss"] for line in lines] == [0, 0]
    assert lines[0]["ratio_deviation"] <= 1e-4
    assert any(not torch.equal(old, new) for old, new in zip(before, actors.policy.parameters(), strict=True))


def test_a_batch_holds_every_prompt_once_a_response_of_its_group(prompts):
    batch = PromptOrder(prompts, batch_size=6, seed=0, group_size=3).batch(1)
    assert [prompt.id for prompt in batch] == [batch[0].id] * 3 + [batch[3].id] * 3
    assert batch[0].id != batch[3].id
    alone = PromptOrder(prompts, batch_size=2, seed=0).batch(1)
    assert [batch[0].id, batch[3].id] == [prompt.id for prompt in alone]


@pytest.mark.parametrize("name", ["macro_rloo", "macro_grpo", "gspo"])
def test_a_batch_that_is_no_whole_number_of_groups_is_refused(name):
    with pytest.raises(ConfigError, match=r"ppo.batch_size 10 is no multiple of ppo.group_size 4"):
        built(name, PpoConfig(batch_size=10), EveryNTokens(5))


def test_grpo_with_one_token_a_macro_action_has_the_gradient_of_grpo(make_actors, letter_task, prompts, ppo, make_run):
    """The gradient at ratio 1 is that of mean over responses of mean over tokens of A_i log p - beta k3, written out here."""
    from marl_bench.batches import StepCounts, TokenOutputs
    from marl_bench.training.experience import prepare_experience, token_rewards
    from marl_bench.training.rollout import roll_out

    ppo = ppo.model_copy(update={"group_size": 3})
    baseline = built("macro_grpo", ppo, EveryNTokens(1))
    run = make_run()
    scored = roll_out(
        make_actors(),
        letter_task,
        PromptOrder(prompts, batch_size=6, seed=0, group_size=3).batch(0),
        sampling=run.sampling,
        ppo=baseline.ppo,
        needs=baseline.needs,
        seed_parts=(0,),
    )
    rewards = token_rewards(scored.rollout, scored.scores, ppo=baseline.ppo, kl_coef=0.1, score_std=1.0)
    experience = prepare_experience(baseline, scored.rollout, rewards, ppo=baseline.ppo).experience
    mask = scored.rollout.tokens.response_mask
    counts = StepCounts(int(mask.sum()), int(mask.sum()), len(mask))
    leaf = experience.token_log_probs.clone().requires_grad_()
    baseline.loss(experience, TokenOutputs(leaf, experience.token_values, counts, 0.1)).policy.backward()

    scores = scored.scores.reshape(2, 3)
    standard = (scores - scores.mean(dim=1, keepdim=True)) / (scores.std(dim=1, keepdim=True) + 1e-4)
    log_probs = experience.token_log_probs.clone().requires_grad_()
    gap = experience.token_ref_log_probs - log_probs
    terms = standard.reshape(6, 1) * (log_probs - log_probs.detach()).exp() - 0.1 * (gap.exp() - gap - 1)
    (-((terms * mask).sum(dim=1) / mask.sum(dim=1)).mean()).backward()
    torch.testing.assert_close(leaf.grad, log_probs.grad)
