"""The models of a cell, loaded from the shared stages' folders."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from marl_bench.models.halving_sampler import HalvingSampler
from marl_bench.models.loading import (
    SCORE_OFFSET,
    check_same_vocabulary,
    load_policy,
    load_reward_model,
    load_tokenizer,
)
from marl_bench.models.out_of_memory import Halvings
from marl_bench.models.rewards import make_reward
from marl_bench.models.sampling import ModelSampler, Sampler
from marl_bench.models.scoring import TokenValues
from marl_bench.reward_sources import OWN, RewardSource
from marl_bench.score_parts import Reward


@dataclasses.dataclass(frozen=True)
class Actors:
    """All models of a cell.

    Attributes:
        tokenizer: Shared by all.
        policy: The policy that is trained or evaluated.
        reference: The SFT model, frozen.
        critic: A model of its own, or None for baselines without one.
        reward: What gives the scores.
        sampler: Samples from the policy as it stands.
        halvings: The sizes of micro-batches that fit into memory, known to all that these models do.
    """

    tokenizer: Any
    policy: Any
    reference: Any
    critic: TokenValues | None
    reward: Reward
    sampler: Sampler
    halvings: Halvings = dataclasses.field(default_factory=Halvings)


OWN_REWARD = (RewardSource(OWN, 1.0, "task", ""),)


def load_actors(
    *,
    policy: Path,
    sft: Path,
    reward_model: Path | None,
    dtype: str,
    critic_scale: float | None,
    device: torch.device,
    rewards: Sequence[RewardSource] = OWN_REWARD,
) -> Actors:
    """Loads the policy, the reference from the SFT folder, critic and reward model from the reward model's.

    Without a reward model the critic starts from the SFT trunk with a zero head.

    Args:
        policy: Folder of the policy.
        sft: Folder of the SFT model.
        reward_model: Folder of the reward model, or None for rule rewards.
        dtype: Of the weights.
        critic_scale: What the critic's first values are multiplied with, so that they are in the unit of the scores that training uses;
            None loads no critic.
        device: Where the models go.
        rewards: The parts of the score.
    """
    tokenizer = load_tokenizer(str(sft))
    pad = tokenizer.pad_token_id

    def head(folder: Path) -> TokenValues:
        return TokenValues(load_reward_model(str(folder), dtype=dtype, pad_token_id=pad)).to(device)

    if reward_model is not None:
        check_same_vocabulary(tokenizer, load_tokenizer(str(reward_model)), name=f"reward model '{reward_model}'")
    trained = load_policy(str(policy), dtype=dtype).to(device)
    halvings = Halvings()
    return Actors(
        tokenizer=tokenizer,
        policy=trained,
        reference=load_policy(str(sft), dtype=dtype).to(device).requires_grad_(False),
        critic=None if critic_scale is None else _scaled(head(reward_model or sft), critic_scale),
        reward=make_reward(
            rewards,
            reward_model=None if reward_model is None else head(reward_model).requires_grad_(False),
            dtype=dtype,
            device=device,
            halvings=halvings,
        ),
        sampler=HalvingSampler(ModelSampler(trained), halvings),
        halvings=halvings,
    )


def _scaled(critic: TokenValues, scale: float) -> TokenValues:
    with torch.no_grad():
        critic.classifier.score.weight.mul_(scale)
    config = critic.classifier.config
    setattr(config, SCORE_OFFSET, scale * getattr(config, SCORE_OFFSET, 0.0))
    return critic
