"""Shapes of decoder language models, from which parameters, memory and operations follow without any weights. No torch."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class ModelShape:
    """A decoder with gated feed-forward layers, as Llama, Mistral, Qwen 2, Gemma and Gemma 2 are.

    Attributes:
        layers: Number of layers.
        hidden: Width of the residual stream.
        heads: Query heads.
        kv_heads: Key and value heads.
        head_width: Width of a head.
        intermediate: Width of the feed-forward layers.
        vocabulary: Number of tokens.
        tied: True if the head is the embedding.
        norms: Norms of a layer: two, or four where the outputs are normalised as well (Gemma 2).
        qkv_bias: True if queries, keys and values have a bias (Qwen 2).
        softcapped: True if attention scores and logits are capped, which needs eager attention: its scores are held in memory.
        sliding_window: Tokens that every other layer looks back, or None.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_width: int
    intermediate: int
    vocabulary: int
    tied: bool = True
    norms: int = 2
    qkv_bias: bool = False
    softcapped: bool = False
    sliding_window: int | None = None

    @property
    def query_width(self) -> int:
        """Width of all queries of a token."""
        return self.heads * self.head_width

    @property
    def kv_width(self) -> int:
        """Width of all keys of a token, and of all values."""
        return self.kv_heads * self.head_width

    @property
    def layer_matrices(self) -> int:
        """Parameters of a layer's matrices: queries and output, keys and values, gate, up and down."""
        attention = 2 * self.hidden * self.query_width + 2 * self.hidden * self.kv_width
        return attention + 3 * self.hidden * self.intermediate

    @property
    def layer_parameters(self) -> int:
        """All parameters of a layer."""
        bias = self.query_width + 2 * self.kv_width if self.qkv_bias else 0
        return self.layer_matrices + self.norms * self.hidden + bias

    @property
    def head(self) -> int:
        """Parameters of the matrix that gives the logits, which is the embedding where they are tied."""
        return self.vocabulary * self.hidden

    @property
    def trunk_parameters(self) -> int:
        """Parameters without a head: embedding, layers, last norm."""
        return self.head + self.layers * self.layer_parameters + self.hidden

    @property
    def parameters(self) -> int:
        """Parameters of the language model."""
        return self.trunk_parameters + (0 if self.tied else self.head)

    @property
    def classifier_parameters(self) -> int:
        """Parameters of trunk and score head: reward model and critic."""
        return self.trunk_parameters + self.hidden

    @property
    def linear_sides(self) -> Mapping[str, int]:
        """Inputs plus outputs of each of a layer's matrices: an adapter of rank r has r times as many parameters."""
        queries, keys, wide = (
            self.hidden + self.query_width,
            self.hidden + self.kv_width,
            self.hidden + self.intermediate,
        )
        attention = {"q_proj": queries, "k_proj": keys, "v_proj": keys, "o_proj": queries}
        return attention | dict.fromkeys(("gate_proj", "up_proj", "down_proj"), wide)


_GEMMA_2B = ModelShape(18, 2048, 8, 1, 256, 16384, 256_000)
_GEMMA_7B = ModelShape(28, 3072, 16, 16, 256, 24576, 256_000)
_GEMMA_2_27B = ModelShape(46, 4608, 32, 16, 128, 36864, 256_000, norms=4, softcapped=True, sliding_window=4096)

KNOWN_SHAPES: Mapping[str, ModelShape] = {
    "google/gemma-2b": _GEMMA_2B,
    "google/gemma-7b": _GEMMA_7B,
    "google/gemma-2-27b": _GEMMA_2_27B,
    "google/codegemma-2b": _GEMMA_2B,
    "google/codegemma-7b-it": _GEMMA_7B,
}
"""Of the models that presets name, from their published configurations; a dry run needs no network for them."""

_READABLE = frozenset({"llama", "mistral", "qwen2", "gemma", "gemma2"})


def shape_of(model: str) -> ModelShape | None:
    """Returns the shape of a known hub id, or of the model in a folder; None where it is neither or of another architecture."""
    if model in KNOWN_SHAPES:
        return KNOWN_SHAPES[model]
    try:
        config = json.loads((Path(model).expanduser() / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return _from_config(config) if isinstance(config, dict) else None


def _from_config(config: Mapping[str, Any]) -> ModelShape | None:
    kind = config.get("model_type")
    if kind not in _READABLE:
        return None
    heads = config["num_attention_heads"]
    return ModelShape(
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_width=config.get("head_dim") or config["hidden_size"] // heads,
        intermediate=config["intermediate_size"],
        vocabulary=config["vocab_size"],
        tied=config.get("tie_word_embeddings", kind in ("gemma", "gemma2")),
        norms=4 if kind == "gemma2" else 2,
        qkv_bias=kind == "qwen2",
        softcapped=kind == "gemma2",
        sliding_window=config.get("sliding_window") if kind == "gemma2" else None,
    )
