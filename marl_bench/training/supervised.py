"""The supervised stages, SFT and reward model, through TRL's trainers with every setting explicit."""

import contextlib
import io
import logging
import math
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from marl_bench.config import SupervisedConfig
from marl_bench.errors import TrainingError
from marl_bench.models.prompts import encode_response
from marl_bench.records import PreferencePair, Prompt, SftPair
from marl_bench.training.progress import Progress, report_step


def train_sft(
    model: Any,
    tokenizer: Any,
    pairs: Sequence[SftPair],
    *,
    settings: SupervisedConfig,
    max_response_tokens: int,
    seed: int,
    progress: Progress,
) -> dict[str, float]:
    """Fine-tunes the model in place on the responses (the prompts carry no loss) and returns `steps`, `loss_first` and `loss_last`.

    Raises:
        TrainingError: The loss is not finite.
    """
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    examples = []
    for pair in pairs:
        prompt_ids = tokenizer(pair.prompt.text)["input_ids"]
        response_ids = encode_response(pair.response, tokenizer, max_response_tokens=max_response_tokens)
        examples.append({"input_ids": prompt_ids + response_ids, "labels": [-100] * len(prompt_ids) + response_ids})
    with _quiet(), tempfile.TemporaryDirectory() as scratch:
        config = SFTConfig(
            **_trainer_arguments(settings, len(examples), scratch, seed=seed, on_cpu=_on_cpu()),
            max_length=None,
            packing=False,
            dataset_kwargs={"skip_prepare_dataset": True},
        )
        trainer = SFTTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_list(examples),
            processing_class=tokenizer,
            callbacks=[_callback("sft", progress)],
        )
        trainer.train()
    return _losses(trainer.state.log_history, stage="sft")


def train_reward_model(
    model: Any,
    tokenizer: Any,
    pairs: Sequence[PreferencePair],
    *,
    settings: SupervisedConfig,
    max_response_tokens: int,
    seed: int,
    progress: Progress,
) -> dict[str, float]:
    """Trains a sequence classifier in place with the pairwise logistic loss at the last token; returns as `train_sft`.

    Raises:
        TrainingError: The loss is not finite.
    """
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    examples = []
    for pair in pairs:
        chosen, rejected = (
            pair_ids(pair.prompt, text, tokenizer, max_response_tokens=max_response_tokens)
            for text in (pair.chosen, pair.rejected)
        )
        examples.append({"chosen_ids": chosen, "rejected_ids": rejected})
    with _quiet(), tempfile.TemporaryDirectory() as scratch:
        config = RewardConfig(
            **_trainer_arguments(settings, len(examples), scratch, seed=seed, on_cpu=_on_cpu()),
            max_length=None,  # TRL drops over-long pairs; ours are within the limits already
            disable_dropout=True,
        )
        trainer = RewardTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_list(examples),
            processing_class=tokenizer,
            callbacks=[_callback("reward model", progress)],
        )
        trainer.train()
    return _losses(trainer.state.log_history, stage="reward model")


def pair_ids(prompt: Prompt, response: str, tokenizer: Any, *, max_response_tokens: int) -> list[int]:
    """Returns the ids of a prompt and its response as one row."""
    prompt_ids: list[int] = tokenizer(prompt.text)["input_ids"]
    return prompt_ids + encode_response(response, tokenizer, max_response_tokens=max_response_tokens)


def _trainer_arguments(
    settings: SupervisedConfig, examples: int, scratch: str, *, seed: int, on_cpu: bool
) -> dict[str, Any]:
    batch_size = min(settings.batch_size, examples)
    micro_batch_size = min(settings.micro_batch_size, batch_size)
    while batch_size % micro_batch_size:  # TRL knows whole micro-batches only
        micro_batch_size -= 1
    steps = settings.max_steps or max(1, round(settings.epochs * examples / batch_size))
    return {
        "output_dir": scratch,
        "max_steps": steps,
        "per_device_train_batch_size": micro_batch_size,
        "gradient_accumulation_steps": batch_size // micro_batch_size,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "warmup_steps": int(settings.warmup_ratio * steps),
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "adam_beta1": settings.adam_betas[0],
        "adam_beta2": settings.adam_betas[1],
        "seed": seed,
        "data_seed": seed,
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
                report_step(progress, stage, state.global_step, state.max_steps, loss=logs["loss"])

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
