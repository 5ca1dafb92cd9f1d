"""Macro actions in TRL's GRPO trainer: an example of the method inside another pipeline.

Two things of GRPO may be those of macro actions: the ratio, and how much of a response's advantage reaches its earlier tokens.
"""

from typing import Any

import torch
from trl import GRPOTrainer

from marl_bench.batches import Rollout, Segmentation, Tokens
from marl_bench.errors import ConfigError
from marl_bench.interfaces import TerminationRule
from marl_bench.macro.groups import spread_advantages
from marl_bench.macro.losses import RatioLevel, log_ratios
from marl_bench.macro.segmentation import check_partition, to_tokens
from marl_bench.models.offsets import response_offsets
from marl_bench.models.sampling import row_seed

_TEXT_NEEDS = frozenset({"text", "offsets"})


class MacroGrpoTrainer(GRPOTrainer):  # type: ignore[misc]  # trl is untyped
    """TRL's GRPO trainer over the macro actions of a termination rule.

    With `ratio_level="token"` and `gae_lambda=1` it is TRL's own; with the rule `whole` and `ratio_level="macro_geometric"` it has the ratios of
    TRL's `importance_sampling_level="sequence"` (GSPO). A KL penalty (`beta`) is then that of the macro actions as well. Made for TRL 1.16.
    """

    def __init__(
        self,
        *args: Any,
        rule: TerminationRule,
        ratio_level: RatioLevel = "macro_geometric",
        gae_lambda: float = 1.0,
        **kwargs: Any,
    ) -> None:
        """Takes what TRL's trainer takes, and the rule.

        Args:
            *args: Of TRL's trainer.
            rule: A fitted rule that reads tokens and text alone: log-probs move with the policy, and the macro actions with them.
            ratio_level: Whose ratio is clipped.
            gae_lambda: A response's advantage reaches its m-th macro action from behind multiplied with gae_lambda^m.
            **kwargs: Of TRL's trainer.

        Raises:
            ConfigError: The rule reads something else, or a setting of TRL does not go with macro ratios.
        """
        unknown = sorted(rule.needs - _TEXT_NEEDS)
        if unknown:
            raise ConfigError(
                f"MacroGrpoTrainer: the rule reads {', '.join(unknown)}; it may read tokens and text alone."
            )
        super().__init__(*args, **kwargs)
        if ratio_level != "token":
            if self.args.importance_sampling_level != "token":
                raise ConfigError(
                    "MacroGrpoTrainer: importance_sampling_level must be token; macro ratios stand in for it."
                )
            if self.args.use_vllm or self.args.use_liger_kernel:
                raise ConfigError("MacroGrpoTrainer: use_vllm and use_liger_kernel need token ratios; switch them off.")
        self._rule, self._ratio_level, self._gae_lambda = rule, ratio_level, gae_lambda

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """Returns TRL's batch with advantages [B, T] in place of [B]."""
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if "tool_mask" in batch:
            raise ConfigError(
                "MacroGrpoTrainer: tools are not supported; their tokens would be parts of macro actions."
            )
        parts = self._segment(batch["completion_ids"], batch["completion_mask"].bool())
        spread = spread_advantages(batch["advantages"], parts, gae_lambda=self._gae_lambda)
        batch["advantages"] = to_tokens(spread.macro_advantages, parts.macro_ids)
        return batch

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Returns TRL's log-probs with each token's replaced by that of its macro action, so that ratios are those of macro actions."""
        log_probs, entropies, auxiliary = super()._get_per_token_logps_and_entropies(
            model, input_ids, attention_mask, logits_to_keep, *args, **kwargs
        )
        if self._ratio_level != "token":
            parts = self._segment(input_ids[:, -logits_to_keep:], attention_mask[:, -logits_to_keep:].bool())
            log_probs = log_ratios(log_probs, torch.zeros_like(log_probs), parts, level=self._ratio_level)
        return log_probs, entropies, auxiliary

    def _segment(self, completion_ids: torch.Tensor, mask: torch.Tensor) -> Segmentation:
        rows = [row[real].tolist() for row, real in zip(completion_ids, mask, strict=True)]
        texts = self.processing_class.batch_decode(rows, skip_special_tokens=True)
        no_prompt = completion_ids[:, :0]
        tokens = Tokens(no_prompt, no_prompt.bool(), completion_ids, mask, mask.any(dim=1))
        zeros = torch.zeros(mask.shape, device=mask.device)
        rollout = Rollout(
            tokens,
            zeros,
            zeros,
            zeros,
            # Rules that draw must cut a completion the same way whenever it is seen.
            row_seeds=[row_seed(*row) for row in rows],
            texts=texts,
            token_offsets=response_offsets(tokens, texts, self.processing_class) if self._rule.needs else None,
        )
        parts = self._rule.segment(rollout)
        check_partition(parts, mask)
        return parts
