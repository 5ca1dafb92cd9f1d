"""The run configuration: typed and strict. No torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from marl_bench.config_guards import GuardConfig
from marl_bench.config_section import Section as Section  # plugins derive their options from it


class DataConfig(Section):
    """Where a task's data come from and how much of it is used."""

    source: str = Field("embedded", description="embedded, hub, or the path of a local folder with the hub's schema")
    revision: str | None = Field(None, description="hub revision; null takes the one that the task pins")
    split: Literal["prompt", "official"] = Field("prompt", description="by prompt (no leaks), or by row as published")
    seed: int = Field(0, description="seed of the embedded generator and of the split")
    limit: int | None = Field(None, ge=1, description="at most this many items of each stage and the evaluation")
    chat_template: Literal["auto", "off"] = Field("auto", description="use the tokenizer's chat template if it has one")
    overlong_prompts: Literal["cut", "drop"] = Field("cut", description="what happens to prompts over the token limit")

    @property
    def source_name(self) -> str:
        """The source without the path of this machine."""
        return self.source if self.source in ("embedded", "hub") else Path(self.source).name


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

    def planned_steps(self, examples: int) -> int:
        """Returns the optimizer steps over so many examples or pairs."""
        return self.max_steps or max(1, round(self.epochs * examples / min(self.batch_size, examples)))


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
    warmup_updates: int | None = Field(None, ge=0, description="updates that warm up, in place of warmup_ratio")
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

    def planned_updates(self, prompts: int) -> int:
        """Returns the number of updates: as configured, else one pass over the prompts."""
        return self.updates or max(1, prompts // self.batch_size)

    def warmup_steps(self, *, steps: int) -> int:
        """Returns the optimizer steps that warm up, of `steps` in all."""
        if self.warmup_updates is None:
            return int(self.warmup_ratio * steps)
        return self.warmup_updates * self.ppo_epochs * min(self.minibatches, self.batch_size)


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
        description="a checkpoint at the first rollout, optimizer step or update that ends so long after the last one; 0: at each",
    )
    keep_last: int = Field(
        2, ge=1, description="so many checkpoints of a training are kept; the one before stands in for a damaged one"
    )
    keep_best: bool = Field(
        False, description="also keep the one with the best training score, whose policy the cell leaves in best_policy"
    )


class LoraConfig(Section):
    """Low-rank adapters in place of training all weights. What is frozen is held once, whoever reads it."""

    rank: int | None = Field(None, ge=1, description="rank of the adapters; null trains all weights")
    alpha: float | None = Field(None, gt=0, description="adapters are scaled with alpha / rank; null takes 2 * rank")
    targets: list[str] | None = Field(
        None, min_length=1, description="names of the linear layers that get one; null takes all below the head"
    )
    stages: Literal["all", "ppo"] = Field(
        "all", description="what trains adapters: SFT and reward model too (merged when they are saved), or PPO only"
    )
    share_base: bool = Field(
        False,
        description="the critic stands on the policy's base, not on the reward model's; this saves a base with nf4, where they differ",
    )
    quantize: Literal["none", "nf4"] = Field(
        "none", description="nf4 holds the frozen base in 4 bits (QLoRA); needs marl-bench[qlora] and a GPU"
    )
    save: Literal["adapter", "merged"] = Field(
        "adapter", description="what a cell leaves: the adapter beside the name of its base, or a whole model"
    )

    @model_validator(mode="after")
    def _options_need_a_rank(self) -> Self:
        fields = type(self).model_fields
        idle = [name for name, field in fields.items() if name != "rank" and getattr(self, name) != field.default]
        if self.rank is None and idle:
            raise ValueError(
                f"{', '.join(idle)} without lora.rank: no adapter is trained; set lora.rank, for example to 16"
            )
        if self.quantize != "none" and self.save == "merged":
            raise ValueError("save=merged with quantize=nf4 would change the policy; keep save=adapter")
        return self

    @property
    def scale_numerator(self) -> float:
        """Alpha as it is used."""
        return self.alpha if self.alpha is not None else 2.0 * (self.rank or 0)


class MemoryConfig(Section):
    """What is traded for memory; results stay the same up to rounding."""

    gradient_checkpointing: bool = Field(False, description="activations are computed again in the backward pass")
    logits_chunk_tokens: int | None = Field(
        None,
        ge=1,
        description="logits are made for so many response tokens at once, and again in the backward pass; null: for all of a micro-batch",
    )
    micro_batch_tokens: int | None = Field(
        None,
        ge=1,
        description="at most so many tokens a training forward pass, padding included, in place of a number of rows",
    )
    score_batch_tokens: int | None = Field(
        None, ge=1, description="the same for forward passes without gradients, in place of ppo.score_batch_size"
    )
    sample_batch_tokens: int | None = Field(
        None,
        ge=1,
        description="the same for sampling, with room for the longest response, in place of ppo.sample_batch_size",
    )
    packing: bool = Field(
        False,
        description="rows of a micro-batch stand one after another without padding; token limits count real tokens",
    )
    master_weights: Literal["float32"] | None = Field(
        None,
        description="the optimizer keeps weights and sums of gradients of a bfloat16 model in float32; null: in bfloat16",
    )
    max_mean_ratio_deviation: float = Field(
        0.1, gt=0, description="largest mean |ratio - 1| at the first optimizer step where weights are not float32"
    )
    offload: bool = Field(
        False,
        description="reference, reward models, critic and optimizer state wait on the CPU while they are not used",
    )
    shard: bool = Field(False, description="under torchrun PPO divides weights and optimizers (FSDP2)")


class SamplerConfig(Section):
    """What samples the responses of rollouts and evaluations. All but the backend is read with vllm only."""

    backend: Literal["transformers", "vllm"] = Field("transformers", description="vllm needs marl-bench[vllm]")
    mode: Literal["colocated", "server"] = Field(
        "colocated", description="an engine of each worker on its own device, or a server of yours (base_url)"
    )
    base_url: str | None = Field(None, description="the vLLM server, for example http://localhost:8000/v1")
    weights_folder: str | None = Field(
        None, description="where weights are handed over, on a disk that the server sees too; null: shared memory here"
    )
    gpu_memory_utilization: float = Field(
        0.3, gt=0, le=1, description="share of the device's memory for the colocated engine; of main memory on a CPU"
    )
    max_model_len: int | None = Field(
        None, ge=2, description="window of the engine; null: max_prompt_tokens + max_response_tokens"
    )
    enforce_eager: bool | None = Field(None, description="no compiled graphs; null: on a CPU only")
    sleep: bool = Field(True, description="a colocated engine on a GPU frees its memory between rollouts")
    importance_cap: float | None = Field(
        None, gt=0, description="the token loss is multiplied with min(p_trainer / p_sampler, this); null: not at all"
    )
    max_sync_difference: float | None = Field(
        None,
        gt=0,
        description="mean |difference| of log-probs (nats) allowed after a weight update; null: 0.0005 in float32, 0.1 in bfloat16",
    )
    timeout_seconds: float = Field(1800.0, gt=0, description="longest wait for one answer of the engine")

    @model_validator(mode="after")
    def _a_server_has_an_address(self) -> Self:
        if (self.mode == "server") != (self.base_url is not None):
            raise ValueError("sampler.mode=server and sampler.base_url belong together; set both or neither")
        return self


class SpeedConfig(Section):
    """What is computed in another way because it is faster; results stay the same up to rounding."""

    cpu_matmul: Literal["torch", "onednn"] = Field("torch", description="float32; onednn is faster where no Intel is")


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
    speed: SpeedConfig = SpeedConfig()

    @model_validator(mode="after")
    def _token_limits_hold_the_longest_row(self) -> Self:
        prompt, response = self.sampling.max_prompt_tokens, self.sampling.max_response_tokens
        for name in ("micro_batch_tokens", "score_batch_tokens", "sample_batch_tokens"):
            limit = getattr(self.memory, name)
            if limit is not None and limit < prompt + response:
                raise ValueError(
                    f"memory.{name}: {limit} tokens do not hold the longest row, sampling.max_prompt_tokens + max_response_tokens = "
                    f"{prompt} + {response} = {prompt + response} tokens; give at least that, or null"
                )
        return self

    def hashed_part(self) -> dict[str, Any]:
        """Returns what the shared stages and the cells compute: all but arms, seeds, checkpoints, and guards that only warn or stop.

        Sections and keys that came later count where they differ from their defaults only, so that hashes from before they were there hold.
        """
        later = ("lora", "memory", "sampler", "speed")
        unchanged = {name for name in later if getattr(self, name) == type(getattr(self, name))()}
        part = self.model_dump(mode="json", exclude={"arms", "seeds", "checkpoints", "guards"} | unchanged)
        for key in ("warmup_updates", "group_size"):
            if getattr(self.ppo, key) == PpoConfig.model_fields[key].default:
                del part["ppo"][key]
        # A run that a guard has stopped goes on from its checkpoint once the guard is told to warn.
        return {**part, "guards": {"not_finite": "skip"}} if self.guards.not_finite == "skip" else part
