"""Log-probs from hidden states chunk by chunk: [B, T, V] logits are the largest tensor of an update when V is 256,000."""

from collections import OrderedDict
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def selected_log_probs(
    logits: torch.Tensor, ids: torch.Tensor, *, temperature: float, entropies: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Returns log-probs of the ids (and entropies in nats, without gradients) from [..., V] logits, accumulated in float32."""
    scaled = logits.float() / temperature if temperature != 1 else logits.float()
    chosen = scaled.gather(-1, ids.unsqueeze(-1)).squeeze(-1)
    normaliser = scaled.logsumexp(dim=-1)
    log_probs = chosen - normaliser
    if not entropies:
        return log_probs, None
    with torch.no_grad():
        expected = (torch.softmax(scaled, dim=-1) * scaled).sum(dim=-1)
        return log_probs, normaliser - expected


def chunked_log_probs(
    head: nn.Module, hidden: torch.Tensor, ids: torch.Tensor, *, temperature: float, chunk_tokens: int, entropies: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Returns what `selected_log_probs` gives for the head's logits, of which only those of one chunk exist at a time.

    The backward pass makes each chunk's logits again.

    Args:
        head: As `head_of` gives it.
        hidden: [N, H], the trunk's output.
        ids: [N] int64.
        temperature: Of the log-probs.
        chunk_tokens: Tokens of a chunk.
        entropies: Whether they are wanted.
    """

    def of_chunk(hidden: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        logits = head(inputs_embeds=hidden.unsqueeze(0), use_cache=False).logits.squeeze(0)
        return selected_log_probs(logits, ids, temperature=temperature, entropies=entropies)

    parts = []
    for chunk in zip(hidden.split(chunk_tokens), ids.split(chunk_tokens), strict=True):
        if torch.is_grad_enabled():
            parts.append(checkpoint(of_chunk, *chunk, use_reentrant=False, preserve_rng_state=False))
        else:
            parts.append(of_chunk(*chunk))
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts]) if entropies else None


def causal_lm(model: Any) -> Any:
    """Returns the model of transformers itself, without the wrapper of an adapter."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def head_of(model: Any) -> nn.Module:
    """Returns a causal LM without its trunk: its own code, which scales and caps logits as it does, over hidden states given as embeddings.

    It shares the model's weights and is made for each forward pass, so that it holds none that were replaced since.
    """
    whole = causal_lm(model)
    head: nn.Module = object.__new__(type(whole))  # copy.copy would call the constructor of a divided model's class
    head.__dict__.update(whole.__dict__)
    # A copy shares its dictionaries with the model; these are made anew, so that the model itself keeps its trunk and hooks.
    head.__dict__["_modules"] = {**whole._modules, whole.base_model_prefix: _Given()}
    head.__dict__.update({name: OrderedDict() for name in HOOKS})
    return head


class _Given(nn.Module):
    """Stands where the trunk was, and returns what it is given."""

    @property
    def decoder(self) -> nn.Module:
        """Returns itself: some architectures call the decoder within their trunk."""
        return self

    def forward(self, *_: Any, inputs_embeds: torch.Tensor, **__: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=inputs_embeds)
