"""Converts the llama2.c model stories260K, a real pretrained one, to a `from_pretrained` folder."""

import struct
from pathlib import Path

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPACE = "\u2581"


def convert(source: Path, target: Path) -> None:
    """Writes model and tokenizer of the folder `source` to `target`."""
    model = _model(source / "stories260K.bin")
    tokenizer = _tokenizer(source / "tok512.bin")
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _model(path: Path) -> LlamaForCausalLM:
    data = path.read_bytes()
    dim, hidden, layers, heads, kv_heads, vocabulary, window = struct.unpack("7i", data[:28])
    numbers = torch.from_numpy(np.frombuffer(data[28:], dtype="<f4").copy())
    position = 0

    def take(*shape: int) -> torch.Tensor:
        nonlocal position
        size = int(np.prod(shape))
        position += size
        return numbers[position - size : position].reshape(shape)

    width = dim // heads
    embeddings, attention_norms = take(vocabulary, dim), take(layers, dim)
    queries, keys, values = (
        take(layers, dim, dim),
        take(layers, kv_heads * width, dim),
        take(layers, kv_heads * width, dim),
    )
    outputs, ffn_norms = take(layers, dim, dim), take(layers, dim)
    gates, downs, ups, norm = take(layers, hidden, dim), take(layers, dim, hidden), take(layers, hidden, dim), take(dim)
    state = {"model.embed_tokens.weight": embeddings, "lm_head.weight": embeddings, "model.norm.weight": norm}
    for layer in range(layers):
        state |= {
            f"model.layers.{layer}.{name}.weight": weight
            for name, weight in {
                "input_layernorm": attention_norms[layer],
                "self_attn.q_proj": _halves(queries[layer], heads),
                "self_attn.k_proj": _halves(keys[layer], kv_heads),
                "self_attn.v_proj": values[layer],
                "self_attn.o_proj": outputs[layer],
                "post_attention_layernorm": ffn_norms[layer],
                "mlp.gate_proj": gates[layer],
                "mlp.down_proj": downs[layer],
                "mlp.up_proj": ups[layer],
            }.items()
        }
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=dim,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=window,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config)
    model.load_state_dict(state)
    return model


def _halves(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Reorders rows: llama2.c rotates neighbours, transformers rotates halves."""
    rows, columns = weight.shape
    return weight.view(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)


def _tokenizer(path: Path) -> PreTrainedTokenizerFast:
    data, position, pieces = path.read_bytes(), 4, []
    while position < len(data):
        score, length = struct.unpack("fi", data[position : position + 8])
        pieces.append((data[position + 8 : position + 8 + length].decode().replace(" ", SPACE), score))
        position += 8 + length
    pieces[:3] = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    pieces[3:259] = [(f"<0x{byte:02X}>", 0.0) for byte in range(256)]
    vocabulary = {piece: number for number, (piece, _) in enumerate(pieces)}
    merges = [
        (piece[:cut], piece[cut:])
        for piece, _ in sorted(pieces[259:], key=lambda pair: -pair[1])
        for cut in range(1, len(piece))
        if piece[:cut] in vocabulary and piece[cut:] in vocabulary
    ]
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    backend.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    special = [AddedToken(text, special=True, normalized=False) for text in ("<unk>", "<s>", "</s>")]
    backend.add_special_tokens(special)
    # Bytes stand in for every unknown text, so <unk> never occurs and can pad.
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", bos_token="<s>", unk_token="<unk>", pad_token="<unk>"
    )
