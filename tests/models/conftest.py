"""Tiny random models of several architectures, and prompts for them."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    Qwen2Config,
)

VOCABULARY, PAD, EOS = 50, 0, 1

SMALL = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 128,
}
CONFIGS = {
    "llama": LlamaConfig(**SMALL, num_key_value_heads=1, vocab_size=VOCABULARY),
    "gpt2": GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=128, vocab_size=VOCABULARY),
    "gpt_neox": GPTNeoXConfig(**SMALL, vocab_size=VOCABULARY),
    "gemma": GemmaConfig(**SMALL, num_key_value_heads=1, head_dim=8, vocab_size=VOCABULARY),
    "qwen2": Qwen2Config(**SMALL, num_key_value_heads=1, vocab_size=VOCABULARY),
}


@pytest.fixture(params=sorted(CONFIGS))
def config(request):
    config = CONFIGS[request.param]
    config.pad_token_id, config.eos_token_id, config.num_labels = PAD, EOS, 1
    return config


@pytest.fixture
def policy(config):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    # Random weights of the default scale give an almost uniform distribution, which would hide mistakes.
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)
    return model


@pytest.fixture
def classifier(config):
    torch.manual_seed(1)
    return AutoModelForSequenceClassification.from_config(config).eval()
