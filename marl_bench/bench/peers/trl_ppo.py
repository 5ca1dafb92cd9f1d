"""TRL's last PPO trainer (`trl.experimental.ppo` of 1.12), unmodified, making one update at a time. Runs in the peer's interpreter."""

import importlib.metadata
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marl_bench.bench.peers.turns import Turns, run_worker

ENDLESS = 1_000_000
"""Updates that the trainer plans; it is stopped long before."""


def work(settings: Mapping[str, Any], turns: Turns) -> None:
    """Trains until told to stop."""
    from transformers import TrainerCallback

    class OneAtATime(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            turns.ready(versions={name: importlib.metadata.version(name) for name in ("trl", "transformers", "torch")})

        def on_step_end(self, *_: Any, **__: Any) -> None:
            turns.update_done(response_tokens=sum(tokens) - prompt_tokens)
            tokens.clear()

    tokens: list[int] = []

    def scored(_: Any, __: Any, inputs: Mapping[str, Any]) -> None:
        tokens.append(int(inputs["attention_mask"].sum()))

    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(settings, Path(folder), OneAtATime())
        turns.watch(
            policy=trainer.policy_model,
            reference=trainer.ref_model,
            critic=trainer.value_model,
            reward=trainer.reward_model,
        )
        trainer.reward_model.base_model.register_forward_pre_hook(scored, with_kwargs=True)
        prompt_tokens = sum(len(ids) for ids in trainer.train_dataset["input_ids"])
        trainer.train()


def make_trainer(settings: Mapping[str, Any], folder: Path, callback: Any) -> Any:
    """Returns the trainer with the settings of the case; everything that is only logging, saving or showing is off."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    models, micro_batch = Path(settings["models"]), settings["micro_batch"]
    tokenizer = AutoTokenizer.from_pretrained(models / "policy", padding_side="left")
    prompts = [tokenizer(text)["input_ids"] for text in settings["prompts"]]
    config = PPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=settings["batch"] // micro_batch,
        num_mini_batches=1,
        num_ppo_epochs=settings["ppo_epochs"],
        local_rollout_forward_batch_size=settings["rollout_batch"],
        total_episodes=ENDLESS * settings["batch"],
        response_length=settings["response_tokens"],
        stop_token="eos",
        temperature=settings["temperature"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type="constant",
        adam_beta1=0.9,
        adam_beta2=0.95,
        weight_decay=0.0,
        kl_coef=settings["kl_coef"],
        num_sample_generations=0,
        logging_steps=ENDLESS,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        seed=settings["seed"],
    )

    def classifier(name: str) -> Any:
        return AutoModelForSequenceClassification.from_pretrained(models / name, num_labels=1)

    return PPOTrainer(
        args=config,
        processing_class=tokenizer,
        model=AutoModelForCausalLM.from_pretrained(models / "policy"),
        ref_model=AutoModelForCausalLM.from_pretrained(models / "policy"),
        reward_model=classifier("reward_model"),
        value_model=classifier("reward_model"),
        train_dataset=Dataset.from_dict({"input_ids": prompts}),
        # Its loader for generations to look at is made even when none are asked for.
        eval_dataset=Dataset.from_dict({"input_ids": prompts[:1]}),
        callbacks=[callback],
    )


if __name__ == "__main__":
    run_worker(work, sys.argv[1:])
