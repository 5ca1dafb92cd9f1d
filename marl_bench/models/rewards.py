"""Rewards that are models, and the score that is made of all parts."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from marl_bench.models.batch_sizes import Rows, batch_size
from marl_bench.models.loading import SCORE_OFFSET, load_classifier, load_reward_model, shares_vocabulary
from marl_bench.models.out_of_memory import SCORING, Halvings
from marl_bench.models.scoring import TokenValues, in_micro_batches, last_token_scores
from marl_bench.records import Prompt, Response
from marl_bench.reward_sources import OWN, RewardSource
from marl_bench.score_parts import Reward, RewardFunction, RewardPart, RuleReward, ToScore, load_callable_reward

_NO_LIMIT = 10**9
"""Tokenizers without a limit give a much larger number."""


def make_reward(
    sources: Sequence[RewardSource],
    *,
    reward_model: "TokenValues | ClassifierReward | None",
    dtype: str,
    device: torch.device,
    halvings: Halvings | None = None,
) -> Reward:
    """Loads all that the sources name.

    Args:
        sources: The parts.
        reward_model: Stands for the task's own reward, as `load_own_model` gives it, or None for a task with a rule reward.
        dtype: Of classifiers.
        device: Where classifiers go.
        halvings: Halves their micro-batches where memory runs out.

    Raises:
        ConfigError: A callable does not exist or cannot be called.
        PluginError: Its file cannot be imported.
        ModelError: A classifier cannot be loaded or has other than one output.
    """
    parts = []
    for source in sources:
        function: RewardFunction
        if source.kind == OWN:
            function = _own(reward_model, halvings)
        elif source.kind == "python":
            function = load_callable_reward(source)
        else:
            function = ClassifierReward(*load_classifier(source.target, dtype=dtype, device=device), halvings)
        parts.append(RewardPart(source, function))
    return Reward(parts)


def _own(reward_model: "TokenValues | ClassifierReward | None", halvings: Halvings | None) -> RewardFunction:
    if reward_model is None:
        return RuleReward()
    if isinstance(reward_model, ClassifierReward):
        return dataclasses.replace(reward_model, halvings=halvings)
    return TokenReward(reward_model, halvings)


def load_own_model(
    folder: Path, tokenizer: Any, *, dtype: str, device: torch.device
) -> "TokenValues | ClassifierReward":
    """Loads the task's reward model: on the policy's tokens where it shares its vocabulary, else on texts, with the tokenizer of its own.

    Raises:
        ModelError: It cannot be loaded, has no tokenizer, or has other than one output.
    """
    if shares_vocabulary(tokenizer, str(folder)):
        model = load_reward_model(str(folder), dtype=dtype, pad_token_id=tokenizer.pad_token_id)
        return TokenValues(model).to(device)
    return load_text_reward(folder, dtype=dtype, device=device)


def load_text_reward(folder: Path, *, dtype: str, device: torch.device) -> "ClassifierReward":
    """Loads a reward model of another vocabulary than the policy's; raises as `load_own_model`."""
    model, tokenizer = load_classifier(str(folder), dtype=dtype, device=device)
    return ClassifierReward(model, tokenizer, offset=float(getattr(model.config, SCORE_OFFSET, 0.0)))


@dataclasses.dataclass(frozen=True)
class TokenReward:
    """A reward model that shares the policy's tokens.

    Attributes:
        model: The reward model.
        tokens: Tokens a forward pass, in place of a number of rows.
        rows_are: How rows stand in its input.
    """

    model: TokenValues
    halvings: Halvings | None = None
    tokens: int | None = None
    rows_are: Rows = "aligned"
    in_background: bool = False

    def __call__(self, batch: ToScore) -> Any:
        """Returns the scores at the last tokens."""
        assert batch.tokens is not None  # where a part reads tokens, there are some
        return in_micro_batches(
            lambda rows: last_token_scores(self.model, rows),
            batch.tokens,
            size=batch_size(batch.batch_size, self.tokens, self.rows_are),
            halvings=self.halvings,
        )


@dataclasses.dataclass(frozen=True)
class ClassifierReward:
    """A sequence classifier with one output and a tokenizer of its own.

    It reads the dialogue through its own chat template where it has one, else the prompt and the response as one text; a finished response
    ends with its EOS. What is too long for its window is cut at the front.

    Attributes:
        model: The classifier.
        tokenizer: Its own.
        halvings: Halves its micro-batches where memory runs out.
        offset: Added to its outputs.
    """

    model: Any
    tokenizer: Any
    halvings: Halvings | None = None
    offset: float = 0.0
    in_background: bool = False

    def __call__(self, batch: ToScore) -> Any:
        """Returns the classifier's outputs."""
        texts = [self.text(prompt, response) for prompt, response in zip(batch.prompts, batch.responses, strict=True)]
        size = batch.batch_size if self.model.config.pad_token_id is not None else 1
        if self.halvings is None:
            return self._scores(texts, size)
        return self.halvings.retried(
            SCORING, min(size, max(len(texts), 1)), lambda fitting: self._scores(texts, fitting)
        )

    @torch.no_grad()
    def _scores(self, texts: Sequence[str], size: int) -> list[float]:
        scores: list[float] = []
        for start in range(0, len(texts), size):
            encoded = self.tokenizer(
                texts[start : start + size],
                return_tensors="pt",
                padding=size > 1,
                truncation=self.window is not None,
                max_length=self.window,
                add_special_tokens=not self.has_template,
            )
            inputs = {name: encoded[name].to(self.model.device) for name in ("input_ids", "attention_mask")}
            scores += (self.model(**inputs).logits[:, 0].float() + self.offset).tolist()
        return scores

    @property
    def has_template(self) -> bool:
        """True if its tokenizer has a chat template."""
        return bool(self.tokenizer.chat_template)

    @property
    def window(self) -> int | None:
        """Tokens that it can read, or None where neither model nor tokenizer says."""
        found = [size for size in (self.tokenizer.model_max_length,) if size < _NO_LIMIT]
        positions = getattr(self.model.config, "max_position_embeddings", None)
        if positions is not None:
            table = getattr(getattr(self.model.base_model, "embeddings", None), "position_embeddings", None)
            padding = getattr(table, "padding_idx", None)  # RoBERTa counts its positions from behind this one
            found.append(positions - (padding + 1 if padding is not None else 0))
        return min(found, default=None)

    def text(self, prompt: Prompt, response: Response) -> str:
        """Returns what the classifier reads, EOS included."""
        if self.has_template:
            turns = [*(prompt.messages or [{"role": "user", "content": prompt.text.strip()}])]
            turns.append({"role": "assistant", "content": response.text.strip()})
            return str(self.tokenizer.apply_chat_template(turns, tokenize=False))
        end = self.tokenizer.eos_token if response.finished is not False and self.tokenizer.eos_token else ""
        if prompt.plain_text is None:
            return prompt.text + response.text + end
        return f"{prompt.plain_text} {response.text.lstrip()}{end}"  # the policy's template is not the classifier's
