"""The run configuration: typed and strict. No torch."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """A frozen part of the configuration that refuses unknown keys and wrong types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataConfig(Section):
    """Where a task's data come from and how much of it is used."""

    source: str = Field("embedded", description="embedded, hub, or the path of a local folder with the hub's schema")
    revision: str | None = Field(None, description="hub revision; null takes the one that the task pins")
    split: Literal["prompt", "official"] = Field("prompt", description="by prompt (no leaks), or by row as published")
    seed: int = Field(0, description="seed of the embedded generator and of the split")
    limit: int | None = Field(None, ge=1, description="at most this many items of each stage and the evaluation")
    chat_template: Literal["auto", "off"] = Field("auto", description="use the tokenizer's chat template if it has one")
    overlong_prompts: Literal["cut", "drop"] = Field("cut", description="what happens to prompts over the token limit")


class ModelConfig(Section):
    """The base model that SFT starts from."""

    path: str = Field("tiny", description="tiny (shipped), a hub id, or the path of a from_pretrained folder")
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="weights and activations; log-probs accumulate in fp32"
    )


class SamplingConfig(Section):
    """How responses are sampled, in training and in evaluation."""

    max_prompt_tokens: int = Field(160, ge=4, description="longer prompts are cut or dropped")
    max_response_tokens: int = Field(128, ge=1, description="responses are cut there")
    temperature: float = Field(1.0, gt=0, description="log-probs are those of the tempered distribution")
    top_k: int | None = Field(None, ge=1, description="sample among the k most probable tokens")
    top_p: float = Field(1.0, gt=0, le=1, description="sample among the most probable tokens that hold this mass")
    logprobs: Literal["sampled", "full"] = Field(
        "sampled", description="log-probs at the sampling temperature, or at 1 as the released code"
    )


class SupervisedConfig(Section):
    """One supervised stage, trained by TRL."""

    path: str | None = Field(None, description="a finished model instead of training one")
    epochs: float = Field(1.0, gt=0, description="passes over the stage's data when max_steps is null")
    max_steps: int | None = Field(None, ge=1, description="optimizer steps")
    batch_size: int = Field(64, ge=1, description="examples (SFT) or pairs (reward model) an optimizer step")
    micro_batch_size: int = Field(64, ge=1, description="examples or pairs a forward pass")
    learning_rate: float = Field(5e-5, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: float = Field(0.05, ge=0, lt=1, description="share of the steps that warm up")
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    adam_betas: list[float] = Field([0.9, 0.95], min_length=2, max_length=2)


class RewardModelConfig(SupervisedConfig):
    """The reward model's stage."""

    held_out_share: float = Field(
        0.1, ge=0, lt=1, description="share of the pairs (by prompt) kept for the pair accuracy"
    )


class RewardConfig(Section):
    """What gives the score."""

    sources: list[str] = Field(
        ["task"],
        min_length=1,
        description="[WEIGHT*]SOURCE each: task, classifier:FOLDER_OR_HUB_ID, python:FILE.py:NAME; the score is their weighted sum",
    )


class MethodOptions(Section):
    """The arithmetic of the macro-action method with every choice made (METHOD, sections 2 and 4)."""

    macro_reward: Literal["sum", "mean"] = "sum"
    value_pooling: Literal["equal", "last", "first", "position_late", "position_early"] = "equal"
    ratio_level: Literal["token", "macro", "macro_geometric"] = "token"
    loss_average: Literal["token", "macro", "sequence"] = "token"
    last_token_alone: bool = False
    lambda_per: Literal["macro", "token"] = "macro"
    critic_target: Literal["token", "macro"] = "token"
    truncation: Literal["zero", "bootstrap"] = "zero"
    whiten_advantages: bool = True
    score_clip: float = Field(0.0, ge=0, description="scores are clipped to +- this; 0 switches it off")
    value_clip_range: float = Field(0.0, ge=0, description="clip range of the value loss; 0 switches it off")


METHOD_PRESETS: Mapping[str, MethodOptions] = {
    "corrected": MethodOptions(),
    "paper": MethodOptions(ratio_level="macro", whiten_advantages=False),
    "official_code": MethodOptions(
        macro_reward="mean", last_token_alone=True, score_clip=2.5, value_clip_range=0.2, whiten_advantages=False
    ),
}


class PpoConfig(Section):
    """The shared PPO trainer. A null method option takes the value of the preset `method`."""

    method: Literal["corrected", "paper", "official_code"] = Field(
        "corrected", description="preset of the method's arithmetic"
    )
    macro_reward: Literal["sum", "mean"] | None = None
    value_pooling: Literal["equal", "last", "first", "position_late", "position_early"] | None = None
    ratio_level: Literal["token", "macro", "macro_geometric"] | None = None
    loss_average: Literal["token", "macro", "sequence"] | None = None
    last_token_alone: bool | None = None
    lambda_per: Literal["macro", "token"] | None = None
    critic_target: Literal["token", "macro"] | None = None
    truncation: Literal["zero", "bootstrap"] | None = None
    whiten_advantages: bool | None = None
    score_clip: float | None = Field(None, ge=0, description="scores are clipped to +- this; 0 switches it off")
    value_clip_range: float | None = Field(None, ge=0, description="clip range of the value loss; 0 switches it off")

    updates: int | None = Field(None, ge=1, description="PPO updates; null makes one pass over the prompts")
    batch_size: int = Field(256, ge=1, description="responses an update, one a prompt while there are enough prompts")
    micro_batch_size: int = Field(32, ge=1, description="responses a training forward pass")
    score_batch_size: int = Field(64, ge=1, description="responses a forward pass without gradients")
    sample_batch_size: int = Field(64, ge=1, description="responses sampled at once")
    minibatches: int = Field(1, ge=1, description="optimizer steps an epoch over the rollout")
    ppo_epochs: int = Field(1, ge=1)
    learning_rate: float = Field(1.5e-5, gt=0, description="of the policy")
    critic_learning_rate: float = Field(1.5e-5, gt=0)
    adam_betas: list[float] = Field([0.9, 0.95], min_length=2, max_length=2)
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_ratio: float = Field(0.05, ge=0, lt=1, description="share of the optimizer steps that warm up")
    max_grad_norm: float = Field(1.0, gt=0)
    gamma: float = Field(1.0, gt=0, le=1)
    gae_lambda: float = Field(0.95, ge=0, le=1)
    clip_range: float = Field(0.2, gt=0)
    kl_coef: float = Field(0.05, ge=0)
    kl_estimator: Literal["k1", "k2", "k3"] = "k1"
    kl_in: Literal["reward", "loss"] = Field(
        "reward", description="KL as part of the token reward, or as a term of the loss"
    )
    kl_controller: Literal["fixed", "adaptive"] = "fixed"
    kl_target: float = Field(6.0, gt=0, description="nats a response that the adaptive controller aims at")
    kl_horizon: int = Field(10_000, ge=1, description="responses over which the adaptive controller moves")
    score_scale: Literal["none", "reference_std"] = Field(
        "none", description="divide scores by their spread over SFT samples"
    )
    missing_eos_penalty: float = Field(
        0.0, ge=0, description="taken from the score of responses cut at the length limit"
    )
    old_logprobs: Literal["sampler", "recomputed"] = Field(
        "sampler", description="where the rollout's log-probs come from"
    )
    max_ratio_deviation: float = Field(
        1e-4, gt=0, description="largest |ratio - 1| allowed at the first optimizer step in fp32"
    )

    group_size: int = Field(
        4,
        ge=2,
        description="responses sampled for each prompt of an update by baselines that compare them (rloo, grpo)",
    )

    def method_options(self) -> MethodOptions:
        """Returns the preset's options with those that are set here put over them."""
        preset = METHOD_PRESETS[self.method]
        chosen = {name: getattr(self, name) for name in MethodOptions.model_fields if getattr(self, name) is not None}
        return preset.model_copy(update=chosen)


class EvaluationConfig(Section):
    """Evaluation on held-out prompts."""

    max_prompts: int | None = Field(None, ge=1, description="at most this many evaluation prompts")
    samples_per_prompt: int = Field(1, ge=1, description="responses sampled for each evaluation prompt")
    metrics: list[str] = Field(
        default_factory=list,
        description="metrics beside the task's own: a metric plugin, python:FILE.py:NAME, or evaluate:NAME_OR_FOLDER:RESULT",
    )
    temperature: float | None = Field(
        None, ge=0, description="sampling temperature; null takes that of training, 0 is greedy"
    )

    @model_validator(mode="after")
    def _greedy_samples_are_all_alike(self) -> Self:
        if self.temperature == 0 and self.samples_per_prompt > 1:
            raise ValueError("samples_per_prompt above 1 needs a temperature above 0; greedy samples are all alike")
        return self


class CheckpointConfig(Section):
    """How often the state of a training is written. Changes no result, so it is no part of the hash."""

    every_seconds: float = Field(
        60.0,
        ge=0,
        description="a checkpoint at the first optimizer step that ends so long after the last one; 0: at each",
    )
    keep_last: int = Field(
        2, ge=1, description="so many checkpoints of a training are kept; the one before stands in for a damaged one"
    )
    keep_best: bool = Field(False, description="also keep the one with the best training score")


class GuardConfig(Section):
    """What happens when a training goes wrong."""

    not_finite: Literal["stop", "skip"] = Field(
        "stop", description="a loss or gradient that is not finite: stop, or leave the optimizer step out and count it"
    )
    out_of_memory: Literal["halve", "stop"] = Field(
        "halve", description="halve the micro-batch and go on (the global batch stays), or stop"
    )


class LoraConfig(Section):
    """Low-rank adapters in place of training all weights."""

    rank: int | None = Field(None, ge=1, description="null trains all weights")


class MemoryConfig(Section):
    """What is traded for memory; results stay the same up to rounding."""

    gradient_checkpointing: bool = Field(False, description="activations are computed again in the backward pass")
    micro_batch_tokens: int | None = Field(
        None, ge=1, description="at most so many tokens a forward pass, padding included, in place of a number of rows"
    )


class SamplerConfig(Section):
    """What samples the responses of rollouts and evaluations."""

    backend: Literal["transformers", "vllm"] = Field("transformers", description="vllm needs marl-bench[vllm]")


class RunConfig(Section):
    """Everything that one `marl-bench run` computes."""

    task: str = "tldr"
    task_options: dict[str, Any] = Field(default_factory=dict, description="options of the task plugin")
    arms: list[str] = Field(["sft", "token_ppo", "macro_ppo"], min_length=1)
    seeds: int = Field(2, ge=1, description="number of seeds; they are 0, 1, ...")
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    sampling: SamplingConfig = SamplingConfig()
    sft: SupervisedConfig = SupervisedConfig()
    reward_model: RewardModelConfig = RewardModelConfig()
    reward: RewardConfig = RewardConfig()
    ppo: PpoConfig = PpoConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoints: CheckpointConfig = CheckpointConfig()
    guards: GuardConfig = GuardConfig()
    lora: LoraConfig = LoraConfig()
    memory: MemoryConfig = MemoryConfig()
    sampler: SamplerConfig = SamplerConfig()

    def hashed_part(self) -> dict[str, Any]:
        """Returns what the shared stages and the cells compute: all but arms, seeds and checkpoints.

        Sections and keys that came later count where they differ from their defaults only, so that hashes from before they were there hold.
        """
        later = ("guards", "lora", "memory", "sampler")
        unchanged = {name for name in later if getattr(self, name) == type(getattr(self, name))()}
        content = self.model_dump(mode="json", exclude={"arms", "seeds", "checkpoints", *unchanged})
        if self.ppo.group_size == PpoConfig.model_fields["group_size"].default:
            del content["ppo"]["group_size"]
        return content
