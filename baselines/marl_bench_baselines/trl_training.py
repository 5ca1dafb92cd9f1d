"""What the baselines have in common that TRL's own trainers train."""

import contextlib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from marl_bench.config import RunConfig
from marl_bench.errors import ConfigError
from marl_bench.interfaces import TrainContext
from marl_bench.models.loading import load_policy, load_tokenizer


def check_alone(config: RunConfig) -> None:
    """Checks before any work that one process trains all weights.

    Raises:
        ConfigError: An adapter is asked for, or several processes train together, which TRL would divide by rules of its own.
    """
    if config.lora.rank is not None:
        raise ConfigError(
            "lora.rank is set, but TRL's own trainer trains all weights here; leave the arm out, or run it without adapters."
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("TRL's own trainer runs in one process here; leave the arm out, or start without torchrun.")


def train_and_save(
    context: TrainContext,
    make_trainer: Callable[..., Any],
    rows: Sequence[Mapping[str, Any]],
    arguments: Callable[[str], Any],
) -> Path:
    """Trains the SFT model with a trainer of TRL and returns the folder of the policy.

    Args:
        context: What the cell gives.
        make_trainer: Class of the trainer, with what it takes beside model, arguments, data and tokenizer.
        rows: The training data.
        arguments: Makes the trainer's configuration from a folder for its scratch files.
    """
    from datasets import Dataset

    tokenizer = load_tokenizer(str(context.sft))
    policy = load_policy(str(context.sft), dtype=context.dtype)
    torch.manual_seed(context.seed)  # TRL samples with the global generator
    with _quiet(), tempfile.TemporaryDirectory() as scratch:
        trainer = make_trainer(
            model=policy,
            args=arguments(scratch),
            train_dataset=Dataset.from_list([dict(row) for row in rows]),
            processing_class=tokenizer,
            callbacks=[_steps(context)],
        )
        trainer.train()
    folder = context.cell / "policy"
    policy.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def common_arguments(context: TrainContext) -> dict[str, Any]:
    """Returns the settings of the shared trainer under the names of transformers' trainers."""
    ppo = context.ppo
    steps = context.updates * ppo.ppo_epochs * ppo.minibatches
    on_cpu = not torch.cuda.is_available()
    return {
        "max_steps": steps,
        "learning_rate": ppo.learning_rate,
        "lr_scheduler_type": ppo.schedule,
        "warmup_steps": int(ppo.warmup_ratio * steps),
        "weight_decay": ppo.weight_decay,
        "max_grad_norm": ppo.max_grad_norm,
        "adam_beta1": ppo.adam_betas[0],
        "adam_beta2": ppo.adam_betas[1],
        "seed": context.seed,
        "data_seed": context.seed,
        "use_cpu": on_cpu,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "dataloader_pin_memory": not on_cpu,
    }


def _steps(context: TrainContext) -> Any:
    from transformers import TrainerCallback

    class _Steps(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
        def on_log(
            self, _args: Any, state: Any, _control: Any, logs: Mapping[str, float] | None = None, **_: Any
        ) -> None:
            if logs and "loss" in logs:
                context.step(state.global_step, state.max_steps, {"loss": logs["loss"]})

    return _Steps()


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
