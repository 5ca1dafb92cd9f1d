"""Frozen tensor records between the stages of training. torch is imported by those who make them.

Axes: B rollouts, P prompt tokens (left-padded), T response tokens (right-padded), M macro actions. Tensors named `token_*` are [B, T],
`macro_*` are [B, M]. Masks are True on what is real.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclasses.dataclass(frozen=True)
class Tokens:
    """Prompts and their responses as token ids.

    Attributes:
        prompt_ids: [B, P] int64, left-padded.
        prompt_mask: [B, P] bool.
        response_ids: [B, T] int64, right-padded, EOS included.
        response_mask: [B, T] bool.
        finished: [B] bool, False where the response was cut at the length limit.
    """

    prompt_ids: torch.Tensor
    prompt_mask: torch.Tensor
    response_ids: torch.Tensor
    response_mask: torch.Tensor
    finished: torch.Tensor

    @property
    def prompt_width(self) -> int:
        """P."""
        return self.prompt_ids.shape[1]

    @property
    def response_width(self) -> int:
        """T."""
        return self.response_ids.shape[1]

    def __len__(self) -> int:
        return self.prompt_ids.shape[0]

    def rows(self, index: torch.Tensor | slice) -> Tokens:
        """Returns the chosen rows."""
        return Tokens(**{field.name: getattr(self, field.name)[index] for field in dataclasses.fields(self)})


@dataclasses.dataclass(frozen=True)
class Rollout:
    """Sampled responses with all that a termination rule or an advantage may need.

    Attributes:
        tokens: Ids and masks.
        token_log_probs: [B, T] float32, of the policy that sampled; 0 on padding.
        token_ref_log_probs: [B, T] float32, of the reference policy; 0 on padding.
        token_values: [B, T] float32, the critic's value of the state before each token; 0 on padding.
        row_seeds: One integer a row, from seed, update, prompt id and sample index.
        texts: Decoded responses.
        token_entropies: [B, T] float32 in nats, gathered when a rule needs them.
        token_offsets: Per row the (start, end) characters of each token in the text, gathered when a rule needs them.
        end_values: [B] float32, the critic's value after the last token where the response was cut, 0 where it finished; gathered for
            `truncation: bootstrap`.
        token_sampler_log_probs: [B, T] float32, as the engine that sampled gave them, where that is not the policy's own forward pass; 0 on
            padding.
        groups: One integer a row, the same for responses to the same prompt; gathered when a baseline needs them.
    """

    tokens: Tokens
    token_log_probs: torch.Tensor
    token_ref_log_probs: torch.Tensor
    token_values: torch.Tensor
    row_seeds: Sequence[int]
    texts: Sequence[str]
    token_entropies: torch.Tensor | None = None
    token_offsets: Sequence[Sequence[tuple[int, int]]] | None = None
    end_values: torch.Tensor | None = None
    token_sampler_log_probs: torch.Tensor | None = None
    groups: Sequence[int] | None = None

    def rows(self, index: Sequence[int]) -> Rollout:
        """Returns the chosen rows."""

        def chosen(value: object) -> object:
            if value is None:
                return None
            if isinstance(value, Tokens):
                return value.rows(torch_index)
            return [value[row] for row in index] if isinstance(value, Sequence) else value[torch_index]  # type: ignore[index]

        torch_index = self.token_log_probs.new_tensor(index).long()
        return Rollout(**{field.name: chosen(getattr(self, field.name)) for field in dataclasses.fields(self)})  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """A partition of each response into macro actions.

    Attributes:
        macro_ids: [B, T] int64, index of the token's macro action; -1 on padding.
        macro_lengths: [B, M] int64, tokens of each macro action.
        macro_mask: [B, M] bool. A real macro action of length 0 exists only with the last token alone as in the released code.
        fallbacks: Rows for which the rule fell back to another rule.
    """

    macro_ids: torch.Tensor
    macro_lengths: torch.Tensor
    macro_mask: torch.Tensor
    fallbacks: int = 0


@dataclasses.dataclass(frozen=True)
class TokenRewards:
    """Rewards of a rollout.

    Attributes:
        token_kl_rewards: [B, T] float32, the KL penalty alone; 0 on padding.
        scores: [B] float32, added at the last token.
    """

    token_kl_rewards: torch.Tensor
    scores: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Advantages:
    """Advantages and returns per macro action, [B, M] float32, 0 on padding."""

    macro_advantages: torch.Tensor
    macro_returns: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Experience:
    """What an update reads, nothing else.

    Attributes:
        tokens: Ids and masks.
        segmentation: The macro actions.
        token_log_probs: [B, T] log-probs at sampling time.
        token_ref_log_probs: [B, T] log-probs of the reference.
        token_values: [B, T] values at sampling time.
        token_advantages: [B, T] the macro action's advantage on each of its tokens, whitened if so configured; 0 on padding.
        token_returns: [B, T] the macro action's return on each of its tokens; 0 on padding.
        token_weights: [B, T] what the policy loss of each token is multiplied with, or None.
    """

    tokens: Tokens
    segmentation: Segmentation
    token_log_probs: torch.Tensor
    token_ref_log_probs: torch.Tensor
    token_values: torch.Tensor
    token_advantages: torch.Tensor
    token_returns: torch.Tensor
    token_weights: torch.Tensor | None = None

    def rows(self, index: torch.Tensor, *, tokens: Tokens) -> Experience:
        """Returns the chosen rows; `tokens` are theirs, possibly with the columns cut off that are padding in all of them."""
        width = tokens.response_width
        parts = self.segmentation
        names = ["token_log_probs", "token_ref_log_probs", "token_values", "token_advantages", "token_returns"]
        if self.token_weights is not None:
            names.append("token_weights")
        return Experience(
            tokens,
            Segmentation(parts.macro_ids[index, :width], parts.macro_lengths[index], parts.macro_mask[index]),
            **{name: getattr(self, name)[index, :width] for name in names},
        )


@dataclasses.dataclass(frozen=True)
class TokenOutputs:
    """What the models give for a minibatch of an update, with gradients.

    Attributes:
        token_log_probs: [B, T].
        token_values: [B, T].
        counts: Global counts of the optimizer step that averages divide by.
        kl_coef: Coefficient of the KL as it stands, for the KL as a term of the loss.
    """

    token_log_probs: torch.Tensor
    token_values: torch.Tensor
    counts: StepCounts
    kl_coef: float


@dataclasses.dataclass(frozen=True)
class StepCounts:
    """How many tokens, macro actions and responses one optimizer step holds over all micro-batches."""

    tokens: int
    macros: int
    responses: int


@dataclasses.dataclass(frozen=True)
class LossTerms:
    """Losses of a minibatch, scalars with gradients, already divided by the global counts; and detached figures that add up.

    Attributes:
        policy: Loss of the policy.
        critic: Loss of the critic.
        sums: Name to a sum over tokens (detached); the trainer divides by the number of tokens.
    """

    policy: torch.Tensor
    critic: torch.Tensor
    sums: Mapping[str, torch.Tensor]
