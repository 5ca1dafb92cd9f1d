"""Policy gradients without a critic: what the baselines that compare responses with each other share."""

import dataclasses
from collections.abc import Callable, Sequence

import torch

from marl_bench.batches import Advantages, Experience, LossTerms, Rollout, Segmentation, TokenOutputs, TokenRewards
from marl_bench.config import PpoConfig
from marl_bench.errors import ConfigError
from marl_bench.interfaces import TerminationRule
from marl_bench.macro.groups import spread_advantages
from marl_bench_baselines.macro_ppo import MacroPpo

Centred = Callable[[torch.Tensor, Sequence[int]], torch.Tensor]
"""Takes the returns of responses [B] and their groups [B], gives advantages [B]."""


@dataclasses.dataclass(frozen=True)
class CriticFree:
    """Each response's return, centred, is the advantage of its last macro action, and reaches the earlier ones times lambda each.

    Attributes:
        rule: Where macro actions end.
        ppo: Settings of the trainer.
        centred: What a return is held against.
        grouped: True if several responses to each prompt are sampled.
    """

    rule: TerminationRule
    ppo: PpoConfig
    centred: Centred
    grouped: bool

    @property
    def needs(self) -> frozenset[str]:
        """What the rollout must gather."""
        return self.rule.needs | ({"groups"} if self.grouped else frozenset())

    def segment(self, rollout: Rollout) -> Segmentation:
        """Returns the rule's macro actions."""
        return self.rule.segment(rollout)

    def advantages(self, rollout: Rollout, segmentation: Segmentation, rewards: TokenRewards) -> Advantages:
        """Returns the centred returns, spread over macro actions."""
        returns = rewards.scores + rewards.token_kl_rewards.sum(dim=1)
        groups = rollout.groups if rollout.groups is not None else range(len(returns))
        return spread_advantages(self.centred(returns, groups), segmentation, gae_lambda=self.ppo.gae_lambda)

    def loss(self, minibatch: Experience, outputs: TokenOutputs) -> LossTerms:
        """Returns the policy's loss as in macro PPO; there is no critic."""
        terms = MacroPpo(self.rule, self.ppo).loss(minibatch, outputs)
        return dataclasses.replace(terms, critic=torch.zeros_like(terms.critic))


def check_groups(ppo: PpoConfig, *, baseline: str) -> None:
    """Checks that a batch is a whole number of groups.

    Raises:
        ConfigError: It is not.
    """
    if ppo.batch_size % ppo.group_size:
        raise ConfigError(
            f"{baseline}: ppo.batch_size {ppo.batch_size} is no multiple of ppo.group_size {ppo.group_size}; change one of them."
        )
