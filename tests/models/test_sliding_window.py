"""Models whose layers look back over a window only: what sampling says of its tokens is what scoring says of them."""

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, GemmaConfig, MistralConfig

from marl_bench.models.cache import PreallocatedLayer, make_cache
from marl_bench.models.sampling import SamplingSettings, sample_responses
from marl_bench.models.scoring import response_log_probs

EOS, PAD = 1, 0


def model(kind, **changes):
    torch.manual_seed(0)
    config = kind(
        vocab_size=14,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        initializer_range=0.4,  # so that attention matters and no distribution is flat
        tie_word_embeddings=False,  # or so large weights would only repeat the last token
        **changes,
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


MODELS = {
    "gemma": lambda: model(GemmaConfig),
    "gemma 2, every other layer a window of 5": lambda: model(Gemma2Config, sliding_window=5, query_pre_attn_scalar=8),
    "mistral, every layer a window of 5": lambda: model(MistralConfig, sliding_window=5),
}


@pytest.mark.parametrize("name", list(MODELS))
def test_sampling_and_scoring_agree_beyond_the_window(name):
    policy = MODELS[name]()
    lengths, width, rows = [3, 9, 6, 9, 4, 7, 9, 5], 9, 8
    prompts = torch.randint(2, 14, (rows, width), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(width) >= width - torch.tensor(lengths).unsqueeze(1)  # padded on the left
    samples = sample_responses(
        policy,
        torch.where(mask, prompts, PAD),
        mask,
        list(range(100, 100 + rows)),
        settings=SamplingSettings(20, temperature=2.0, log_prob_temperature=2.0),
        eos_id=EOS,
        pad_id=PAD,
    )
    tokens = samples.tokens
    ended = tokens.response_mask.sum(dim=1)
    assert ended.max() == 20
    assert len(set(ended.tolist())) > 3  # rows end at different times, so rows were taken out of the cache
    with torch.no_grad():
        scored = response_log_probs(policy, tokens, temperature=2.0).token_log_probs
    assert float((scored - samples.token_log_probs).abs().max()) <= 1e-4
    assert float(samples.token_log_probs[tokens.response_mask].std()) > 0.3


def test_the_window_changes_what_the_model_says():
    # Or the test above could not tell a window that is not looked at.
    tight, wide = (model(Gemma2Config, sliding_window=window, query_pre_attn_scalar=8) for window in (5, 64))
    ids = torch.randint(2, 14, (1, 20), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        difference = (tight(ids).logits - wide(ids).logits)[0].abs().amax(dim=-1)
    assert float(difference[:5].max()) <= 1e-4
    assert float(difference[5:].max()) > 0.1


def test_buffers_are_allocated_ahead_for_full_attention_only():
    full = make_cache(MODELS["gemma"]().config, capacity=29)
    assert all(isinstance(layer, PreallocatedLayer) for layer in full.layers)
    windowed = make_cache(MODELS["gemma 2, every other layer a window of 5"]().config, capacity=29)
    assert not any(isinstance(layer, PreallocatedLayer) for layer in windowed.layers)
