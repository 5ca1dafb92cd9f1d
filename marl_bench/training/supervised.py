"""The supervised stages, SFT and reward model, through TRL's trainers with every setting explicit."""

import contextlib
import dataclasses
import functools
import io
import logging
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from marl_bench.config import SupervisedConfig
from marl_bench.errors import TrainingError
from marl_bench.models.prompts import encode_response
from marl_bench.records import PreferencePair, Prompt, SftPair
from marl_bench.training.progress import Progress, report_step


@dataclasses.dataclass(frozen=True)
class SupervisedRun:
    """What both supervised stages need.

    Attributes:
        settings: Of the stage.
        max_response_tokens: Longer responses are cut and have no EOS.
        seed: Of the order of the examples.
        progress: Told of every step.
        gradient_checkpointing: Whether activations are computed again in the backward pass.
    """

    settings: SupervisedConfig
    max_response_tokens: int
    seed: int
    progress: Progress
    gradient_checkpointing: bool = False


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
    return _train(
        "sft", functools.partial(SFTTrainer, model=model, processing_class=tokenizer), configure, examples, run
    )


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
    make = functools.partial(RewardTrainer, model=model, processing_class=tokenizer)
    return _train("reward model", make, configure, examples, run)


def _train(
    stage: str,
    make_trainer: Callable[..., Any],
    configure: Callable[..., Any],
    examples: Sequence[Mapping[str, Any]],
    run: SupervisedRun,
) -> dict[str, float]:
    from datasets import Dataset

    with _quiet(), tempfile.TemporaryDirectory() as scratch:
        arguments = _trainer_arguments(run.settings, len(examples), scratch, seed=run.seed, on_cpu=_on_cpu())
        arguments["activation_checkpointing"] = run.gradient_checkpointing
        trainer = make_trainer(
            args=configure(**arguments),
            train_dataset=Dataset.from_list(list(examples)),
            callbacks=[_callback(stage, run.progress)],
        )
        trainer.train()
    return _losses(trainer.state.log_history, stage=stage)


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
