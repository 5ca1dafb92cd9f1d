"""How many rows and steps each stage has, before anything runs. No torch."""

import dataclasses

from marl_bench.config import RunConfig, SupervisedConfig
from marl_bench.interfaces import TaskSpec
from marl_bench.planning import task_options
from marl_bench.task_data import load_data


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Rows of each stage; None where they are not known without the data.

    Attributes:
        sft: Pairs for supervised fine-tuning.
        preferences: Pairs for the reward model.
        rl: Prompts of PPO.
        origin: Where the numbers come from.
    """

    sft: int | None = None
    preferences: int | None = None
    rl: int | None = None
    origin: str = "not known before the data are read"


def stage_sizes(spec: TaskSpec, config: RunConfig) -> Sizes:
    """Returns the rows of each stage: read from local data where a number of steps hangs on them, as published for the hub's.

    Raises:
        DataError: Local data cannot be read.
    """
    limit = config.data.limit
    if config.data.source == "hub":
        published = spec.hub_rows(task_options(spec, config))
        if published is None:
            return Sizes()
        about = (
            "as published" if config.data.split == "official" else "about as many as rows published, split by prompt"
        )
        return Sizes(*_limited((published.sft, published.preferences, published.rl), limit), about)
    if not _hang_on_the_data(config):
        return Sizes()
    data = load_data(spec.build(task_options(spec, config)), config)
    return Sizes(*_limited((len(data.sft), len(data.preferences), len(data.rl_prompts)), limit), "read from the data")


def supervised_steps(settings: SupervisedConfig, examples: int | None) -> int | None:
    """Returns the optimizer steps of a supervised stage, or None where they hang on data that are not there."""
    if not examples:
        return settings.max_steps
    return settings.planned_steps(examples)


def ppo_updates(config: RunConfig, sizes: Sizes) -> int | None:
    """Returns the number of PPO updates, or None where it hangs on data that are not there."""
    if config.ppo.updates is not None or sizes.rl is None:
        return config.ppo.updates
    return config.ppo.planned_updates(sizes.rl)


def warmup_warning(config: RunConfig, updates: int | None) -> str | None:
    """Returns what to say where the learning rate never reaches its height, or None."""
    warmup = config.ppo.warmup_updates
    if warmup is None or updates is None or warmup < updates:
        return None
    return (
        f"ppo.warmup_updates is {warmup} and there are {updates} updates: the learning rate never reaches its height; lower it, or set "
        "ppo.warmup_updates=null for ppo.warmup_ratio."
    )


def _hang_on_the_data(config: RunConfig) -> bool:
    stages = (config.sft, config.reward_model)
    return config.ppo.updates is None or any(stage.max_steps is None and stage.path is None for stage in stages)


def _limited(rows: tuple[int, int, int], limit: int | None) -> tuple[int, int, int]:
    if limit is None:
        return rows
    return (min(rows[0], limit), min(rows[1], limit), min(rows[2], limit))
