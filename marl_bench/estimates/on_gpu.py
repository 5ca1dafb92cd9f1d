"""What a plan needs on GPUs of a name: whether it fits, what would make it fit, and how long it takes. No torch."""

import dataclasses
from collections.abc import Iterator

from marl_bench.config import RunConfig
from marl_bench.estimates.memory import GIB, Load, Memory, ppo_memory
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
        sharded: Of one GPU where weights, gradients and optimizer states are divided among all; None with one GPU.
        advice: What would lower the memory, where it does not fit.
        update: Phase to seconds of one PPO update.
        stages: Shared stage to seconds, where its steps are known.
        evaluation: Seconds of one evaluation.
        total: Seconds of shared stages and all cells, one cell after the other; None where steps are not known.
    """

    machine: Machine
    memory: Memory
    sharded: Memory | None
    advice: tuple[Advice, ...]
    update: dict[str, float]
    stages: dict[str, float]
    evaluation: float
    total: float | None

    @property
    def fits(self) -> bool:
        """True if it runs in some way on this machine as configured."""
        return any(memory.fits(self.machine.gpu) for memory in (self.memory, self.sharded) if memory is not None)


def estimate_on(
    machine: Machine, load: Load, sizes: Sizes, *, updates: int | None, trained_cells: int, cells: int
) -> GpuEstimate:
    """Returns the estimate for a load: `cells` cells, of which the shared trainer runs `trained_cells`, of `updates` updates each."""
    memory = ppo_memory(load)
    sharded = ppo_memory(load, shards=machine.count) if machine.count > 1 else None
    update, stages = ppo_seconds(load, machine), stage_seconds(load, machine, sizes)
    evaluation = evaluation_seconds(load, machine, prompts=_evaluation_prompts(load.config))
    wanted = ["sft"] * (load.config.sft.path is None)
    wanted += ["reward model"] * (load.reward_model and load.config.reward_model.path is None)
    total = None
    if updates is not None and set(wanted) <= set(stages):
        training = trained_cells * updates * sum(update.values())
        total = sum(stages.values()) + training + cells * evaluation
    estimate = GpuEstimate(machine, memory, sharded, (), update, stages, evaluation, total)
    if estimate.fits:
        return estimate
    return dataclasses.replace(estimate, advice=tuple(_advice(load, machine)))


def _evaluation_prompts(config: RunConfig) -> int:
    return min(config.evaluation.max_prompts or 1000, config.data.limit or 1000)


def _advice(load: Load, machine: Machine) -> Iterator[Advice]:
    """Yields changes, each by itself, then all of them that change no result together, then more GPUs."""
    config = load.config
    one_row = {"micro_batch_size": 1, "score_batch_size": 1}
    free: dict[str, RunConfig] = {}
    if not config.memory.gradient_checkpointing:
        memory = config.memory.model_copy(update={"gradient_checkpointing": True})
        free["memory.gradient_checkpointing=true"] = config.model_copy(update={"memory": memory})
    if load.micro_batch > 1 or config.ppo.score_batch_size > 1:
        smaller = config.ppo.model_copy(update=one_row)
        budget = config.memory.model_copy(update={"micro_batch_tokens": None})
        free["ppo.micro_batch_size=1 and ppo.score_batch_size=1"] = config.model_copy(
            update={"ppo": smaller, "memory": budget}
        )
    if config.model.dtype == "float32":
        narrow = config.model.model_copy(update={"dtype": "bfloat16"})
        free["model.dtype=bfloat16"] = config.model_copy(update={"model": narrow})
    for text, changed in free.items():
        yield _advised(text, dataclasses.replace(load, config=changed), machine, shards=machine.count)
    count = 2 * machine.count
    while count <= 64:
        advice = _advised(f"FSDP or ZeRO-3 over {count} such GPUs", load, machine, shards=count)
        if advice.fits or count == 64:
            yield advice
            return
        count *= 2


def _advised(text: str, load: Load, machine: Machine, *, shards: int) -> Advice:
    memory = ppo_memory(load, shards=shards)
    return Advice(text, memory.needed_gib, memory.fits(machine.gpu))


def gib(count: float) -> str:
    """Returns bytes as GiB with one decimal."""
    return f"{count / GIB:.1f} GiB"
