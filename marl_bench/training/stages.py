"""Finished shared stages: what the cells stand on, and whether it is still what the experiment began with."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marl_bench.config import PpoConfig, RunConfig
from marl_bench.errors import DataError, ModelError, RecordError
from marl_bench.interfaces import TaskSpec
from marl_bench.plugins import callable_digest
from marl_bench.reward_sources import parse_reward_sources, stage_names
from marl_bench.run_dir import STAGE, RunDir, digest_of_folder, digest_of_json
from marl_bench.training.data import PreparedData


@dataclasses.dataclass(frozen=True)
class Stage:
    """A finished shared stage.

    Attributes:
        folder: `from_pretrained` folder of the model.
        digest: Digest of its files.
        data_digest: Digest of the data it was trained or measured on.
        figures: What the report shows of it.
    """

    folder: Path
    digest: str
    data_digest: str
    figures: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class SharedStages:
    """What the cells stand on.

    Attributes:
        sft: The SFT model.
        reward_model: The task's reward model, or None where the score has no use for one.
        reward: The scale of a score that is not the task's own reward alone; it has no model.
        own_weight: Weight of the task's own reward in the score.
    """

    sft: Stage
    reward_model: Stage | None = None
    reward: Stage | None = None
    own_weight: float = 1.0

    @property
    def score_std(self) -> float:
        """Spread of the scores over SFT samples; 1 for a task's rule reward, whose scale has a meaning of its own."""
        stage = self.reward or self.reward_model
        return 1.0 if stage is None else float(stage.figures["score_std"])

    def critic_scale(self, ppo: PpoConfig) -> float:
        """Returns what the reward model's scores are multiplied with to be in the unit that training uses."""
        return self.own_weight / (self.score_std if ppo.score_scale == "reference_std" else 1.0)


def finished_stages(run_dir: RunDir, config: RunConfig, spec: TaskSpec) -> SharedStages | None:
    """Returns the shared stages if all that the experiment needs are finished, else None.

    Raises:
        ModelError: A given model, classifier or reward file is not the one that the experiment began with.
    """
    given = {"sft": config.sft.path, "reward_model": config.reward_model.path}
    found = {
        name: finished_stage(run_dir.shared(name), given.get(name))
        for name in stage_names(config.reward.sources, reward_kind=spec.reward_kind)
    }
    stages = {name: stage for name, stage in found.items() if stage is not None}
    if len(stages) < len(found):
        return None
    if "reward" in stages and stages["reward"].digest != reward_digest(config):
        raise ModelError(
            "--reward: a classifier's folder or a Python file is not the one that this experiment began with; put that one back, or "
            "start anew with another --out."
        )
    own = [source.weight for source in parse_reward_sources(config.reward.sources) if source.kind == "task"]
    return SharedStages(**stages, own_weight=own[0] if own else 1.0)


def reward_digest(config: RunConfig) -> str:
    """Returns the digest of the sources of the score: their texts, and the content of local folders and Python files.

    Raises:
        ConfigError: A Python file is not there.
    """
    content = []
    for source in parse_reward_sources(config.reward.sources):
        folder = Path(source.target).expanduser()
        if source.kind == "classifier" and folder.is_dir():
            content.append([source.text, digest_of_folder(folder)])
        elif source.kind == "python":
            content.append([source.text, callable_digest(source.target, where=f"--reward {source.text}")])
        else:
            content.append([source.text, ""])
    return digest_of_json(content)


def check_same_data(stages: SharedStages, prepared: PreparedData) -> None:
    """Checks that the shared stages saw the data that the cells are about to use.

    Raises:
        DataError: The data have changed in between.
    """
    for stage in filter(None, (stages.sft, stages.reward_model, stages.reward)):
        if stage.data_digest != prepared.digest:
            raise DataError(
                f"{stage.folder.name}: was made with other data (digest {stage.data_digest[:12]}) than there are now ({prepared.digest[:12]}); "
                "the data changed under the experiment. Put them back, or start anew with another --out."
            )


def finished_stage(folder: Path, given: str | None) -> Stage | None:
    """Returns a stage if it is finished; `given` is the folder of a model that stands in for one trained here. Raises as `finished_stages`."""
    path = folder / STAGE
    if not path.exists():
        return None
    try:
        stage = json.loads(path.read_text(encoding="utf-8"))
        found = Stage(
            Path(given).expanduser() if given else folder, stage["digest"], stage["data_digest"], stage["figures"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(
            f"{path}: damaged ({type(error).__name__}: {error}); remove the folder {folder} and run again."
        ) from error
    if given and digest_of_folder(found.folder) != found.digest:
        raise ModelError(
            f"model '{given}': is not the one that this experiment began with (digest {found.digest[:12]}); "
            "put that one back, or start anew with another --out."
        )
    return found
