"""From a scored rollout to what the update reads: rewards, advantages, whitening."""

import dataclasses

import torch

from marl_bench.batches import Advantages, Experience, Rollout, Segmentation, TokenRewards
from marl_bench.config import PpoConfig
from marl_bench.interfaces import PolicyBaseline
from marl_bench.macro.mismatch import truncated_importance_weights
from marl_bench.macro.segmentation import check_partition, to_tokens
from marl_bench.macro.smdp import kl_penalty, whiten


@dataclasses.dataclass(frozen=True)
class PreparedExperience:
    """An experience with the steps that led to it, for diagnostics."""

    experience: Experience
    rewards: TokenRewards
    advantages: Advantages


def token_rewards(
    rollout: Rollout, scores: torch.Tensor, *, ppo: PpoConfig, kl_coef: float, score_std: float
) -> TokenRewards:
    """Returns the KL penalty of every token, and the scores as training uses them.

    Args:
        rollout: The responses.
        scores: [B] as the reward gave them.
        ppo: Shaping options: scale, then clip, then the penalty for a missing EOS.
        kl_coef: Coefficient of the KL as it stands.
        score_std: Spread of the scores over SFT samples.
    """
    shaped = shaped_scores(scores, rollout.tokens.finished, ppo=ppo, score_std=score_std)
    penalty = kl_penalty(rollout.token_log_probs, rollout.token_ref_log_probs, ppo.kl_estimator)
    coefficient = kl_coef if ppo.kl_in == "reward" else 0.0
    return TokenRewards(-coefficient * penalty, shaped)


def shaped_scores(scores: torch.Tensor, finished: torch.Tensor, *, ppo: PpoConfig, score_std: float) -> torch.Tensor:
    """Returns [B] scores as training uses them: scaled, clipped, less the penalty for responses that did not finish ([B] bool)."""
    shaped = scores / score_std if ppo.score_scale == "reference_std" else scores
    clip = ppo.method_options().score_clip
    shaped = shaped.clamp(-clip, clip) if clip > 0 else shaped
    return shaped - ppo.missing_eos_penalty * (~finished)


def prepare_experience(
    baseline: PolicyBaseline,
    rollout: Rollout,
    rewards: TokenRewards,
    *,
    ppo: PpoConfig,
    importance_cap: float | None = None,
) -> PreparedExperience:
    """Segments the rollout and lays the advantages of the macro actions on their tokens.

    Args:
        baseline: Segments, and gives the advantages.
        rollout: The responses.
        rewards: Their rewards.
        ppo: Shaping options.
        importance_cap: Bound of the weights that make up for another engine's sampling; None weighs nothing.

    Raises:
        SegmentationError: The baseline's macro actions do not partition the response tokens.
    """
    mask = rollout.tokens.response_mask
    segmentation: Segmentation = baseline.segment(rollout)
    check_partition(segmentation, mask)
    advantages = baseline.advantages(rollout, segmentation, rewards)
    token_advantages = to_tokens(advantages.macro_advantages, segmentation.macro_ids)
    if ppo.method_options().whiten_advantages:
        token_advantages = whiten(token_advantages, mask)
    sampled_elsewhere = rollout.token_sampler_log_probs
    weights = None
    if importance_cap is not None and sampled_elsewhere is not None:
        weights = truncated_importance_weights(rollout.token_log_probs, sampled_elsewhere, cap=importance_cap)
    experience = Experience(
        tokens=rollout.tokens,
        segmentation=segmentation,
        token_log_probs=rollout.token_log_probs,
        token_ref_log_probs=rollout.token_ref_log_probs,
        token_values=rollout.token_values,
        token_advantages=token_advantages,
        token_returns=to_tokens(advantages.macro_returns, segmentation.macro_ids),
        token_weights=weights,
    )
    return PreparedExperience(experience, rewards, advantages)
