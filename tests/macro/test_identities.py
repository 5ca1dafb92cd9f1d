"""What must hold for every input: special cases that are other methods, and independence of rows."""

import dataclasses
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from marl_bench_baselines.macro_ppo import MacroPpo

from marl_bench.batches import StepCounts, TokenOutputs
from marl_bench.config import METHOD_PRESETS, PpoConfig
from marl_bench.macro.termination import EveryNTokens
from marl_bench.planning import build_rule, plan_rule
from marl_bench.training.experience import prepare_experience, token_rewards

LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=5)
SEEDS = st.integers(0, 10_000)
POOLINGS = ["equal", "last", "first", "position_late", "position_early"]
BETA = 0.1


def _prepare(building, rows, rule, *, padding=0, scores=None, **options):
    ppo = PpoConfig(kl_coef=BETA, **options)
    rollout = building.rollout(rows, padding=padding)
    scores = torch.tensor([float(row.seed % 7) for row in rows] if scores is None else scores)
    rewards = token_rewards(rollout, scores, ppo=ppo, kl_coef=BETA, score_std=1.0)
    return prepare_experience(MacroPpo(rule, ppo), rollout, rewards, ppo=ppo)


def _rows(building, lengths, seed):
    return [building.random_row(seed + index, length) for index, length in enumerate(lengths)]


@pytest.mark.parametrize("method", ["corrected", "paper"])
@settings(deadline=None, max_examples=60)
@given(lengths=LENGTHS, seed=SEEDS)
def test_token_and_fixed_1_equal_plain_token_ppo(building, reference, registry, method, lengths, seed):
    rows = _rows(building, lengths, seed)
    token, fixed = (
        _prepare(building, rows, build_rule(plan_rule(text, registry), registry), method=method)
        for text in ("token", "fixed(n=1)")
    )
    for name in ("token_advantages", "token_returns"):
        assert torch.equal(getattr(token.experience, name), getattr(fixed.experience, name))
    expected_advantages, expected_returns = _plain_token_ppo(
        reference, rows, whiten=METHOD_PRESETS[method].whiten_advantages
    )
    for index, row in enumerate(rows):
        length = len(row.ids)
        assert token.experience.token_advantages[index, :length].tolist() == pytest.approx(
            expected_advantages[index], abs=1e-4
        )
        assert token.experience.token_returns[index, :length].tolist() == pytest.approx(
            expected_returns[index], abs=1e-4
        )


def _plain_token_ppo(reference, rows, *, whiten, gae_lambda=0.95):
    """Token PPO as everybody writes it: rewards, generalized advantages backwards, returns."""
    advantages, returns = [], []
    for row in rows:
        rewards = [-BETA * (p - q) for p, q in zip(row.log_probs, row.ref_log_probs, strict=True)]
        if rewards:
            rewards[-1] += float(row.seed % 7)
        following, running, backwards = 0.0, 0.0, []
        for reward, value in zip(reversed(rewards), reversed(row.values), strict=True):
            running = reward + following - value + gae_lambda * running
            following = value
            backwards.append(running)
        advantages.append(backwards[::-1])
        returns.append([a + v for a, v in zip(advantages[-1], row.values, strict=True)])
    return reference.whitened(advantages) if whiten else advantages, returns


@pytest.mark.parametrize("method", ["corrected", "paper"])
@settings(deadline=None, max_examples=40)
@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4).filter(any), seed=SEEDS)
def test_the_loss_of_token_and_fixed_1_is_that_of_plain_token_ppo(building, reference, method, lengths, seed):
    rows = _rows(building, lengths, seed)
    prepared = _prepare(building, rows, EveryNTokens(1), method=method)
    new = building.rollout(_rows(building, lengths, seed + 100))  # the policy and critic after some steps
    mask = prepared.experience.tokens.response_mask
    log_probs = torch.where(mask, prepared.experience.token_log_probs + 0.2 * new.token_values, 0)
    count = sum(lengths)
    outputs = TokenOutputs(log_probs, new.token_values, StepCounts(count, count, len(rows)), BETA)
    terms = MacroPpo(EveryNTokens(1), PpoConfig(method=method)).loss(prepared.experience, outputs)
    policy = critic = 0.0
    for b, t in itertools.product(range(len(rows)), range(max(lengths))):
        if t < lengths[b]:
            log_ratio = float(log_probs[b, t] - prepared.experience.token_log_probs[b, t])
            policy += (
                reference.policy_loss(log_ratio, float(prepared.experience.token_advantages[b, t]), clip_range=0.2)
                / count
            )
            critic += 0.5 * float(new.token_values[b, t] - prepared.experience.token_returns[b, t]) ** 2 / count
    assert terms.policy.item() == pytest.approx(policy, abs=1e-4)
    assert terms.critic.item() == pytest.approx(critic, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
@settings(deadline=None, max_examples=30)
@given(lengths=LENGTHS, seed=SEEDS)
def test_one_macro_action_is_a_bandit(building, registry, pooling, lengths, seed):
    # Advantage = score - beta * KL - V, whatever lambda is.
    rows = _rows(building, lengths, seed)
    rule = build_rule(plan_rule("whole", registry), registry)
    prepared = _prepare(building, rows, rule, value_pooling=pooling, whiten_advantages=False, gae_lambda=0.3)
    for index, row in enumerate(rows):
        kl = sum(p - q for p, q in zip(row.log_probs, row.ref_log_probs, strict=True))
        value = _pooled(row.values, pooling)
        advantage = row.seed % 7 - BETA * kl - value
        length = len(row.ids)
        assert prepared.experience.token_advantages[index, :length].tolist() == pytest.approx(
            [advantage] * length, abs=1e-4
        )


def _pooled(values, pooling):
    tau = len(values)
    weights = {
        "equal": [1] * tau,
        "last": [0] * (tau - 1) + [1],
        "first": [1] + [0] * (tau - 1),
        "position_late": [1 / (tau - i) for i in range(tau)],
        "position_early": [1 / (i + 1) for i in range(tau)],
    }[pooling]
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights) if tau else 0.0


@settings(deadline=None, max_examples=60)
@given(lengths=LENGTHS, seed=SEEDS, n=st.integers(1, 5))
def test_lambda_one_is_the_return_to_go_minus_the_pooled_value(building, lengths, seed, n):
    rows = _rows(building, lengths, seed)
    prepared = _prepare(building, rows, EveryNTokens(n), gae_lambda=1.0, whiten_advantages=False)
    for index, row in enumerate(rows):
        kl = [p - q for p, q in zip(row.log_probs, row.ref_log_probs, strict=True)]
        for begin in range(0, len(kl), n):
            to_go = row.seed % 7 - BETA * sum(kl[begin:])
            part = row.values[begin : begin + n]
            end = begin + len(part)
            found = prepared.experience.token_advantages[index, begin:end].tolist()
            assert found == pytest.approx([to_go - sum(part) / len(part)] * len(part), abs=1e-4)
            returns = prepared.experience.token_returns[index, begin:end].tolist()
            assert returns == pytest.approx([to_go] * len(part), abs=1e-4)


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, length=st.integers(1, 12))
def test_at_lambda_one_the_rule_moves_no_return_of_a_first_token(building, seed, length):
    rows = _rows(building, [length], seed)
    returns = [
        _prepare(building, rows, EveryNTokens(n), gae_lambda=1.0).experience.token_returns[0, 0].item()
        for n in (1, 2, 5, float("inf"))
    ]
    assert returns == pytest.approx([returns[0]] * 4, abs=1e-4)


OPTIONS = [
    {},
    {"method": "paper"},
    {"method": "official_code"},
    {"gamma": 0.97, "lambda_per": "token", "value_pooling": "position_late", "kl_estimator": "k3"},
    {"gamma": 0.9, "macro_reward": "mean", "value_pooling": "position_early", "last_token_alone": True},
    {"truncation": "bootstrap", "value_pooling": "last", "kl_estimator": "k2"},
]


@pytest.mark.parametrize("options", OPTIONS)
@settings(deadline=None, max_examples=25)
@given(lengths=LENGTHS, seed=SEEDS, padding=st.integers(0, 40), n=st.sampled_from([1, 3, 5]))
def test_rows_do_not_leak(building, options, lengths, seed, padding, n):
    """Other rows, more padding and another order change nothing, bit for bit."""
    options = {**options, "whiten_advantages": False}  # whitening alone looks at the whole batch
    rows = _rows(building, lengths, seed)
    together = _results(_prepare(building, rows, EveryNTokens(n), **options), lengths)
    alone = [_results(_prepare(building, [row], EveryNTokens(n), **options), [len(row.ids)])[0] for row in rows]
    padded = _results(_prepare(building, rows, EveryNTokens(n), padding=padding, **options), lengths)
    backwards = _results(_prepare(building, rows[::-1], EveryNTokens(n), **options), lengths[::-1])[::-1]
    assert together == alone == padded == backwards


@pytest.mark.parametrize(("n", "options"), [(23, {"gamma": 0.95}), (6, {"lambda_per": "token"})])
def test_powers_of_gamma_and_lambda_do_not_depend_on_their_place(building, n, options):
    # torch rounds powers by their place in memory, 0.95^6 at the end of a tensor unlike 0.95^6 in its middle.
    lengths = [50, 37, 61]
    rows = _rows(building, lengths, 5)
    options = {**options, "whiten_advantages": False}
    expected = _results(_prepare(building, rows, EveryNTokens(n), **options), lengths)
    for padding in range(1, 20):
        assert _results(_prepare(building, rows, EveryNTokens(n), padding=padding, **options), lengths) == expected
    assert [
        _results(_prepare(building, [row], EveryNTokens(n), **options), [len(row.ids)])[0] for row in rows
    ] == expected


def _results(prepared, lengths):
    names = ("token_advantages", "token_returns")
    return [
        [getattr(prepared.experience, name)[index, :length].tolist() for name in names]
        for index, length in enumerate(lengths)
    ]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("lengths", [[0], [0, 0], [1], [0, 1, 0]])
def test_responses_of_length_zero_and_one_are_finite(building, options, lengths):
    prepared = _prepare(building, _rows(building, lengths, 3), EveryNTokens(5), padding=2, **options)
    experience = prepared.experience
    for tensor in (experience.token_advantages, experience.token_returns, prepared.advantages.macro_advantages):
        assert torch.isfinite(tensor).all()
    assert not experience.token_returns[~experience.tokens.response_mask].any()
    counts = StepCounts(tokens=sum(lengths), macros=sum(lengths), responses=len(lengths))
    outputs = TokenOutputs(experience.token_log_probs, experience.token_values, counts, BETA)
    terms = MacroPpo(EveryNTokens(5), PpoConfig(**options)).loss(experience, outputs)
    assert torch.isfinite(terms.policy) and torch.isfinite(terms.critic)


@pytest.mark.parametrize("options", OPTIONS)
def test_numbers_on_padding_are_never_read(building, options):
    rows = _rows(building, [4, 7, 0], 11)
    ppo = PpoConfig(**{**options, "whiten_advantages": False})
    clean = building.rollout(rows, padding=2)
    mask = clean.tokens.response_mask
    dirty = dataclasses.replace(clean, token_values=torch.where(mask, clean.token_values, 99.0))
    scores = torch.tensor([1.0, 2.0, 3.0])
    rewards = token_rewards(clean, scores, ppo=ppo, kl_coef=BETA, score_std=1.0)
    results = [
        prepare_experience(MacroPpo(EveryNTokens(3), ppo), each, rewards, ppo=ppo).experience for each in (clean, dirty)
    ]
    assert torch.equal(results[0].token_advantages, results[1].token_advantages)
    assert torch.equal(results[0].token_returns, results[1].token_returns)
