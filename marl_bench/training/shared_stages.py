"""The stages that all arms and seeds share: SFT, reward model, and the scale of the scores."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from marl_bench.config import RunConfig
from marl_bench.errors import DataError, TrainingError
from marl_bench.interfaces import Task, TaskSpec
from marl_bench.models.actors import OWN_REWARD
from marl_bench.models.adapters import trained_model
from marl_bench.models.loading import (
    SCORE_OFFSET,
    load_policy,
    load_reward_model,
    load_sampling_tokenizer,
    load_tokenizer,
)
from marl_bench.models.out_of_memory import REWARD_MODEL, SFT, Halvings
from marl_bench.models.rewards import ClassifierReward, load_own_model, make_reward
from marl_bench.models.scoring import TokenValues
from marl_bench.models.vocabulary import give_rows
from marl_bench.records import PreferencePair
from marl_bench.reward_sources import parse_reward_sources, stage_names
from marl_bench.run_dir import (
    CHECKPOINTS,
    STAGE,
    RunDir,
    digest_of_folder,
    folder_written_atomically,
    write_json_atomically,
)
from marl_bench.training.checkpoint import Checkpoints
from marl_bench.training.data import PreparedData
from marl_bench.training.progress import Progress
from marl_bench.training.score_scale import (
    CALIBRATION_RESPONSES,
    Scoring,
    device_of_this_process,
    hold_out,
    pair_accuracy,
    score_scale,
    scores_of_texts,
)
from marl_bench.training.stages import Stage, check_same_data, finished_stage, finished_stages, reward_digest
from marl_bench.training.supervised import SupervisedRun, train_reward_model, train_sft
from marl_bench.world import ALONE, World

Trained = TypeVar("Trained")

HEAD_STD = 0.02
"""Spread of a new head's weights, as transformers draws them."""


@dataclasses.dataclass(frozen=True)
class SharedWork:
    """What the shared stages are made from.

    Attributes:
        run_dir: Files of the experiment.
        config: Its settings.
        spec: Spec of its task.
        task: The task.
        prepared: Its data.
        base_model: What SFT starts from.
        progress: Told of every step.
        config_hash: Hash of what is computed, for the checkpoints.
        world: The processes that train together.
        halvings: The sizes of micro-batches that fit into memory.
    """

    run_dir: RunDir
    config: RunConfig
    spec: TaskSpec
    task: Task
    prepared: PreparedData
    base_model: str
    progress: Progress
    config_hash: str
    world: World = ALONE
    halvings: Halvings = dataclasses.field(default_factory=Halvings)

    def trained(self, setting: str, run: SupervisedRun, train: Callable[[SupervisedRun], Trained]) -> Trained:
        """Returns what `train` gives, in halved micro-batches where memory runs out; one of several processes cannot begin again alone."""
        if self.world.size > 1:
            return train(run)
        size = run.settings.micro_batch_size
        return self.halvings.retried(setting, size, lambda fitting: train(run.with_micro_batch_size(fitting)))

    def scoring(self, tokenizer: Any) -> Scoring:
        """Returns what scores are measured with; `tokenizer` is that of the SFT model."""
        return Scoring(self.task, self.config, tokenizer, self.world, self.halvings)

    def checkpoints(self, stage: str, **digests: str) -> Checkpoints:
        """Returns the checkpoints of a stage, which know all that the stage stands on."""
        return Checkpoints(
            self.run_dir.shared(CHECKPOINTS) / stage,
            {"stage": stage, "configuration": self.config_hash, "data": self.prepared.digest, **digests},
            self.config.checkpoints,
            say=self.progress.note,
            world=self.world,
        )


def run_shared_stages(work: SharedWork) -> None:
    """Trains what is not there yet; a given model skips its stage and is only measured.

    Raises:
        DataError: The data have no pairs for the reward model, or have changed.
        TrainingError: A loss is not finite.
    """
    run_dir, config = work.run_dir, work.config
    names = stage_names(config.reward.sources, reward_kind=work.spec.reward_kind)

    def finished(name: str, given: str | None) -> Stage | None:
        # The others would see what the first process has just finished.
        return work.world.on_main(f"look for {name}", lambda: finished_stage(run_dir.shared(name), given))

    sft = finished("sft", config.sft.path) or _sft_stage(run_dir.shared("sft"), work)
    if "reward_model" in names and finished("reward_model", config.reward_model.path) is None:
        _reward_model_stage(run_dir.shared("reward_model"), work, sft)
    if "reward" in names and finished("reward", None) is None:
        _reward_stage(run_dir.shared("reward"), work, sft)
    stages = finished_stages(run_dir, config, work.spec)
    if stages is not None:
        check_same_data(stages, work.prepared)


def _sft_stage(folder: Path, work: SharedWork) -> Stage:
    config, prepared, checkpoints = work.config, work.prepared, work.checkpoints("sft")
    figures: dict[str, Any] = {"trained": config.sft.path is None}
    if config.sft.path is not None:
        where = Path(config.sft.path).expanduser()
        load_tokenizer(str(where))  # a folder without a usable tokenizer fails here, before any cell
    else:
        where = folder
        tokenizer = load_tokenizer(work.base_model, may_add_pad=True)

        def load(quantize: str) -> Any:
            return give_rows(load_policy(work.base_model, dtype=config.model.dtype, quantize=quantize), tokenizer)

        run = SupervisedRun(
            config.sft,
            config.sampling.max_response_tokens,
            config.data.seed,
            work.progress,
            checkpoints,
            gradient_checkpointing=config.memory.gradient_checkpointing,
            world=work.world,
        )
        model, learning = work.trained(
            SFT,
            run,
            lambda run: trained_model(
                load,
                config.lora,
                lambda model: train_sft(model, tokenizer, prepared.data.sft, run),
                seed=config.data.seed,
            ),
        )
        figures |= {"pairs": len(prepared.data.sft), **learning}
        if load_sampling_tokenizer(work.base_model).pad_token != tokenizer.pad_token:
            figures["pad_token"] = tokenizer.pad_token
            work.progress.note(f"model '{work.base_model}': has no pad token; takes '{tokenizer.pad_token}'.")
        work.world.on_main("save", lambda: _save(model, tokenizer, folder))
    return _recorded(folder, where, work, figures, checkpoints)


def _reward_model_stage(folder: Path, work: SharedWork, sft: Stage) -> Stage:
    config, device = work.config, device_of_this_process()
    checkpoints = work.checkpoints("reward_model", sft=sft.digest)
    tokenizer = load_tokenizer(str(sft.folder))
    training, held_out = hold_out(
        work.prepared.data.preferences, share=config.reward_model.held_out_share, seed=config.data.seed
    )
    where, given = folder, config.reward_model.path
    figures: dict[str, Any] = {"trained": given is None}
    if given is None:
        figures |= _trained_reward_model(folder, work, sft, checkpoints, training)
    else:
        where = Path(given).expanduser()
    model = load_own_model(where, tokenizer, dtype=config.model.dtype, device=device)
    if isinstance(model, ClassifierReward):
        figures["reads"] = "texts"
        work.progress.note(
            f"reward model '{given}': its vocabulary is not the policy's, so it reads texts, and critics start from the SFT model."
        )
    scoring = work.scoring(tokenizer)
    if held_out:
        figures |= {"pairs": len(held_out), "pair_accuracy": pair_accuracy(model, held_out, scoring)}
    own = make_reward(OWN_REWARD, reward_model=model, dtype=config.model.dtype, device=device, halvings=work.halvings)
    figures |= score_scale(own, sft.folder, work.prepared.data.rl_prompts, scoring, name="reward model")
    return _recorded(folder, where, work, figures, checkpoints)


def _trained_reward_model(
    folder: Path, work: SharedWork, sft: Stage, checkpoints: Checkpoints, training: Sequence[PreferencePair]
) -> dict[str, Any]:
    """Trains the reward model from the SFT model and writes it; returns figures."""
    config, data = work.config, work.prepared.data
    tokenizer = load_tokenizer(str(sft.folder))
    if not training:
        raise DataError(
            "reward model: the data have no preference pairs to train on; give a finished one with --reward-model."
        )

    def load(quantize: str) -> Any:
        pad = tokenizer.pad_token_id
        found = load_reward_model(str(sft.folder), dtype=config.model.dtype, pad_token_id=pad, quantize=quantize)
        # A zero head would leave the trunk without a gradient at first.
        new_head = torch.Generator().manual_seed(config.data.seed)
        torch.nn.init.normal_(found.score.weight, std=HEAD_STD, generator=new_head)
        return found

    run = SupervisedRun(
        config.reward_model,
        config.sampling.max_response_tokens,
        config.data.seed,
        work.progress,
        checkpoints,
        gradient_checkpointing=config.memory.gradient_checkpointing,
        world=work.world,
    )
    model, figures = work.trained(
        REWARD_MODEL,
        run,
        lambda run: trained_model(
            load,
            config.lora,
            lambda model: train_reward_model(model, tokenizer, training, run),
            seed=config.data.seed,
        ),
    )
    references = [(pair.prompt, pair.prompt.reference or pair.response) for pair in data.sft[:CALIBRATION_RESPONSES]]
    values = TokenValues(model.eval()).to(device_of_this_process())
    scores = scores_of_texts(values, references, work.scoring(tokenizer))
    setattr(model.config, SCORE_OFFSET, -float(scores.mean()))
    work.world.on_main("save", lambda: _save(model, tokenizer, folder))
    return {"training_pairs": len(training), **figures}


def _reward_stage(folder: Path, work: SharedWork, sft: Stage) -> Stage:
    """Measures the scale of a score that is not the task's own reward alone."""
    config, device, checkpoints = work.config, device_of_this_process(), work.checkpoints("reward")
    own = finished_stage(work.run_dir.shared("reward_model"), config.reward_model.path)
    tokenizer = load_tokenizer(str(sft.folder))
    model = None if own is None else load_own_model(own.folder, tokenizer, dtype=config.model.dtype, device=device)
    sources = parse_reward_sources(config.reward.sources)
    reward = make_reward(sources, reward_model=model, dtype=config.model.dtype, device=device, halvings=work.halvings)
    scale = score_scale(
        reward,
        sft.folder,
        work.prepared.data.rl_prompts,
        work.scoring(tokenizer),
        name="reward",
    )
    figures = {"sources": [source.name for source in sources], **scale}
    return _recorded(folder, folder, work, figures, checkpoints)


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    for name, weight in model.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            raise TrainingError(f"{folder.name}: {name} is not finite after training; lower its learning rate.")
    with folder_written_atomically(folder) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)


def _recorded(
    folder: Path, where: Path, work: SharedWork, figures: Mapping[str, Any], checkpoints: Checkpoints
) -> Stage:
    """Writes down in a stage's folder what it was, with the digest of what it stands for: a model in `where`, or the score."""

    def record() -> Stage:
        digest = reward_digest(work.config) if folder.name == "reward" else digest_of_folder(where)
        stage = Stage(where, digest, work.prepared.digest, figures)
        folder.mkdir(parents=True, exist_ok=True)
        content = {"digest": digest, "data_digest": stage.data_digest, "figures": dict(figures)}
        write_json_atomically(folder / STAGE, {**content, "seconds": checkpoints.seconds()})
        checkpoints.remove()
        with contextlib.suppress(OSError):  # another stage's are there
            checkpoints.folder.parent.rmdir()
        return stage

    return work.world.on_main("record", record)
