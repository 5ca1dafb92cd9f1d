"""Macro-action PPO: one advantage a macro action. Token PPO and its controls are this with other settings."""

import dataclasses

from marl_bench.batches import Advantages, Experience, LossTerms, Rollout, Segmentation, TokenOutputs, TokenRewards
from marl_bench.config import PpoConfig
from marl_bench.errors import ConfigError
from marl_bench.interfaces import BaselineSpec, PolicyContext, TerminationRule
from marl_bench.macro.losses import clipped_policy_loss, clipped_value_loss, log_ratios, loss_weights
from marl_bench.macro.segmentation import to_tokens, with_last_token_alone
from marl_bench.macro.smdp import generalized_advantages, kl_penalty, macro_rewards, macro_values


@dataclasses.dataclass(frozen=True)
class MacroPpo:
    """PPO over the macro actions of a termination rule."""

    rule: TerminationRule
    ppo: PpoConfig

    @property
    def needs(self) -> frozenset[str]:
        """What the rollout must gather."""
        ends = {"end_values"} if self.ppo.method_options().truncation == "bootstrap" else set()
        return self.rule.needs | {"critic"} | ends

    def segment(self, rollout: Rollout) -> Segmentation:
        """Returns the rule's macro actions, the last token apart if so configured."""
        segmentation = self.rule.segment(rollout)
        return with_last_token_alone(segmentation) if self.ppo.method_options().last_token_alone else segmentation

    def advantages(self, rollout: Rollout, segmentation: Segmentation, rewards: TokenRewards) -> Advantages:
        """Returns generalized advantages over macro actions."""
        ppo, options = self.ppo, self.ppo.method_options()
        return generalized_advantages(
            macro_rewards(
                rewards.token_kl_rewards, rewards.scores, segmentation, reduction=options.macro_reward, gamma=ppo.gamma
            ),
            macro_values(rollout.token_values, segmentation, pooling=options.value_pooling),
            segmentation,
            gamma=ppo.gamma,
            gae_lambda=ppo.gae_lambda,
            lambda_per=options.lambda_per,
            end_values=rollout.end_values,
        )

    def loss(self, minibatch: Experience, outputs: TokenOutputs) -> LossTerms:
        """Returns the clipped losses of policy and critic."""
        ppo, options = self.ppo, self.ppo.method_options()
        parts = minibatch.segmentation
        weights = loss_weights(parts, options.loss_average, outputs.counts, dtype=outputs.token_log_probs.dtype)
        log_ratio = log_ratios(outputs.token_log_probs, minibatch.token_log_probs, parts, level=options.ratio_level)
        corrected = weights if minibatch.token_weights is None else weights * minibatch.token_weights
        policy, clipped = clipped_policy_loss(
            log_ratio, minibatch.token_advantages, corrected, clip_range=ppo.clip_range
        )
        if ppo.kl_in == "loss":
            penalty = kl_penalty(outputs.token_log_probs, minibatch.token_ref_log_probs, ppo.kl_estimator)
            policy = policy + outputs.kl_coef * (penalty * weights).sum()
        values, old_values = outputs.token_values, minibatch.token_values
        if options.critic_target == "macro":
            values, old_values = (
                to_tokens(macro_values(each, parts, pooling=options.value_pooling), parts.macro_ids)
                for each in (values, old_values)
            )
        critic = clipped_value_loss(
            values, old_values, minibatch.token_returns, weights, clip_range=options.value_clip_range
        )
        mask = minibatch.tokens.response_mask
        # k3 of new against old: never negative, and 0 on padding, where both log-probs are 0.
        moved = kl_penalty(minibatch.token_log_probs, outputs.token_log_probs.detach(), "k3")
        return LossTerms(policy, critic, {"clip_fraction": clipped[mask].sum(), "approximate_kl": moved[mask].sum()})


def build(context: PolicyContext) -> MacroPpo:
    """Returns macro PPO with the arm's rule.

    Raises:
        ConfigError: The arm has no rule.
    """
    if context.rule is None:
        raise ConfigError("macro_ppo: needs a termination rule, for example macro_ppo:fixed(n=5).")
    return MacroPpo(context.rule, context.ppo)


BASELINE = BaselineSpec(
    id="macro_ppo",
    version="1",
    summary="PPO with one advantage a macro action; the rule says where macro actions end",
    build=build,
    role="macro",
    default_rule="fixed(n=5)",
)
