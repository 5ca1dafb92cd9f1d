"""What is traded for memory changes no log-prob, value or gradient; what would is refused or left out."""

import dataclasses

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BloomConfig,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
)

from marl_bench.batches import Tokens
from marl_bench.config import MemoryConfig
from marl_bench.errors import ModelError
from marl_bench.models.actors import Actors
from marl_bench.models.forward import PLAIN, ForwardPlan, forward_plan, set_forward_plan
from marl_bench.models.memory import with_memory
from marl_bench.models.rewards import TokenReward
from marl_bench.models.sampling import ModelSampler, SamplingSettings, sample_responses
from marl_bench.models.scoring import TokenValues, last_token_scores, response_log_probs
from marl_bench.reward_sources import OWN, RewardSource
from marl_bench.score_parts import Reward, RewardPart

VOCABULARY, PAD, EOS = 50, 0, 1
PROMPTS = [[5, 6, 7, 8, 9], [10, 11], [12, 13, 14]]
RESPONSES = [[20, 21, 22, EOS], [23, 24, 25, 26, 27, EOS], [30, EOS]]
SMALL = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 128,
    "vocab_size": VOCABULARY,
    "pad_token_id": PAD,
    "bos_token_id": EOS,
    "eos_token_id": EOS,
    "num_labels": 1,
}
SPECIAL = {name: SMALL[name] for name in ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id", "num_labels")}
CONFIGS = {
    "gpt2": GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=128, **SPECIAL),
    "llama": LlamaConfig(**SMALL, num_key_value_heads=1),
    # A cap and a window so small that leaving one of them out would show.
    "gemma2": Gemma2Config(**SMALL, num_key_value_heads=1, head_dim=8, sliding_window=3, final_logit_softcapping=1.5),
    "granite": GraniteConfig(**SMALL, num_key_value_heads=1, logits_scaling=8.0),
}
OPT = OPTConfig(
    hidden_size=16,
    word_embed_proj_dim=16,
    ffn_dim=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    dropout=0.5,
    **SPECIAL,
)
PLANS = [
    ForwardPlan(logits_chunk_tokens=5),
    ForwardPlan("joined"),
    ForwardPlan("joined", 5),
    ForwardPlan("packed"),
    ForwardPlan("packed", 5),
]


def policy_of(config, *, seed=0):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    # Random weights of the default scale give an almost uniform distribution, which would hide mistakes.
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)
    return model


def classifier_of(config):
    torch.manual_seed(1)
    return AutoModelForSequenceClassification.from_config(config).eval()


def rows(*, left=2, right=1):
    width, length = max(map(len, PROMPTS)) + left, max(map(len, RESPONSES)) + right
    prompt_mask = torch.tensor([[False] * (width - len(row)) + [True] * len(row) for row in PROMPTS])
    response_mask = torch.tensor([[True] * len(row) + [False] * (length - len(row)) for row in RESPONSES])
    return Tokens(
        torch.tensor([[PAD] * (width - len(row)) + row for row in PROMPTS]),
        prompt_mask,
        torch.tensor([row + [PAD] * (length - len(row)) for row in RESPONSES]),
        response_mask,
        torch.ones(3, dtype=torch.bool),
    )


def actors_of(policy, *, critic=None, reward=None):
    parts = [] if reward is None else [RewardPart(RewardSource(OWN, 1.0, "task", ""), TokenReward(reward))]
    reference = policy_of(policy.config, seed=7).requires_grad_(False)
    return Actors(None, policy, reference, critic, Reward(parts), ModelSampler(policy))


def text_book(policy, temperature):
    """Returns log-probs and entropies of all response tokens, each row alone, without padding, masks or any code of ours."""
    found = []
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        logits = policy(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1] / temperature
        log_probs = torch.log_softmax(logits, dim=-1)
        found.append((log_probs[range(len(response)), response], -(log_probs.exp() * log_probs).sum(dim=-1)))
    return torch.cat([pair[0] for pair in found]), torch.cat([pair[1] for pair in found])


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("name", sorted(CONFIGS))
@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_chunks_and_packs_give_the_log_probs_and_gradients_of_each_row_alone(name, plan):
    policy, tokens = policy_of(CONFIGS[name]), rows()
    set_forward_plan(policy, plan)
    found = response_log_probs(policy, tokens, temperature=0.7, entropies=True)
    assert (found.token_log_probs[~tokens.response_mask] == 0).all()
    log_probs = found.token_log_probs[tokens.response_mask]
    weights = torch.arange(1.0, len(log_probs) + 1)
    ours = gradients(policy, (weights * log_probs).sum())
    expected, entropies = text_book(policy, 0.7)
    theirs = gradients(policy, (weights * expected).sum())
    torch.testing.assert_close(log_probs, expected, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(found.token_entropies[tokens.response_mask], entropies, atol=2e-5, rtol=1e-4)
    assert ours.keys() == theirs.keys()
    for weight, gradient in theirs.items():
        torch.testing.assert_close(ours[weight], gradient, atol=1e-4 * float(gradient.abs().max()) + 1e-6, rtol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("name", sorted(set(CONFIGS) - {"granite"}))  # which has no sequence classifier
@pytest.mark.parametrize("stand", ["joined", "packed"])
def test_values_and_scores_are_those_of_each_row_alone(name, stand):
    model, tokens = TokenValues(classifier_of(CONFIGS[name])), rows()
    set_forward_plan(model.classifier, ForwardPlan(stand))
    values, scores = model(tokens, ahead=True), last_token_scores(model, tokens)
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        every = model.classifier.score(model.classifier.base_model(torch.tensor([prompt + response]))[0])[0, :, 0]
        torch.testing.assert_close(values[row, : len(response)], every[len(prompt) - 1 : -1], atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(scores[row], every[-1], atol=2e-5, rtol=1e-4)


def test_logits_are_made_for_one_chunk_at_a_time_and_for_response_tokens_only():
    policy = policy_of(CONFIGS["llama"])
    set_forward_plan(policy, ForwardPlan(logits_chunk_tokens=5))
    made = []
    policy.lm_head.register_forward_hook(lambda _module, _inputs, logits: made.append(logits.shape[1]))
    log_probs = response_log_probs(policy, rows(), temperature=1.0).token_log_probs
    # 4 + 6 + 2 response tokens; the whole model itself is asked for none.
    assert made == [0, 5, 5, 2]
    log_probs.sum().backward()
    assert sorted(made[4:]) == [2, 5, 5]  # once more in the backward pass


def saved_bytes(compute):
    """Returns the bytes that the graph of a computation keeps, weights left out, and its result."""
    kept: dict[int, int] = {}

    def keep(tensor):
        if not isinstance(tensor, torch.nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = compute()
    return sum(kept.values()), result


def test_chunks_of_a_large_vocabulary_keep_less_for_the_backward_pass():
    config = LlamaConfig(**{**SMALL, "vocab_size": 5000}, num_key_value_heads=1)
    policy, tokens = policy_of(config), rows()
    whole, _ = saved_bytes(lambda: response_log_probs(policy, tokens, temperature=0.7).token_log_probs)
    set_forward_plan(policy, ForwardPlan(logits_chunk_tokens=4))
    chunked, _ = saved_bytes(lambda: response_log_probs(policy, tokens, temperature=0.7).token_log_probs)
    # Three rows of 7 columns: one [3, 7, 5000] tensor of logits alone is 420,000 bytes.
    assert whole - chunked >= 3 * 7 * 5000 * 4


@pytest.mark.parametrize("name", sorted(set(CONFIGS) - {"granite"}))
def test_checkpointing_gives_the_same_gradients_bit_for_bit_and_keeps_less(name):
    tokens = rows()
    found = []
    for switch in (False, True):
        policy, critic = policy_of(CONFIGS[name]), TokenValues(classifier_of(CONFIGS[name]))
        with_memory(actors_of(policy, critic=critic), MemoryConfig(gradient_checkpointing=switch))
        kept, log_probs = saved_bytes(
            lambda policy=policy: response_log_probs(policy, tokens, temperature=0.7).token_log_probs
        )
        kept_values, values = saved_bytes(lambda critic=critic: critic(tokens, ahead=True))
        both = (gradients(policy, log_probs.square().sum()), gradients(critic, values.square().sum()))
        found.append((kept, kept_values, both))
    plain, checkpointed = found
    assert checkpointed[0] < 0.7 * plain[0]
    assert checkpointed[1] < 0.7 * plain[1]
    for ours, theirs in zip(checkpointed[2], plain[2], strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[weight], theirs[weight]) for weight in theirs)


def test_checkpointing_leaves_sampling_with_a_cache_and_dropout_off():
    sampled = []
    for switch in (False, True):
        policy = policy_of(OPT)  # a dropout of a half, which OPT's layers apply themselves
        with_memory(actors_of(policy), MemoryConfig(gradient_checkpointing=switch))
        tokens = rows()
        settings = SamplingSettings(max_response_tokens=8)
        samples = sample_responses(
            policy, tokens.prompt_ids, tokens.prompt_mask, [1, 2, 3], settings=settings, eos_id=EOS, pad_id=PAD
        )
        log_probs = response_log_probs(policy, tokens, temperature=1.0).token_log_probs
        sampled.append((samples.tokens.response_ids, log_probs))
    assert torch.equal(sampled[0][0], sampled[1][0])
    assert torch.equal(sampled[0][1], sampled[1][1])


def test_an_architecture_that_mixes_packed_rows_is_refused():
    config = BloomConfig(hidden_size=16, n_layer=2, n_head=2, **SPECIAL)
    with pytest.raises(ModelError, match=r"memory\.packing.*BloomForCausalLM.*does not keep packed rows apart"):
        with_memory(actors_of(policy_of(config)), MemoryConfig(packing=True))


class Unsplittable(LlamaForCausalLM):
    """Logits that depend on more than the hidden state of their position."""

    def forward(self, *args, logits_to_keep=0, **kwargs):
        output = super().forward(*args, **kwargs)
        kept = logits_to_keep if isinstance(logits_to_keep, torch.Tensor) else slice(-logits_to_keep, None)
        output.logits = (output.logits * output.logits.shape[1])[:, kept]
        return output


def test_a_head_that_cannot_be_split_makes_all_logits_at_once_and_says_so():
    torch.manual_seed(0)
    policy = Unsplittable(CONFIGS["llama"]).eval()
    expected = response_log_probs(policy, rows(), temperature=1.0).token_log_probs
    actors = with_memory(actors_of(policy), MemoryConfig(logits_chunk_tokens=4))
    assert forward_plan(policy) == PLAIN
    [note] = actors.notes
    assert "Unsplittable does not give the same log-probs chunk by chunk" in note
    assert torch.equal(response_log_probs(policy, rows(), temperature=1.0).token_log_probs, expected)


def test_the_defaults_leave_the_models_alone():
    policy = policy_of(CONFIGS["llama"])
    actors = actors_of(policy)
    assert with_memory(actors, MemoryConfig()) is actors
    assert forward_plan(policy) == PLAIN


def test_bfloat16_models_give_float32_log_probs_in_chunks_and_packs():
    policy, tokens = policy_of(CONFIGS["llama"]).bfloat16(), rows()
    plain = response_log_probs(policy, tokens, temperature=1.0).token_log_probs
    actors = with_memory(actors_of(policy), MemoryConfig(packing=True, logits_chunk_tokens=3))
    found = response_log_probs(policy, tokens, temperature=1.0).token_log_probs
    assert actors.notes == ()
    assert plain.dtype == found.dtype == torch.float32
    torch.testing.assert_close(found, plain, atol=0.05, rtol=0.02)


def test_reward_models_get_the_limit_on_tokens():
    reward = TokenValues(classifier_of(CONFIGS["llama"]))
    memory = MemoryConfig(score_batch_tokens=20, packing=True)
    actors = with_memory(actors_of(policy_of(CONFIGS["llama"]), reward=reward), memory)
    [part] = actors.reward.parts
    assert (part.function.tokens, part.function.rows_are) == (20, "packed")
    assert forward_plan(reward.classifier) == ForwardPlan("packed")
    assert dataclasses.asdict(actors.score_batch(8))["tokens"] == 20
