"""The models of a cell, loaded from the shared stages' folders."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from marl_bench.config import LoraConfig, MemoryConfig
from marl_bench.models.adapters import NewAdapter, base_quantization, critic_on, with_new_adapter, with_stored_adapter
from marl_bench.models.batch_sizes import BatchSize, batch_size
from marl_bench.models.forward import forward_plan
from marl_bench.models.halving_sampler import HalvingSampler
from marl_bench.models.loading import (
    ADAPTER,
    SCORE_OFFSET,
    base_of_adapter,
    load_policy,
    load_reward_model,
    load_tokenizer,
    shares_vocabulary,
)
from marl_bench.models.offload import Offload
from marl_bench.models.out_of_memory import Halvings
from marl_bench.models.rewards import load_text_reward, make_reward
from marl_bench.models.sampling import ModelSampler, Sampler
from marl_bench.models.scoring import TokenValues
from marl_bench.reward_sources import OWN, RewardSource
from marl_bench.score_parts import Reward
from marl_bench.world import ALONE, World


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
        memory: What is traded for memory; `models.memory.with_memory` sets it and does what it asks for.
        notes: Options that a model cannot do and what is done instead.
        offload: Moves models to the CPU while they are not used, or None.
        world: The processes that have the same models, each for its share of the rows.
    """

    tokenizer: Any
    policy: Any
    reference: Any
    critic: TokenValues | None
    reward: Reward
    sampler: Sampler
    halvings: Halvings = dataclasses.field(default_factory=Halvings)
    memory: MemoryConfig = dataclasses.field(default_factory=MemoryConfig)
    notes: Sequence[str] = ()
    offload: Offload | None = None

    def micro_batch(self, rows: int) -> BatchSize:
        """Returns the size of a training forward pass; `rows` is for those without a limit on tokens."""
        return batch_size(rows, self.memory.micro_batch_tokens, forward_plan(self.policy).rows)

    def score_batch(self, rows: int) -> BatchSize:
        """Returns the size of a forward pass without gradients."""
        return batch_size(rows, self.memory.score_batch_tokens, forward_plan(self.reference).rows)

    def sample_batch(self, rows: int) -> BatchSize:
        """Returns the size of a batch that is sampled at once."""
        return batch_size(rows, self.memory.sample_batch_tokens, "aligned")

    def rest(self) -> None:
        """Sends models that wait on the CPU back there."""
        if self.offload is not None:
            self.offload.rest()

    def trained(self) -> dict[str, Any]:
        """Returns the models that training changes, policy and critic if there is one, as transformers knows them."""
        critic = {} if self.critic is None else {"critic": self.critic.classifier}
        return {"policy": self.policy, **critic}

    world: World = ALONE


OWN_REWARD = (RewardSource(OWN, 1.0, "task", ""),)


def load_actors(
    *,
    policy: Path | NewAdapter,
    sft: Path,
    reward_model: Path | None,
    dtype: str,
    critic_scale: float | None,
    device: torch.device,
    rewards: Sequence[RewardSource] = OWN_REWARD,
) -> Actors:
    """Loads the policy, the reference from the SFT folder, critic and reward model from the reward model's.

    Without a reward model, or with one of another vocabulary, which reads texts, the critic starts from the SFT trunk with a zero head. With
    adapters, policy and reference stand on one base, and the critic stands on that of the reward model or of the policy.

    Args:
        policy: Folder of the policy, or a new adapter on the SFT model.
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

    def classifier(folder: Path, quantize: str = "none") -> Any:
        found = load_reward_model(str(folder), dtype=dtype, pad_token_id=pad, quantize=quantize)
        return found if quantize != "none" else found.to(device)

    on_texts = None
    if reward_model is not None and not shares_vocabulary(tokenizer, str(reward_model)):
        on_texts, reward_model = load_text_reward(reward_model, dtype=dtype, device=device), None
    trained, reference = _policy_and_reference(policy, sft, dtype=dtype, device=device)
    own = None if reward_model is None else classifier(reward_model).requires_grad_(False)
    critic = None
    if critic_scale is not None and isinstance(policy, NewAdapter):
        critic = critic_on(_critic_base(policy.lora, reward_model, own, reference, classifier), policy)
    elif critic_scale is not None:
        critic = classifier(reward_model or sft)
    halvings = Halvings()
    return Actors(
        tokenizer=tokenizer,
        policy=trained,
        reference=reference.requires_grad_(False),
        critic=None if critic is None or critic_scale is None else _scaled(TokenValues(critic), critic_scale),
        reward=make_reward(
            rewards,
            reward_model=on_texts if own is None else TokenValues(own),
            dtype=dtype,
            device=device,
            halvings=halvings,
        ),
        sampler=HalvingSampler(ModelSampler(trained), halvings),
        halvings=halvings,
    )


def policy_source(folder: Path, *, sft: Path, lora: LoraConfig) -> Path | NewAdapter:
    """Returns what `load_actors` takes for a policy: the SFT model of a run with adapters is one with an untrained adapter.

    So it is held as those that were trained are: on the tensors of the reference, in 4 bits where theirs were.
    """
    return NewAdapter(lora, 0) if lora.rank is not None and folder == sft else folder


def _policy_and_reference(policy: Path | NewAdapter, sft: Path, *, dtype: str, device: torch.device) -> tuple[Any, Any]:
    """Loads both, on one base where the policy is an adapter on the SFT model."""
    quantize: str
    if isinstance(policy, NewAdapter):
        quantize = policy.lora.quantize
    elif _stands_on(policy, sft):
        quantize = base_quantization(policy)
    else:
        reference = load_policy(str(sft), dtype=dtype).to(device)
        return load_policy(str(policy), dtype=dtype).to(device), reference
    reference = load_policy(str(sft), dtype=dtype, quantize=quantize)
    if quantize == "none":
        reference = reference.to(device)
    if isinstance(policy, NewAdapter):
        return with_new_adapter(reference, policy), reference
    return with_stored_adapter(reference, policy), reference


def _stands_on(policy: Path, sft: Path) -> bool:
    """Returns whether a policy's folder holds an adapter on the SFT model."""
    adapter = (Path(policy) / ADAPTER).is_file()
    return adapter and Path(base_of_adapter(str(policy))).resolve() == Path(sft).resolve()


def _critic_base(
    lora: LoraConfig, reward_model: Path | None, own: Any, reference: Any, load: Callable[..., Any]
) -> Any:
    """Returns the frozen model that the critic's adapter stands on.

    A reward model in 4 bits would give other scores than those it was measured with, so it keeps its precision and the critic gets a base of
    its own.
    """
    if reward_model is None or lora.share_base:
        return reference
    return own if lora.quantize == "none" else load(reward_model, lora.quantize)


def _scaled(critic: TokenValues, scale: float) -> TokenValues:
    with torch.no_grad():
        critic.classifier.score.weight.mul_(scale)
    config = critic.classifier.config
    setattr(config, SCORE_OFFSET, scale * getattr(config, SCORE_OFFSET, 0.0))
    return critic
