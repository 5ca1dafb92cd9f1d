"""Prompts as token ids: cut to the limit where the task allows it, and padded on the left."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import torch

from marl_bench.records import Prompt


@dataclasses.dataclass(frozen=True)
class FittedPrompts:
    """Prompts within the token limit.

    Attributes:
        prompts: Those that are kept, cut where needed.
        cut: How many were shortened.
        dropped: How many were left out.
    """

    prompts: Sequence[Prompt]
    cut: int
    dropped: int


def fit_prompts(
    prompts: Sequence[Prompt], tokenizer: Any, *, max_prompt_tokens: int, overlong: Literal["cut", "drop"]
) -> FittedPrompts:
    """Cuts or drops prompts of more than `max_prompt_tokens` tokens.

    A cut shortens the prompt's `cuttable` span from its end, at a word where possible, so that what stands around it (`TL;DR:`) stays; a
    prompt that is too long even without the span is dropped.
    """
    kept: list[Prompt] = []
    cut = dropped = 0
    lengths = [len(ids) for ids in tokenizer([prompt.text for prompt in prompts])["input_ids"]] if prompts else []
    for prompt, length in zip(prompts, lengths, strict=True):
        if length <= max_prompt_tokens:
            kept.append(prompt)
            continue
        shorter = _cut(prompt, tokenizer, max_prompt_tokens) if overlong == "cut" else None
        if shorter is None:
            dropped += 1
        else:
            cut += 1
            kept.append(shorter)
    return FittedPrompts(kept, cut, dropped)


def encode_prompts(prompts: Sequence[Prompt], tokenizer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns prompt ids [B, P] int64 and mask [B, P] bool, left-padded."""
    encoded = tokenizer([prompt.text for prompt in prompts], return_tensors="pt", padding=True, padding_side="left")
    return encoded["input_ids"], encoded["attention_mask"].bool()


def encode_response(text: str, tokenizer: Any, *, max_response_tokens: int) -> list[int]:
    """Returns the ids of a response with EOS at its end; one over the limit is cut and has no EOS, like a sampled one."""
    ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return ids[:max_response_tokens]


def _cut(prompt: Prompt, tokenizer: Any, max_prompt_tokens: int) -> Prompt | None:
    start, end = prompt.cuttable or (0, 0)
    low, high = start, end  # the longest fitting prefix of the span ends in [low, high)
    if len(tokenizer(prompt.text[:start] + prompt.text[end:])["input_ids"]) > max_prompt_tokens or start == end:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        fits = len(tokenizer(prompt.text[:middle] + prompt.text[end:])["input_ids"]) <= max_prompt_tokens
        low, high = (middle, high) if fits else (low, middle)
    at_word = prompt.text.rfind(" ", start, low + 1)
    low = at_word if at_word > start else low
    return dataclasses.replace(prompt, text=prompt.text[:low] + prompt.text[end:], cuttable=(start, low))
