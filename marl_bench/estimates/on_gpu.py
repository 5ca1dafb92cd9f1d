"""What a plan needs on GPUs of a name: whether it fits, what would make it fit, and how long it takes. No torch."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from marl_bench.config import RunConfig
from marl_bench.config_layers import with_overrides
from marl_bench.estimates.memory import Load, Memory, ppo_memory
from marl_bench.estimates.seconds import Machine, evaluation_seconds, ppo_seconds, stage_seconds
from marl_bench.estimates.sizes import Sizes


@dataclasses.dataclass(frozen=True)
class Advice:
    """A change that lowers the memory.

    Attributes:
        text: What to set.
        needed_gib: What a GPU needs then.
        fits: True if that is enough by itself.
    """

    text: str
    needed_gib: float
    fits: bool


@dataclasses.dataclass(frozen=True)
class GpuEstimate:
    """What the PPO stage needs on a machine, and the time of everything.

    Attributes:
        machine: The GPUs.
        memory: Of one GPU that holds everything.
        sharded: Of one GPU where weights, gradients and optimizer states are divided among all, as with memory.shard; None with one GPU, and
            where the settings do not let models be divided.
        advice: What would lower the memory, where it does not fit.
        update: Phase to seconds of one PPO update.
        stages: Shared stage to seconds, where its steps are known.
        evaluation: Seconds of one evaluation.
        total: Seconds of shared stages and all cells, one cell after the other; None where steps are not known.
        divided: True if the run divides its models among the GPUs.
    """

    machine: Machine
    memory: Memory
    sharded: Memory | None
    advice: tuple[Advice, ...]
    update: dict[str, float]
    stages: dict[str, float]
    evaluation: float
    total: float | None
    divided: bool = False

    @property
    def configured(self) -> Memory:
        """The memory of one GPU as configured."""
        return self.sharded if self.divided and self.sharded is not None else self.memory

    @property
    def fits(self) -> bool:
        """True if PPO runs on this machine as configured: data parallel, everything on each GPU or divided among them."""
        return self.configured.fits(self.machine.gpu)


def estimate_on(
    machine: Machine, load: Load, sizes: Sizes, *, updates: int | None, trained_cells: int, cells: int
) -> GpuEstimate:
    """Returns the estimate for a load: `cells` cells, of which the shared trainer runs `trained_cells`, of `updates` updates each."""
    memory = ppo_memory(load)
    sharded = ppo_memory(load, shards=machine.count) if machine.count > 1 and _can_be_divided(load.config) else None
    update, stages = ppo_seconds(load, machine), stage_seconds(load, machine, sizes)
    evaluation = evaluation_seconds(load, machine, prompts=_evaluation_prompts(load.config))
    wanted = ["sft"] * (load.config.sft.path is None)
    wanted += ["reward model"] * (load.reward_model and load.config.reward_model.path is None)
    total = None
    if updates is not None and set(wanted) <= set(stages):
        training = trained_cells * updates * sum(update.values())
        total = sum(stages.values()) + training + cells * evaluation
    divided = load.config.memory.shard
    estimate = GpuEstimate(machine, memory, sharded, (), update, stages, evaluation, total, divided)
    if estimate.fits:
        return estimate
    return dataclasses.replace(estimate, advice=tuple(_advice(load, machine)))


def _can_be_divided(config: RunConfig) -> bool:
    """Returns whether `memory.shard` goes together with what the memory is estimated from."""
    return config.lora.rank is None and not config.memory.offload


def _evaluation_prompts(config: RunConfig) -> int:
    return min(config.evaluation.max_prompts or 1000, config.data.limit or 1000)


def _advice(load: Load, machine: Machine) -> Iterator[Advice]:
    """Yields changes, each by itself, then those that change no result all together, then an adapter, then weights divided over more GPUs."""
    shards = machine.count if load.config.memory.shard else 1
    options = {text: changes for text, changes in _OPTIONS.items() if _changed(load, changes) != load}
    if shards > 1:
        options.pop("memory.offload=true", None)  # refused together
    least = now = ppo_memory(load, shards=shards).needed_gib
    for text, changes in options.items():
        advice = _advised(text, _changed(load, changes), machine, shards=shards)
        if advice.needed_gib < now:  # some other phase may need most
            least = min(least, advice.needed_gib)
            yield advice
    everything = {key: value for changes in options.values() for key, value in changes.items()}
    together = _advised("all of these", _changed(load, everything), machine, shards=shards)
    if together.needed_gib < least:
        yield together
    if load.adapter is None:
        adapters = {"lora.rank": 16, "memory.shard": False}
        yield _advised("lora.rank=16, which trains adapters only", _changed(load, adapters), machine)
    for count in (2, 4, 8, 16, 32, 64) if _can_be_divided(load.config) else ():
        advice = _advised(f"memory.shard=true over {count} GPUs", load, machine, shards=count)
        if advice.fits:
            yield advice
            return


_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "memory.gradient_checkpointing=true": {"memory.gradient_checkpointing": True},
    "memory.logits_chunk_tokens=256": {"memory.logits_chunk_tokens": 256},
    "ppo.micro_batch_size=1 and ppo.score_batch_size=1": {
        "ppo.micro_batch_size": 1,
        "ppo.score_batch_size": 1,
        "memory.micro_batch_tokens": None,
        "memory.score_batch_tokens": None,
    },
    "memory.offload=true": {"memory.offload": True},
}


def _changed(load: Load, changes: Mapping[str, Any]) -> Load:
    return dataclasses.replace(load, config=with_overrides(load.config, list(changes.items())))


def _advised(text: str, load: Load, machine: Machine, *, shards: int = 1) -> Advice:
    memory = ppo_memory(load, shards=shards)
    return Advice(text, memory.needed_gib, memory.fits(machine.gpu))
