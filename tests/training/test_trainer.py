"""What the trainer refuses, counts and controls."""

import dataclasses
import json
import math

import pytest
import torch
from marl_bench_baselines.macro_ppo import MacroPpo

from marl_bench.batches import Rollout, Tokens
from marl_bench.config import PpoConfig
from marl_bench.errors import ConfigError, Interrupted, SegmentationError, TrainingError
from marl_bench.macro.termination import EveryNTokens
from marl_bench.records import Prompt
from marl_bench.training.experience import prepare_experience, token_rewards
from marl_bench.training.kl_control import next_kl_coef
from marl_bench.training.ppo import PromptOrder, train_ppo
from marl_bench.training.progress import NoProgress


@pytest.fixture
def rollout():
    """Two responses of 3 and 1 tokens; the second was cut at the limit."""
    mask = torch.tensor([[True, True, True], [True, False, False]])
    ids = torch.zeros(2, 3, dtype=torch.long)
    tokens = Tokens(ids, torch.ones_like(ids).bool(), ids, mask, torch.tensor([True, False]))
    log_probs = torch.tensor([[-1.0, -1.0, -1.0], [-1.0, 0.0, 0.0]])
    reference = torch.tensor([[-1.5, -1.0, -0.5], [-3.0, 0.0, 0.0]])
    return Rollout(tokens, log_probs, reference, torch.zeros(2, 3), [0, 1], ["", ""])


def test_token_rewards_are_worked_numbers(rollout):
    ppo = PpoConfig(kl_coef=0.1, missing_eos_penalty=0.5, score_scale="reference_std", score_clip=1.0)
    rewards = token_rewards(rollout, torch.tensor([6.0, 1.0]), ppo=ppo, kl_coef=0.2, score_std=4.0)
    # -.2 * (log p - log p_ref): differences .5, 0, -.5 and 2.
    torch.testing.assert_close(rewards.token_kl_rewards, torch.tensor([[-0.1, 0.0, 0.1], [-0.4, 0.0, 0.0]]))
    # 6 / 4 = 1.5, clipped to 1; 1 / 4 = .25, less .5 because the response was cut.
    torch.testing.assert_close(rewards.scores, torch.tensor([1.0, -0.25]))


def test_the_kl_leaves_the_reward_when_it_is_a_term_of_the_loss(rollout):
    rewards = token_rewards(rollout, torch.zeros(2), ppo=PpoConfig(kl_in="loss"), kl_coef=0.2, score_std=1.0)
    assert (rewards.token_kl_rewards == 0).all()


def test_a_rule_that_leaves_tokens_out_is_refused(rollout):
    class Half(EveryNTokens):
        def segment(self, rollout):
            parts = super().segment(rollout)
            ids = parts.macro_ids.clone()
            ids[0, 2] = -1
            return dataclasses.replace(parts, macro_ids=ids)

    rewards = token_rewards(rollout, torch.zeros(2), ppo=PpoConfig(), kl_coef=0.0, score_std=1.0)
    with pytest.raises(SegmentationError, match="row 0: a token without a macro action"):
        prepare_experience(MacroPpo(Half(2), PpoConfig()), rollout, rewards, ppo=PpoConfig())


def test_adaptive_kl_follows_ziegler():
    ppo = PpoConfig(kl_controller="adaptive", kl_target=6.0, kl_horizon=1000)
    # 9 / 6 - 1 = .5, clipped to .2; .1 * (1 + .2 * 100 / 1000) = .102.
    assert next_kl_coef(0.1, kl=9.0, responses=100, ppo=ppo) == pytest.approx(0.102)
    # 5.4 / 6 - 1 = -.1; .1 * (1 - .1 * .1) = .099.
    assert next_kl_coef(0.1, kl=5.4, responses=100, ppo=ppo) == pytest.approx(0.099)
    assert next_kl_coef(0.1, kl=9.0, responses=100, ppo=PpoConfig()) == 0.1


def test_every_pass_over_the_prompts_has_each_prompt_once_in_another_order():
    prompts = [Prompt(str(number), "") for number in range(10)]
    order = PromptOrder(prompts, batch_size=4, seed=0)
    ids = [prompt.id for number in range(5) for prompt in order.batch(number)]
    assert sorted(ids[:10]) == sorted(ids[10:]) == sorted(str(number) for number in range(10))
    assert ids[:10] != ids[10:]
    assert ids == [
        prompt.id for number in range(5) for prompt in PromptOrder(prompts, batch_size=4, seed=0).batch(number)
    ]
    assert ids != [
        prompt.id for number in range(5) for prompt in PromptOrder(prompts, batch_size=4, seed=1).batch(number)
    ]


def test_no_prompts_is_a_clear_error():
    with pytest.raises(ConfigError, match="no RL prompts"):
        PromptOrder([], batch_size=4, seed=0)


def test_updates_default_to_one_pass():
    assert PpoConfig(batch_size=256).planned_updates(37_143) == 145  # METHOD, section 5
    assert PpoConfig(batch_size=256).planned_updates(100) == 1
    assert PpoConfig(updates=7).planned_updates(100) == 7


def run_with(task, make_actors, make_run, prompts, ppo, *, actors=None):
    run = make_run()
    train_ppo(run, actors or make_actors(), task, MacroPpo(EveryNTokens(3), ppo), prompts, NoProgress())
    return run


class ScoreTask:
    """Scores as a function of the number of responses seen."""

    metrics = ()

    def __init__(self, score):
        self.calls, self.function = 0, score

    def score(self, prompts, responses):
        self.calls += 1
        return self.function(self.calls, responses)

    def oracle(self, prompts, responses):
        return None


def test_the_curve_shows_the_mean_of_the_oracle_over_the_samples_that_have_one(make_actors, make_run, prompts, ppo):
    task = ScoreTask(lambda _call, responses: [1.0] * len(responses))
    task.oracle = lambda prompts, _responses: [None, 0.25, 0.75, *[None] * (len(prompts) - 3)]
    lines = (run_with(task, make_actors, make_run, prompts, ppo).folder / "metrics.jsonl").read_text().splitlines()
    # (0.25 + 0.75) / 2
    assert {json.loads(line)["oracle"] for line in lines} == {0.5}
    task.oracle = lambda prompts, _responses: [None] * len(prompts)
    lines = (run_with(task, make_actors, make_run, prompts, ppo).folder / "metrics.jsonl").read_text().splitlines()
    assert "oracle" not in json.loads(lines[-1])


def test_a_score_that_is_nan_stops_the_run_and_keeps_the_finished_updates(make_actors, make_run, prompts, ppo):
    task = ScoreTask(
        lambda call, responses: [math.nan if call == 2 else 1.0 * len(response.text) for response in responses]
    )
    with pytest.raises(TrainingError, match=r"score of the response to prompt 'p\d+' is nan") as caught:
        run_with(task, make_actors, make_run, prompts, ppo)
    assert caught.value.exit_status == 1
    lines = (make_run().folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["update"] for line in lines] == [1]


def test_a_reward_of_the_wrong_length_is_refused(make_actors, make_run, prompts, ppo):
    with pytest.raises(TrainingError, match="2 scores for 6 responses"):
        run_with(ScoreTask(lambda call, responses: [1.0, 2.0]), make_actors, make_run, prompts, ppo)


def test_unscored_responses_are_left_out_and_counted(make_actors, make_run, prompts, ppo):
    task = ScoreTask(lambda call, responses: [None if row == 0 else float(row) for row in range(len(responses))])
    run = run_with(task, make_actors, make_run, prompts, ppo)
    line = json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[0])
    assert line["unscored"] == 1
    assert line["score"] == pytest.approx((1 + 2 + 3 + 4 + 5) / 5)
    with pytest.raises(TrainingError, match="none of the 6 responses has a score"):
        run_with(ScoreTask(lambda call, responses: [None] * len(responses)), make_actors, make_run, prompts, ppo)


def test_weights_that_are_not_finite_stop_the_run(make_actors, make_run, letter_task, prompts, ppo):
    actors = make_actors()
    with torch.no_grad():
        actors.critic.classifier.score.weight[0, 0] = math.nan
    with pytest.raises(TrainingError, match="token_values of the rollout are not finite"):
        run_with(letter_task, make_actors, make_run, prompts, ppo, actors=actors)


def test_a_policy_with_dropout_fails_the_ratio_check(make_actors, make_run, letter_task, prompts, ppo):
    actors = make_actors()
    policy, calls = actors.policy, []

    def noisy(module, arguments, output):
        calls.append(None)
        if torch.is_grad_enabled():  # the update's forward sees another policy than the rollout did
            return output * 1.001
        return output

    policy.lm_head.register_forward_hook(noisy)
    with pytest.raises(
        TrainingError, match=r"seed 3, update 1: before the first optimizer step the ratio .* differs from 1"
    ):
        run_with(letter_task, make_actors, make_run, prompts, ppo, actors=actors)
    assert calls


def test_a_stop_is_honoured_between_updates(make_actors, make_run, letter_task, prompts, ppo):
    class Stop(NoProgress):
        def stop_requested(self):
            return True

    run = make_run("stopped")
    with pytest.raises(Interrupted):
        train_ppo(run, make_actors(), letter_task, MacroPpo(EveryNTokens(3), ppo), prompts, Stop())
    assert len((run.folder / "metrics.jsonl").read_text().splitlines()) == 1


def test_every_method_preset_and_option_trains(make_actors, make_run, letter_task, prompts, ppo):
    changes = [
        {"method": "official_code"},
        {"method": "paper", "truncation": "bootstrap", "lambda_per": "token", "gamma": 0.99},
        {
            "ratio_level": "macro_geometric",
            "loss_average": "macro",
            "critic_target": "macro",
            "value_pooling": "position_late",
        },
        {"kl_in": "loss", "kl_estimator": "k3", "loss_average": "sequence", "minibatches": 3, "ppo_epochs": 2},
        {"old_logprobs": "recomputed", "value_clip_range": 0.2, "score_clip": 0.5, "kl_controller": "adaptive"},
    ]
    for number, change in enumerate(changes):
        run = make_run(f"option{number}")
        settings = PpoConfig.model_validate({**ppo.model_dump(), "updates": 1, **change})
        actors = make_actors()
        before = actors.policy.lm_head.weight.detach().clone()
        train_ppo(run, actors, letter_task, MacroPpo(EveryNTokens(3), settings), prompts, NoProgress())
        assert not torch.equal(before, actors.policy.lm_head.weight)
        line = json.loads((run.folder / "metrics.jsonl").read_text())
        assert line["ratio_deviation"] <= 1e-4
