"""Tokenizer and embedding matrix: which ids there are, a pad token where the tokenizer names none, and a row for it where there is none."""

import re
from typing import Any

import torch

from marl_bench.errors import ModelError

NEW_PAD = "<|pad|>"

_PAD = re.compile(r"[<\[]\|?[\w ]*pad[\w ]*\|?[>\]]", re.IGNORECASE)
_RESERVED = re.compile(r"[<\[]\|?[\w ]*(reserved|unused|extra|placeholder|dummy)[\w ]*\|?[>\]]", re.IGNORECASE)
"""How tokens are called that vocabularies hold in reserve: `<|finetune_right_pad_id|>`, `<|reserved_special_token_0|>`, `<unused0>`."""


def known_ids(tokenizer: Any) -> int:
    """Returns one more than the highest id that the tokenizer knows; the rows of an embedding matrix may be more."""
    return max(len(tokenizer), 1 + max(tokenizer.added_tokens_decoder, default=-1))


def set_pad_token(tokenizer: Any, *, path: str, may_add: bool) -> None:
    """Gives a tokenizer whose pad token is missing, or is the EOS, one that no text holds.

    It takes, in this order: a token that is called pad, one that is held in reserve, `unk`, a new token.

    Args:
        tokenizer: Changed in place.
        path: Of its model, for the error.
        may_add: Whether a new token may be added; the model needs a row for it, see `give_rows`.

    Raises:
        ModelError: There is no such token, and none may be added.
    """
    if tokenizer.pad_token_id not in (None, tokenizer.eos_token_id):
        return
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    named = [token for pattern in (_PAD, _RESERVED) for token, _ in vocabulary if pattern.fullmatch(token)]
    chosen = next((token for token in [*named, tokenizer.unk_token] if _is_free(tokenizer, token)), None)
    if chosen is None and not may_add:
        missing = "no pad token" if tokenizer.pad_token_id is None else f"its EOS '{tokenizer.eos_token}' as pad token"
        raise ModelError(
            f"model '{path}': has {missing}, so that an ending could not be told from padding, and no reserved token to take instead. "
            "Start from it with --model, which gives it a new token and trains on, in place of --sft-model; or add a token and a row of "
            "embeddings for it."
        )
    tokenizer.add_special_tokens({"pad_token": chosen or NEW_PAD})


def _is_free(tokenizer: Any, token: str | None) -> bool:
    return token is not None and token not in (tokenizer.eos_token, tokenizer.bos_token)


def give_rows(model: Any, tokenizer: Any) -> Any:
    """Returns the model with rows for all ids of the tokenizer; new ones are the mean of the others, so that nothing hinges on them."""
    rows = model.get_input_embeddings().weight.shape[0]
    if known_ids(tokenizer) <= rows:
        return model
    model.resize_token_embeddings(known_ids(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            if layer is not None:
                layer.weight[rows:] = layer.weight[:rows].mean(dim=0)
                if getattr(layer, "bias", None) is not None:
                    layer.bias[rows:] = layer.bias[:rows].mean()
    return model
