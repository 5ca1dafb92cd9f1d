"""The supervised stages, SFT and reward model, through TRL's trainers with every setting explicit."""

import contextlib
import dataclasses
import functools
import io
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from marl_bench.config import SupervisedConfig
from marl_bench.errors import ConfigError, Interrupted, TrainingError
from marl_bench.models.prompts import encode_response
from marl_bench.records import PreferencePair, Prompt, SftPair
from marl_bench.training.checkpoint import Checkpoints
from marl_bench.training.progress import Progress
from marl_bench.training.supervised_resume import Begun, begun, saving_callback, scratch, write_ended
from marl_bench.world import ALONE, World


@dataclasses.dataclass(frozen=True)
class SupervisedRun:
    """What both supervised stages need.

    Attributes:
        settings: Of the stage.
        max_response_tokens: Longer responses are cut and have no EOS.
        seed: Of the order of the examples.
        progress: Told of every step.
        checkpoints: Of the stage; None keeps none.
        gradient_checkpointing: Whether activations are computed again in the backward pass.
        world: The processes that train together, each on its share of every batch.
    """

    settings: SupervisedConfig
    max_response_tokens: int
    seed: int
    progress: Progress
    checkpoints: Checkpoints | None = None
    gradient_checkpointing: bool = False
    world: World = ALONE

    def with_micro_batch_size(self, size: int) -> "SupervisedRun":
        """Returns the same run in micro-batches of at most `size`; the batch stays."""
        return dataclasses.replace(self, settings=self.settings.model_copy(update={"micro_batch_size": size}))


def train_sft(model: Any, tokenizer: Any, pairs: Sequence[SftPair], run: SupervisedRun) -> dict[str, float]:
    """Fine-tunes the model in place on the responses (the prompts carry no loss) and returns `steps`, `loss_first` and `loss_last`.

    Raises:
        TrainingError: The loss is not finite.
    """
    from trl import SFTConfig, SFTTrainer

    examples = []
    for pair in pairs:
        prompt_ids = tokenizer(pair.prompt.text)["input_ids"]
        response_ids = encode_response(pair.response, tokenizer, max_response_tokens=run.max_response_tokens)
        examples.append({"input_ids": prompt_ids + response_ids, "labels": [-100] * len(prompt_ids) + response_ids})
    configure = functools.partial(
        SFTConfig, max_length=None, packing=False, dataset_kwargs={"skip_prepare_dataset": True}
    )
    make = functools.partial(SFTTrainer, processing_class=tokenizer)
    return _train("sft", model, functools.partial(_trained, make, configure, examples), run)


def train_reward_model(
    model: Any, tokenizer: Any, pairs: Sequence[PreferencePair], run: SupervisedRun
) -> dict[str, float]:
    """Trains a sequence classifier in place with the pairwise logistic loss at the last token; returns and raises as `train_sft`."""
    from trl import RewardConfig, RewardTrainer

    examples = []
    for pair in pairs:
        chosen, rejected = (
            pair_ids(pair.prompt, text, tokenizer, max_response_tokens=run.max_response_tokens)
            for text in (pair.chosen, pair.rejected)
        )
        examples.append({"chosen_ids": chosen, "rejected_ids": rejected})
    # TRL drops over-long pairs; ours are within the limits already.
    configure = functools.partial(RewardConfig, max_length=None, disable_dropout=True)
    make = functools.partial(RewardTrainer, processing_class=tokenizer)
    return _train("reward model", model, functools.partial(_trained, make, configure, examples), run)


def _train(stage: str, model: Any, trained: Callable[..., Any], run: SupervisedRun) -> dict[str, float]:
    """Trains the model, or the rest of it, and returns the losses."""
    store = run.checkpoints
    before = Begun() if store is None else begun(store, model)
    if before.steps:
        run.progress.resumed(stage, before.steps, before.total)
    history = before.history
    if history is None:
        history = trained(stage, model, before, run)
        if store is not None:
            write_ended(store, model, history)
    if run.progress.stop_requested():
        raise Interrupted("stopped; the same command again goes on from here.")
    return _losses(history, stage=stage)


def _trained(
    make_trainer: Callable[..., Any],
    configure: Callable[..., Any],
    examples: Sequence[Mapping[str, Any]],
    stage: str,
    model: Any,
    before: Begun,
    run: SupervisedRun,
) -> list[Mapping[str, float]]:
    """Lets TRL's trainer train and returns its log."""
    from datasets import Dataset

    store = run.checkpoints
    callbacks = [_callback(stage, run.progress)]
    if store is not None:
        callbacks.append(saving_callback(store, run.progress.stop_requested))
    with _quiet(), scratch(store) as folder:
        arguments = _trainer_arguments(stage, run, len(examples), str(folder), on_cpu=_on_cpu())
        arguments["activation_checkpointing"] = run.gradient_checkpointing
        trainer = make_trainer(
            model=model,
            args=configure(**arguments),
            train_dataset=Dataset.from_list(list(examples)),
            callbacks=callbacks,
        )
        with run.world.in_lockstep():
            trainer.train(resume_from_checkpoint=None if before.folder is None else str(before.folder))
    history: list[Mapping[str, float]] = trainer.state.log_history
    return history


def pair_ids(prompt: Prompt, response: str, tokenizer: Any, *, max_response_tokens: int) -> list[int]:
    """Returns the ids of a prompt and its response as one row."""
    prompt_ids: list[int] = tokenizer(prompt.text)["input_ids"]
    return prompt_ids + encode_response(response, tokenizer, max_response_tokens=max_response_tokens)


def _trainer_arguments(stage: str, run: SupervisedRun, examples: int, scratch: str, *, on_cpu: bool) -> dict[str, Any]:
    settings, processes = run.settings, run.world.size
    batch_size = min(settings.batch_size, examples)
    if batch_size % processes:
        raise ConfigError(
            f"{stage}: its {examples} examples make batches of {batch_size}, which {processes} processes cannot divide; "
            f"set its batch_size to {max(batch_size // processes, 1) * processes}, or start fewer processes."
        )
    own_rows = batch_size // processes
    micro_batch_size = min(settings.micro_batch_size, own_rows)
    while own_rows % micro_batch_size:  # TRL knows whole micro-batches only
        micro_batch_size -= 1
    steps = settings.planned_steps(examples)
    return {
        "output_dir": scratch,
        "max_steps": steps,
        "per_device_train_batch_size": micro_batch_size,
        "gradient_accumulation_steps": own_rows // micro_batch_size,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "warmup_steps": int(settings.warmup_ratio * steps),
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "adam_beta1": settings.adam_betas[0],
        "adam_beta2": settings.adam_betas[1],
        "seed": run.seed,
        "data_seed": run.seed,
        "use_cpu": on_cpu,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would show the last finite loss in place of NaN
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": not on_cpu,
        "dataloader_drop_last": True,
    }


def _on_cpu() -> bool:
    return not torch.cuda.is_available()


def _callback(stage: str, progress: Progress) -> Any:
    from transformers import TrainerCallback

    class _Steps(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
        def on_log(
            self, _args: Any, state: Any, _control: Any, logs: Mapping[str, float] | None = None, **_: Any
        ) -> None:
            if logs and "loss" in logs:
                if not math.isfinite(logs["loss"]):
                    raise TrainingError(
                        f"{stage}, step {state.global_step}: the loss is {logs['loss']}; lower its learning rate."
                    )
                # Stopping is up to the callback that saves, or to the end.
                progress.step(stage, state.global_step, state.max_steps, loss=logs["loss"])

    return _Steps()


def _losses(history: Sequence[Mapping[str, float]], *, stage: str) -> dict[str, float]:
    losses = [entry["loss"] for entry in history if "loss" in entry]
    if not losses or not all(math.isfinite(loss) for loss in losses):
        raise TrainingError(f"{stage}: the loss is not finite; lower its learning rate.")
    return {"steps": len(losses), "loss_first": losses[0], "loss_last": sum(losses[-5:]) / len(losses[-5:])}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences what the trainers print; our progress says the same."""
    loggers = [logging.getLogger(name) for name in ("transformers", "trl", "accelerate", "datasets")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
