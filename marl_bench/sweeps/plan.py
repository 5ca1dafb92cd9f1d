"""What a sweep samples: policies of a finished run, prompts, settings, and where the samples are kept."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from marl_bench.config import RunConfig
from marl_bench.errors import ConfigError, DataError, RecordError, UnknownNameError
from marl_bench.finished_run import POLICY
from marl_bench.interfaces import Metric
from marl_bench.metrics.repetition import repetition
from marl_bench.models.actors import Actors, load_actors, policy_source
from marl_bench.models.memory import with_memory
from marl_bench.models.responses import log_prob_temperature
from marl_bench.planning import configuration_hash
from marl_bench.plugins import Registry
from marl_bench.records import Cell, Prompt
from marl_bench.reevaluation import Evaluation, cells_of, plan_evaluation
from marl_bench.reporting.comparison import ROLES
from marl_bench.reward_sources import parse_reward_sources
from marl_bench.run_dir import RunDir, digest_of_folder, digest_of_json

SAMPLING = "sampling"
"""Folder of the samples, in that of the run."""

_OWN_SETTINGS = {
    "evaluation.samples_per_prompt": "give the number of samples by the command's own option",
    "evaluation.max_prompts": "use --prompts",
}


@dataclasses.dataclass(frozen=True)
class Policy:
    """One policy that is sampled.

    Attributes:
        arm: Folder name of its arm.
        label: What a user types and reads.
        role: Role of its arm.
        seed: Seed of its cell.
        folder: Where its weights are.
        is_reference: True for the SFT model itself.
    """

    arm: str
    label: str
    role: str
    seed: int
    folder: Path
    is_reference: bool


@dataclasses.dataclass(frozen=True)
class SweepPlan:
    """What a sweep needs.

    Attributes:
        evaluation: The run with the sweep's settings, its task and data.
        policies: In the order of roles, arms and seeds.
        prompts: Held-out prompts.
        metrics: Metrics of every sample.
        out: Folder of the samples.
        config_hash: Hash of what decides over a sample, the temperature aside.
    """

    evaluation: Evaluation
    policies: Sequence[Policy]
    prompts: Sequence[Prompt]
    metrics: Sequence[Metric]
    out: RunDir
    config_hash: str

    @property
    def config(self) -> RunConfig:
        """Settings with the changes."""
        return self.evaluation.config

    @property
    def lasting_config(self) -> RunConfig:
        """Settings of the folder of the samples: those that do not differ between sweeps which share them."""
        return _lasting(self.config)

    @property
    def root(self) -> Path:
        """Folder of the run."""
        return self.evaluation.run.run_dir.root

    @property
    def score(self) -> str:
        """Name of the metric that training raises."""
        return str(self.evaluation.run.cells[0].record.task["primary_metric"])

    @property
    def reference_temperature(self) -> float:
        """Temperature of the SFT model from which KL is measured: that of the run's own log-probs."""
        return log_prob_temperature(self.config.sampling)

    @property
    def seeds(self) -> list[int]:
        """Seeds of the policies, sorted."""
        return sorted({policy.seed for policy in self.policies})

    def actors(self, policy: Policy) -> Actors:
        """Returns the models that sample and score one policy; raises `ModelError` if one cannot be loaded."""
        run = self.evaluation.run
        actors = load_actors(
            policy=policy_source(policy.folder, sft=run.stages.sft.folder, lora=run.config.lora),
            sft=run.stages.sft.folder,
            reward_model=run.stages.reward_model.folder if run.stages.reward_model else None,
            dtype=self.config.model.dtype,
            critic_scale=None,
            device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
            rewards=parse_reward_sources(self.config.reward.sources),
        )
        return with_memory(actors, self.config.memory)


@dataclasses.dataclass(frozen=True)
class SweepRequest:
    """What a user asks for.

    Attributes:
        root: Folder of the run.
        arms: Labels or folder names; empty takes SFT and every other arm.
        seeds: Seeds; empty takes all that are complete.
        prompts: At most so many held-out prompts; None takes as many as the run's evaluation.
        overrides: Dotted keys with their values.
    """

    root: Path
    arms: Sequence[str] = ()
    seeds: Sequence[int] = ()
    prompts: int | None = None
    overrides: Sequence[tuple[str, Any]] = ()


def plan_sweep(request: SweepRequest, registry: Registry) -> SweepPlan:
    """Opens a run and finds out what is to be sampled.

    Raises:
        RecordError: The run has no complete cell, or a policy is not there any more.
        UnknownNameError: An arm has no complete cell.
        ConfigError: A setting belongs to the training or to an option of the command, or a seed is not there.
        DataError: There are no prompts.
    """
    for key, _ in request.overrides:
        if key in _OWN_SETTINGS:
            raise ConfigError(f"--set {key}: is not used here; {_OWN_SETTINGS[key]}.")
    planned = plan_evaluation(request.root, request.overrides, registry, name=None)
    count = request.prompts or planned.config.evaluation.max_prompts
    prompts = planned.prepared.data.eval_prompts[:count]
    if not prompts:
        raise DataError("the task has no held-out prompts (data.limit and data.overlong_prompts may have left none).")
    metrics = list(planned.metrics)
    if not any("repetition" in metric.names for metric in metrics):
        metrics.append(repetition())
    config_hash = _hash(planned)
    out = RunDir(request.root / SAMPLING / config_hash[:8])
    return SweepPlan(planned, policies_of(planned, request), prompts, metrics, out, config_hash)


def policy_digest(policy: Policy) -> str:
    """Returns the digest of a policy's folder."""
    return digest_of_folder(policy.folder)


def _hash(planned: Evaluation) -> str:
    """Returns the hash of all that a sample depends on beside policy, prompt, temperature and sample index."""
    own = configuration_hash(_lasting(planned.config), planned.run.spec, planned.run.registry)
    run = planned.run.cells[0].record.config_hash
    return digest_of_json({"run": run, "sampling": own, "data": planned.prepared.digest})


def _lasting(config: RunConfig) -> RunConfig:
    """Returns the settings without those that differ between sweeps which share their samples."""
    neutral = {"temperature": None, "samples_per_prompt": 1, "max_prompts": None}
    return config.model_copy(update={"evaluation": config.evaluation.model_copy(update=neutral)})


def policies_of(planned: Evaluation, request: SweepRequest) -> list[Policy]:
    """Returns the policies of the arms and seeds that are asked for; raises as `plan_sweep`."""
    run = planned.run
    given = [arm for arm in request.arms if not _names_the_start(run.cells, arm)]
    cells = cells_of(run, given) if given or not request.arms else []
    if not request.arms:
        cells = [cell for cell in cells if not _best_of(cell)]
    known = {cell.record.seed for cell in run.cells}
    missing = sorted(set(request.seeds) - known)
    if missing:
        raise ConfigError(
            f"--seeds {','.join(map(str, request.seeds))}: seed {missing[0]} has no complete cell; "
            f"there are {', '.join(map(str, sorted(known)))}."
        )
    cells = [cell for cell in cells if not request.seeds or cell.record.seed in request.seeds]
    found = [_policy(planned, cell) for cell in cells]
    if len(given) < max(1, len(request.arms)) and not any(policy.is_reference for policy in found):
        seed = min(request.seeds, default=min(known))
        found.append(Policy("sft", "sft", "start", seed, run.stages.sft.folder, is_reference=True))
    if not found:
        raise UnknownNameError("arm with a complete cell of these seeds", ", ".join(request.arms), [])
    # Every seed of an arm without training has the same policy: one is enough.
    first = min((policy.seed for policy in found if policy.is_reference), default=0)
    found = [policy for policy in found if not policy.is_reference or policy.seed == first]
    return sorted(found, key=lambda policy: (ROLES.index(policy.role), policy.arm, policy.seed))


def _names_the_start(cells: Sequence[Cell], arm: str) -> bool:
    """Returns True for `sft` where no arm of the run is called so: its model is there all the same."""
    return arm == "sft" and not any(arm in (cell.record.arm["name"], cell.record.arm["label"]) for cell in cells)


def _best_of(cell: Cell) -> bool:
    """Returns True for an arm that only chooses among responses of the SFT model."""
    return int(cell.record.arm.get("best_of", 1)) > 1


def _policy(planned: Evaluation, cell: Cell) -> Policy:
    run, arm = planned.run, cell.record.arm
    folder = run.folder(cell) / POLICY
    is_start = arm["role"] == "start"
    if _best_of(cell):
        raise ConfigError(
            f"--arm {arm['label']}: has no policy of its own, it chooses among responses of the SFT model; take --arm sft, or leave it out."
        )
    if not is_start and not folder.is_dir():
        raise RecordError(
            f"{folder}: the policy of {arm['label']}, seed {cell.record.seed}, is not there any more; "
            "take other arms with --arm, or remove the cell's folder and run again."
        )
    return Policy(
        str(arm["name"]),
        str(arm["label"]),
        str(arm["role"]),
        cell.record.seed,
        run.stages.sft.folder if is_start else folder,
        is_reference=is_start,
    )
