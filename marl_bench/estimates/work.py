"""How much work a plan is, stage by stage, before anything runs. No torch."""

import dataclasses
import math

from marl_bench.config import RunConfig, SupervisedConfig
from marl_bench.planning import Plan

FLOPS_A_SECOND = 45e9
"""Rate of a small fp32 model on one core of a current server, attention and overhead included."""
SECONDS_TO_START = 15.0
"""Imports and data of a worker process."""
SAMPLING_OVERHEAD = 3.0
"""Sampling goes token by token, which costs about this much more than one pass over the same tokens."""


@dataclasses.dataclass(frozen=True)
class Work:
    """Work in forward passes of one token; times 2 x parameters it is floating-point operations.

    Attributes:
        stages: Stage name (`sft`, `reward model`, `ppo`) to the work of all its steps.
        evaluation: Work of one evaluation.
        trained_cells: Number of cells that run PPO.
        cells: Number of all cells.
    """

    stages: dict[str, float]
    evaluation: float
    trained_cells: int
    cells: int

    def shared(self) -> float:
        """Returns the work of the shared stages."""
        return self.stages["sft"] + self.stages["reward model"]

    def all_cells(self) -> float:
        """Returns the work of all cells."""
        return self.trained_cells * self.stages["ppo"] + self.cells * self.evaluation

    def seconds(self, *, parameters: int, jobs: int) -> float:
        """Returns the expected wall-clock time for models of that many parameters on one core a job."""
        operations = 2 * parameters * (self.shared() + self.all_cells() / min(jobs, self.cells))
        return SECONDS_TO_START + operations / FLOPS_A_SECOND


def work_of(plan: Plan, *, trained_cells: int) -> Work:
    """Returns the work of a plan; lengths are taken at their limits, so it is an upper bound for shorter texts."""
    config = plan.config
    prompt, response = config.sampling.max_prompt_tokens, config.sampling.max_response_tokens
    ppo = config.ppo
    updates = ppo.updates or 100
    batch = ppo.batch_size
    # A training pass is a forward and a backward of twice its cost; reference, critic and reward model are one forward each.
    update = batch * (SAMPLING_OVERHEAD * response + (3 + 2 * 3 * ppo.ppo_epochs) * (prompt + response))
    evaluated = min(config.evaluation.max_prompts or 1000, config.data.limit or math.inf)
    evaluated *= config.evaluation.samples_per_prompt
    return Work(
        stages={
            "sft": _supervised(config.sft, config, rows=1),
            "reward model": _supervised(config.reward_model, config, rows=2) if "reward_model" in plan.stages else 0.0,
            "ppo": updates * update,
        },
        evaluation=evaluated * (SAMPLING_OVERHEAD * response + 2 * (prompt + response)),
        trained_cells=trained_cells,
        cells=len(plan.cells()),
    )


def _supervised(settings: SupervisedConfig, config: RunConfig, *, rows: int) -> float:
    if settings.path is not None:
        return 0.0
    batch = min(settings.batch_size, config.data.limit or math.inf)
    steps = settings.max_steps or settings.epochs * 100
    return 3 * steps * batch * rows * (config.sampling.max_prompt_tokens + config.sampling.max_response_tokens)
