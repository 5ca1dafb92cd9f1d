"""Token PPO, `fixed(n=1)` and an independent plain token PPO are the same algorithm."""

import pytest
import torch
from marl_bench_baselines.macro_ppo import MacroPpo

from marl_bench.macro.termination import EveryNTokens
from marl_bench.models.sampling import row_seed
from marl_bench.training.ppo import PromptOrder, train_ppo
from marl_bench.training.progress import NoProgress
from marl_bench.training.rollout import roll_out


def trained(make_actors, make_run, task, prompts, ppo, *, name, n=1, updates=2):
    actors = make_actors()
    baseline = MacroPpo(EveryNTokens(n), ppo.model_copy(update={"updates": updates}))
    train_ppo(make_run(name), actors, task, baseline, prompts, NoProgress())
    return actors


def plain_token_ppo_update(actors, rollout, scores, ppo):
    """Token-level PPO for one update, written from Schulman et al. (2017) with loops over rows and tokens and no code of ours."""
    whiten = ppo.method_options().whiten_advantages
    rows = []
    for row, length in enumerate(rollout.tokens.response_mask.sum(dim=1).tolist()):
        rewards = [
            -ppo.kl_coef * (rollout.token_log_probs[row, t] - rollout.token_ref_log_probs[row, t])
            for t in range(length)
        ]
        rewards[-1] = rewards[-1] + scores[row]
        values = [*rollout.token_values[row, :length], torch.tensor(0.0)]
        advantages, running = [torch.tensor(0.0)] * length, torch.tensor(0.0)
        for t in reversed(range(length)):
            running = rewards[t] + ppo.gamma * values[t + 1] - values[t] + ppo.gamma * ppo.gae_lambda * running
            advantages[t] = running
        rows.append((advantages, [advantage + value for advantage, value in zip(advantages, values, strict=False)]))
    every = torch.stack([advantage for advantages, _ in rows for advantage in advantages])
    mean, deviation = every.mean(), every.std(unbiased=False)
    policy_loss, critic_loss = torch.tensor(0.0), torch.tensor(0.0)
    for row, (advantages, returns) in enumerate(rows):
        length = len(advantages)
        prompt = rollout.tokens.prompt_ids[row][rollout.tokens.prompt_mask[row]]
        response = rollout.tokens.response_ids[row, :length]
        text = torch.cat([prompt, response]).unsqueeze(0)
        log_probs = torch.log_softmax(actors.policy(text).logits[0, len(prompt) - 1 : -1], dim=-1)
        values = actors.critic.classifier.score(actors.critic.classifier.base_model(text).last_hidden_state)[
            0, len(prompt) - 1 : -1, 0
        ]
        for t in range(length):
            ratio = (log_probs[t, response[t]] - rollout.token_log_probs[row, t]).exp()
            advantage = (advantages[t] - mean) / (deviation + 1e-8) if whiten else advantages[t]
            policy_loss = policy_loss - torch.min(
                ratio * advantage, ratio.clamp(1 - ppo.clip_range, 1 + ppo.clip_range) * advantage
            )
            critic_loss = critic_loss + 0.5 * (values[t] - returns[t]) ** 2
    for loss, model, learning_rate in (
        (policy_loss, actors.policy, ppo.learning_rate),
        (critic_loss, actors.critic, ppo.critic_learning_rate),
    ):
        (loss / len(every)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), ppo.max_grad_norm)
        torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=tuple(ppo.adam_betas), weight_decay=0.0).step()


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_token_and_fixed_one_are_equal_bit_for_bit(make_actors, make_run, letter_task, prompts, ppo, registry):
    from marl_bench.interfaces import PolicyContext
    from marl_bench.planning import build_rule, plan_rule

    results = []
    for arm, rule in (("token_ppo", None), ("macro_ppo", "fixed(n=1)"), ("macro_ppo", "token")):
        actors = make_actors()
        built = build_rule(plan_rule(rule, registry), registry) if rule else None
        baseline = registry.baseline(arm).build(PolicyContext(ppo, built, None))
        run = make_run(f"{arm}-{rule}")
        train_ppo(run, actors, letter_task, baseline, prompts, NoProgress())
        results.append((weights(actors.policy), weights(actors.critic), (run.folder / "metrics.jsonl").read_bytes()))
    for policy, critic, curve in results[1:]:
        assert torch.equal(policy, results[0][0])
        assert torch.equal(critic, results[0][1])
        assert curve == results[0][2]


@pytest.mark.parametrize("method", ["corrected", "paper"])
@pytest.mark.parametrize("gamma", [1.0, 0.97])
def test_one_update_equals_an_independent_plain_token_ppo(
    make_actors, make_run, letter_task, prompts, ppo, method, gamma
):
    # Adam's first step is the sign of the gradient, so plain SGD-like scaling errors would hide; weights are compared after it, and
    # epsilon makes tiny gradients proportional instead of +-1.
    ppo = ppo.model_copy(update={"method": method, "gamma": gamma, "kl_coef": 0.3})
    run = make_run()
    ours = trained(make_actors, make_run, letter_task, prompts, ppo, name="ours", updates=1)
    plain = make_actors()
    batch = PromptOrder(prompts, batch_size=ppo.batch_size, seed=run.seed).batch(0)
    scored = roll_out(
        plain,
        letter_task,
        batch,
        sampling=run.sampling,
        ppo=ppo,
        needs=frozenset({"critic"}),
        seed_parts=(run.seed, "train", 1),
    )
    assert scored.rollout.row_seeds[0] == row_seed(run.seed, "train", 1, batch[0].id, 0)
    start = weights(plain.policy)
    plain_token_ppo_update(plain, scored.rollout, scored.scores, ppo)
    moved = (weights(ours.policy) - start).abs().max()
    assert moved > 1e-4
    # Same direction and size everywhere but where the gradient is rounding noise, whose sign Adam blows up.
    agreeing = torch.isclose(weights(ours.policy), weights(plain.policy), atol=float(moved) / 50)
    assert agreeing.float().mean() > 0.999
    agreeing = torch.isclose(weights(ours.critic), weights(plain.critic), atol=ppo.critic_learning_rate / 50)
    assert agreeing.float().mean() > 0.999


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_micro_batch_size_changes_nothing_but_rounding(make_actors, make_run, letter_task, prompts, ppo, size):
    whole = trained(make_actors, make_run, letter_task, prompts, ppo, name="whole", n=3, updates=1)
    small = ppo.model_copy(update={"micro_batch_size": size})
    parts = trained(make_actors, make_run, letter_task, prompts, small, name=f"parts{size}", n=3, updates=1)
    agreeing = torch.isclose(weights(whole.policy), weights(parts.policy), atol=ppo.learning_rate / 50)
    assert agreeing.float().mean() > 0.999


def test_training_raises_the_reward(make_actors, make_run, letter_task, prompts, ppo):
    import json

    run = make_run("learns")
    actors = make_actors()
    settings = ppo.model_copy(
        update={"updates": 15, "batch_size": 12, "micro_batch_size": 12, "learning_rate": 3e-4, "kl_coef": 0.0}
    )
    train_ppo(run, actors, letter_task, MacroPpo(EveryNTokens(4), settings), prompts, NoProgress())
    scores = [json.loads(line)["score"] for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert sum(scores[-3:]) / 3 > sum(scores[:3]) / 3 + 0.1
