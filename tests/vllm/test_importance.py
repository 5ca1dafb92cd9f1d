"""The mismatch between sampler and trainer: its figures, and the weights that make up for it, by worked numbers."""

import dataclasses
import json
import math

import pytest
import torch
from marl_bench_baselines.macro_ppo import MacroPpo

from marl_bench.batches import Experience, Segmentation, StepCounts, TokenOutputs, Tokens
from marl_bench.config import PpoConfig, SamplingConfig
from marl_bench.macro.mismatch import mismatch_figures, truncated_importance_weights
from marl_bench.macro.termination import EveryNTokens
from marl_bench.training.ppo import PpoRun, train_ppo
from marl_bench.training.progress import NoProgress


def test_mismatch_figures_by_hand():
    # Token ratios 2, 1/2 and 1.05; the fourth token is padding.
    trainer = torch.tensor([[0.5, 0.2, 0.42, 1.0]]).log()
    sampler = torch.tensor([[0.25, 0.4, 0.40, 0.1]]).log()
    figures = mismatch_figures(trainer, sampler, torch.tensor([[True, True, True, False]]))
    assert figures == {
        "mismatch_mean": pytest.approx((2 * math.log(2) + math.log(1.05)) / 3, rel=1e-5),
        "mismatch_max": pytest.approx(math.log(2), rel=1e-5),
        "mismatch_share": pytest.approx(2 / 3),
    }


def test_a_rollout_without_tokens_has_no_mismatch():
    nothing = torch.zeros(1, 2)
    figures = mismatch_figures(nothing, nothing, torch.zeros(1, 2, dtype=torch.bool))
    assert figures == {"mismatch_mean": 0.0, "mismatch_max": 0.0, "mismatch_share": 0.0}


def test_weights_are_ratios_up_to_the_cap():
    trainer, sampler = torch.tensor([[0.5, 0.2, 0.3]]).log(), torch.tensor([[0.25, 0.4, 0.3]]).log()
    found = truncated_importance_weights(trainer, sampler, cap=1.5)
    torch.testing.assert_close(found, torch.tensor([[1.5, 0.5, 1.0]]))


def test_a_weight_multiplies_its_tokens_policy_loss_alone():
    one = torch.ones(1, 2, dtype=torch.bool)
    experience = Experience(
        tokens=Tokens(one.long(), one, one.long(), one, torch.tensor([True])),
        segmentation=Segmentation(torch.tensor([[0, 0]]), torch.tensor([[2]]), torch.tensor([[True]])),
        token_log_probs=torch.tensor([[-1.0, -2.0]]),
        token_ref_log_probs=torch.tensor([[-1.0, -2.0]]),
        token_values=torch.zeros(1, 2),
        token_advantages=torch.tensor([[2.0, -1.0]]),
        token_returns=torch.tensor([[3.0, 1.0]]),
    )
    outputs = TokenOutputs(torch.tensor([[-1.0, -2.0]]), torch.zeros(1, 2), StepCounts(2, 1, 1), 0.0)
    baseline = MacroPpo(EveryNTokens(2), PpoConfig())
    plain = baseline.loss(experience, outputs)
    weighted = baseline.loss(dataclasses.replace(experience, token_weights=torch.tensor([[0.5, 2.0]])), outputs)
    # -(1 * 2 - 1 * 1) / 2 and -(0.5 * 2 - 2 * 1) / 2; the critic's (9 + 1) / 2 / 2 in both.
    assert (float(plain.policy), float(weighted.policy)) == (-0.5, 0.5)
    assert float(plain.critic) == float(weighted.critic) == 2.5


def test_weights_go_with_their_rows():
    mask = torch.ones(3, 2, dtype=torch.bool)
    tokens = Tokens(mask.long(), mask, mask.long(), mask, mask[:, 0])
    parts = Segmentation(torch.zeros(3, 2, dtype=torch.long), torch.full((3, 1), 2), mask[:, :1])
    weights = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    experience = Experience(tokens, parts, *[torch.zeros(3, 2)] * 5, token_weights=weights)
    index = torch.tensor([2, 0])
    assert experience.rows(index, tokens=tokens.rows(index)).token_weights.tolist() == [[5.0, 6.0], [1.0, 2.0]]


class _Words:
    metrics = ()

    def score(self, prompts, responses):
        return [float(len(response.text.split()) % 3) for response in responses]

    def oracle(self, prompts, responses):
        return None


def test_an_engine_that_is_off_by_half_a_nat_is_measured_and_weighed(
    with_engine, make_engine, make_actors, config, prompts, tmp_path
):
    """Ratios of exp(-1/2) at every token: the policy loss of the first step is that share of the one without weights."""
    lines = {}
    for cap in (None, 2.0):
        actors = make_actors()
        sampler = with_engine(make_engine(shift=0.5), actors, config)
        # Whitened advantages would sum to 0, and with them the loss.
        ppo = PpoConfig(updates=2, batch_size=6, learning_rate=1e-4, whiten_advantages=False)
        folder = tmp_path / str(cap)
        folder.mkdir()
        run = PpoRun("macro_ppo", 0, SamplingConfig(max_response_tokens=10), 1.0, folder, importance_cap=cap)
        actors = dataclasses.replace(actors, sampler=sampler)
        train_ppo(run, actors, _Words(), MacroPpo(EveryNTokens(3), ppo), prompts, NoProgress())
        lines[cap] = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    plain, weighed = lines[None][0], lines[2.0][0]
    assert abs(plain["policy_loss"]) > 1e-3
    assert weighed["policy_loss"] == pytest.approx(math.exp(-0.5) * plain["policy_loss"], rel=1e-3)
    assert weighed["critic_loss"] == pytest.approx(plain["critic_loss"], rel=1e-5)
    for line in lines[2.0]:  # after an update too: the engine was handed the new weights
        assert line["mismatch_mean"] == pytest.approx(0.5, abs=1e-4)
        assert line["mismatch_max"] == pytest.approx(0.5, abs=1e-4)
        assert line["mismatch_share"] == 1.0
        assert line["ratio_deviation"] < 1e-4
