"""Parameters from shapes equal those of the models themselves."""

import json

import pytest

from marl_bench.errors import UnknownNameError
from marl_bench.estimates.gpus import gpu_named
from marl_bench.estimates.shapes import KNOWN_SHAPES, shape_of

# By hand. Gemma 2B: a layer has 2 x 2048 x 2048 (queries, output) + 2 x 2048 x 256 (keys, values) + 3 x 2048 x 16384 (feed-forward)
# + 2 x 2048 (norms) = 8,388,608 + 1,048,576 + 100,663,296 + 4,096 = 110,104,576; 18 of them, 256,000 x 2048 = 524,288,000 of the embedding,
# which is the head as well, and 2,048 of the last norm. The totals are those that the hub shows for the published weights.
PUBLISHED = {
    "google/gemma-2b": 2_506_172_416,
    "google/gemma-7b": 8_537_680_896,
    "google/gemma-2-27b": 27_227_128_320,
    "google/codegemma-2b": 2_506_172_416,
    "google/codegemma-7b-it": 8_537_680_896,
}


def test_known_models_have_their_published_parameters():
    assert {name: shape.parameters for name, shape in KNOWN_SHAPES.items()} == PUBLISHED
    assert KNOWN_SHAPES["google/gemma-2b"].layer_parameters == 110_104_576


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "gemma", "gemma2"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_shape_of_a_folder_counts_what_the_model_has(tmp_path, kind, tied):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    config = AutoConfig.for_model(
        kind,
        vocab_size=96,
        hidden_size=32,
        intermediate_size=80,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16 if kind != "qwen2" else 8,
        tie_word_embeddings=tied,
    )
    config.save_pretrained(tmp_path)
    shape = shape_of(str(tmp_path))
    with torch.device("meta"):
        language_model = AutoModelForCausalLM.from_config(config)
        config.num_labels = 1
        classifier = AutoModelForSequenceClassification.from_config(config)
    assert shape.parameters == language_model.num_parameters()
    assert shape.classifier_parameters == classifier.num_parameters()
    # An adapter of rank r on a matrix [out, in] has r x (in + out) parameters.
    layer = language_model.base_model.layers[0].named_modules()
    linear = {name.rpartition(".")[2]: module for name, module in layer if isinstance(module, torch.nn.Linear)}
    assert shape.linear_sides == {name: module.in_features + module.out_features for name, module in linear.items()}


def test_what_is_no_such_decoder_has_no_shape(tmp_path):
    assert shape_of("someone/some-model") is None
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_embd": 8}))
    assert shape_of(str(tmp_path)) is None
    (tmp_path / "config.json").write_text("{")
    assert shape_of(str(tmp_path)) is None


def test_gpus_go_by_their_short_names():
    assert gpu_named("H100").name == "H100 SXM 80 GB"
    assert gpu_named("4090") == gpu_named("rtx-4090")
    assert gpu_named("a100").memory_gib == 80.0
    with pytest.raises(UnknownNameError, match=r"unknown GPU 'h10'\. Did you mean 'h100'"):
        gpu_named("h10")
