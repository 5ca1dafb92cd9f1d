"""A finished experiment, opened again: its settings, its cells, and the models that it left."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from pydantic import ValidationError

from marl_bench.config import RunConfig
from marl_bench.errors import RecordError, UnknownNameError
from marl_bench.interfaces import PolicyBaseline, PolicyContext, Task, TaskSpec, TerminationRule
from marl_bench.models.actors import Actors, load_actors, policy_source
from marl_bench.models.cpu_matmul import with_speed
from marl_bench.models.loading import load_reward_model, load_tokenizer
from marl_bench.models.memory import with_memory
from marl_bench.models.scoring import TokenValues
from marl_bench.planning import ArmPlan, Rule, build_rule, plan_arm, task_options
from marl_bench.plugins import Registry
from marl_bench.records import Cell, SftPair, TaskData
from marl_bench.reward_sources import parse_reward_sources
from marl_bench.run_dir import RunDir, read_cells, read_config
from marl_bench.training.data import prepare_data
from marl_bench.training.stages import SharedStages, finished_stages
from marl_bench.training.traces import Tracing

POLICY, CRITIC = "policy", "critic"


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """An experiment whose shared stages are finished.

    Attributes:
        run_dir: Its files.
        config: Its settings.
        registry: The plugins.
        spec: Its task's spec.
        task: Its task.
        stages: Its SFT model and reward model.
        cells: Its complete cells, sorted by arm and seed.
    """

    run_dir: RunDir
    config: RunConfig
    registry: Registry
    spec: TaskSpec
    task: Task
    stages: SharedStages
    cells: Sequence[Cell]

    def cell(self, arm: str | None) -> Cell:
        """Returns the complete cell of lowest seed of an arm, given by label or folder name; None takes the first macro arm,
        else one that has left its critic, else the first.

        Raises:
            UnknownNameError: No complete cell is of that arm.
        """
        if arm is None:
            macro = [cell for cell in self.cells if cell.record.arm["role"] == "macro"]
            with_critic = [cell for cell in self.cells if self.has_critic(cell)]
            return min(macro or with_critic or self.cells, key=lambda cell: cell.record.seed)
        for cell in self.cells:
            if arm in (cell.record.arm["name"], cell.record.arm["label"]):
                return cell
        labels = sorted({cell.record.arm["label"] for cell in self.cells})
        raise UnknownNameError(f"arm of {self.run_dir.root} with a complete cell", arm, labels)

    def arm(self, cell: Cell) -> ArmPlan:
        """Returns the arm of a cell as it is planned now."""
        return plan_arm(cell.record.arm["label"], self.config, self.registry)

    def folder(self, cell: Cell) -> Path:
        """Returns the folder of a cell."""
        return self.run_dir.cell(cell.record.arm["name"], cell.record.seed)

    def data(self) -> TaskData:
        """Returns the task's data, loaded again and fitted to the model."""
        return prepare_data(self.task, self.config, load_tokenizer(str(self.stages.sft.folder))).data

    def actors(self, cell: Cell) -> Actors:
        """Returns the models of a cell: its policy and critic if it has left them, else those that they start from.

        Raises:
            ModelError: A model cannot be loaded.
        """
        folder, dtype = self.folder(cell), self.config.model.dtype
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        sft = self.stages.sft.folder
        policy = folder / POLICY if (folder / POLICY).is_dir() else sft
        actors = load_actors(
            policy=policy_source(policy, sft=sft, lora=self.config.lora),
            sft=sft,
            reward_model=self.stages.reward_model.folder if self.stages.reward_model else None,
            dtype=dtype,
            critic_scale=self.stages.critic_scale(self.arm(cell).ppo(self.config)),
            device=device,
            rewards=parse_reward_sources(self.config.reward.sources),
        )
        if not self.has_critic(cell):
            return with_memory(with_speed(actors, self.config.speed), self.config.memory)
        pad = actors.tokenizer.pad_token_id
        critic = load_reward_model(str(folder / CRITIC), dtype=dtype, pad_token_id=pad)
        with_critic = dataclasses.replace(actors, critic=TokenValues(critic).to(device))
        return with_memory(with_speed(with_critic, self.config.speed), self.config.memory)

    def has_critic(self, cell: Cell) -> bool:
        """Returns True if the cell has left its critic."""
        return (self.folder(cell) / CRITIC).is_dir()

    def critic_name(self, cell: Cell) -> str:
        """Returns which critic `actors` gives, for notes."""
        if self.has_critic(cell):
            return "the cell's critic as it was at the end of training"
        return (
            "the reward model, from which critics start"
            if self.stages.reward_model
            else "a critic that is 0 everywhere"
        )

    def baseline(self, cell: Cell) -> PolicyBaseline | None:
        """Returns the baseline of a cell as its trainer used it, or None where the shared trainer did not train."""
        arm = self.arm(cell)
        spec = self.registry.baseline(arm.baseline)
        if spec.kind != "policy":
            return None
        rule = self.fitted([arm.rule])[0] if arm.rule is not None else None
        nominal = rule.nominal_length if rule is not None else None
        length = cell.record.arm.get("mean_macro_length") if nominal is None else nominal
        return spec.build(PolicyContext(arm.ppo(self.config), rule, length))  # type: ignore[return-value]  # kind says so

    def tracing(self, cell: Cell, actors: Actors) -> Tracing | None:
        """Returns what the advantages of a cell are computed with, or None where nothing was cut into macro actions.

        Args:
            cell: The cell.
            actors: Its models; their critic counts only if it is the cell's own.
        """
        baseline = self.baseline(cell)
        if baseline is None:
            return None
        own = "critic" in baseline.needs and self.has_critic(cell)
        return Tracing(
            baseline=baseline,
            actors=actors if own else dataclasses.replace(actors, critic=None),
            sampling=self.config.sampling,
            kl_coef=float(cell.curve[-1]["kl_coef"]) if cell.curve else baseline.ppo.kl_coef,
            score_std=self.stages.score_std,
            score=cell.record.task["primary_metric"],
        )

    def fitted(self, rules: Sequence[Rule]) -> list[TerminationRule]:
        """Returns the rules, fitted to the SFT data as in a cell; the data are read only if a rule looks at them."""

        def token_ids() -> Iterator[list[int]]:
            yield from _token_ids(self.data().sft, load_tokenizer(str(self.stages.sft.folder)))

        return [build_rule(rule, self.registry).fit(token_ids()) for rule in rules]


def open_run(root: Path, registry: Registry) -> FinishedRun:
    """Returns the experiment in a folder.

    Raises:
        RecordError: There is none, its settings are those of another version, or nothing in it is finished.
        UnknownNameError: Its task is not installed.
    """
    run_dir = RunDir(root)
    settings = read_config(run_dir)
    settings.pop("config_hash", None)
    try:
        config = RunConfig.model_validate(settings)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise RecordError(f"{run_dir.config}: {key}: {problem['msg']}; it was written by another version.") from error
    spec = registry.task(config.task)
    stages = finished_stages(run_dir, config, spec)
    cells = [cell for cell in read_cells(run_dir) if cell.record.status == "complete"]
    if stages is None or not cells:
        raise RecordError(f"{root}: no cell of the experiment is complete; finish it with marl-bench run first.")
    return FinishedRun(run_dir, config, registry, spec, spec.build(task_options(spec, config)), stages, cells)


def _token_ids(pairs: Sequence[SftPair], tokenizer: object) -> Iterator[list[int]]:
    for pair in pairs:
        yield tokenizer(pair.response, add_special_tokens=False)["input_ids"]  # type: ignore[operator]  # transformers is untyped
