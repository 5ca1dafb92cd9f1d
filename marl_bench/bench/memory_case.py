"""One case of `marl-bench bench memory`, in a process of its own: `python -m marl_bench.bench.memory_case CASE` writes what it measured."""

import ctypes
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from marl_bench.batches import Rollout, Tokens
from marl_bench.bench.clock import clock
from marl_bench.bench.peak_memory import peak_mebibytes
from marl_bench.config import MemoryConfig, PpoConfig, SamplingConfig
from marl_bench.interfaces import PolicyBaseline, PolicyContext
from marl_bench.models.actors import Actors
from marl_bench.models.forward import layout
from marl_bench.models.memory import with_memory
from marl_bench.models.responses import SampledResponses
from marl_bench.models.sampling import ModelSampler, Samples
from marl_bench.models.scoring import TokenValues, micro_batches
from marl_bench.planning import build_rule, plan_rule
from marl_bench.plugins import Registry
from marl_bench.records import Response
from marl_bench.score_parts import Reward
from marl_bench.training.experience import prepare_experience, token_rewards
from marl_bench.training.optimizer_memory import learner_present
from marl_bench.training.rollout import gathered
from marl_bench.training.update import Learner, UpdateSettings, make_optimizers, minibatch_order, update

_RESET = Path("/proc/self/clear_refs")
_SAMPLING = SamplingConfig()


@dataclasses.dataclass(frozen=True)
class Shape:
    """What is updated on what.

    Attributes:
        hidden: Width of the models (llama, tied to nothing, random weights).
        layers: Their layers.
        vocabulary: Their vocabulary.
        rows: Responses of the update.
        prompt_tokens: At most so many; prompts have half of them to all.
        response_tokens: At most so many; responses have an eighth of them to all.
    """

    hidden: int = 256
    layers: int = 8
    vocabulary: int = 8192
    rows: int = 16
    prompt_tokens: int = 96
    response_tokens: int = 96


@dataclasses.dataclass(frozen=True)
class MemoryCase:
    """One way to make an update.

    Attributes:
        name: For the table.
        memory: Fields of the section `memory`.
        shape: What is updated.
        dtype: Of the models.
        micro_batch_size: Rows of a forward pass, where there is no limit on tokens.
        device: Where it runs.
    """

    name: str
    memory: dict[str, Any]
    shape: Shape = dataclasses.field(default_factory=Shape)
    dtype: str = "float32"
    micro_batch_size: int = 8
    device: str = "cpu"


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a case needs.

    Attributes:
        parameters: Of the policy.
        held_mebibytes: Before the update: models, optimizer states, the process itself.
        scoring_mebibytes: At the peak of reference log-probs and values, beside what is held.
        update_mebibytes: At the peak of the update, beside what is held.
        scoring_seconds: Processor time on a CPU.
        update_seconds: Processor time on a CPU.
        padding_share: Of the tokens of the update's forward passes.
        notes: What could not be had.
    """

    parameters: int
    held_mebibytes: float
    scoring_mebibytes: float
    update_mebibytes: float
    scoring_seconds: float
    update_seconds: float
    padding_share: float
    notes: list[str]


def measure(case: MemoryCase) -> Measured:
    """Makes two updates and measures the second one, for which optimizer states are there."""
    device, ppo = torch.device(case.device), _settings(case)
    torch.set_num_threads(1)
    actors = with_memory(_actors(case, device), MemoryConfig.model_validate(case.memory))
    registry = Registry()
    rule = build_rule(plan_rule("fixed(n=5)", registry), registry)
    baseline: PolicyBaseline = registry.baseline("macro_ppo").build(PolicyContext(ppo, rule, 5.0))  # type: ignore[assignment]  # it is one
    learner = Learner(actors, make_optimizers(actors, ppo, steps=2), Accelerator(cpu=device.type == "cpu"), baseline)
    sampled = _sampled(case.shape, device)

    def score() -> Rollout:
        return gathered(actors, sampled, sampling=_SAMPLING, ppo=ppo, needs=frozenset({"critic"}))

    def learn(rollout: Rollout) -> None:
        scores = torch.linspace(-1, 1, case.shape.rows, device=device)
        rewards = token_rewards(rollout, scores, ppo=ppo, kl_coef=0.05, score_std=1.0)
        experience = prepare_experience(baseline, rollout, rewards, ppo=ppo).experience
        order = minibatch_order(case.shape.rows, ppo, torch.Generator().manual_seed(0))
        settings = UpdateSettings(ppo=ppo, temperature=1.0, kl_coef=0.05, exact=False, where="bench memory")
        with learner_present(actors, learner.optimizers.pairs()):
            update(learner, experience, order, settings=settings)

    learn(score())
    rollout, held, scoring, scoring_seconds = _peak(score, device)
    _, before, updating, update_seconds = _peak(lambda: learn(rollout), device)
    return Measured(
        parameters=sum(weight.numel() for weight in actors.policy.parameters()),
        held_mebibytes=max(held, before),
        scoring_mebibytes=scoring - held,
        update_mebibytes=updating - before,
        scoring_seconds=scoring_seconds,
        update_seconds=update_seconds,
        padding_share=_padding_share(actors, sampled.samples.tokens, ppo),
        notes=list(actors.notes),
    )


def _settings(case: MemoryCase) -> PpoConfig:
    return PpoConfig(
        batch_size=case.shape.rows,
        micro_batch_size=case.micro_batch_size,
        score_batch_size=case.micro_batch_size,
        old_logprobs="recomputed",
        schedule="constant",
    )


def _actors(case: MemoryCase, device: torch.device) -> Actors:
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, LlamaConfig

    shape = case.shape
    config = LlamaConfig(
        hidden_size=shape.hidden,
        intermediate_size=shape.hidden * 11 // 4,
        num_hidden_layers=shape.layers,
        num_attention_heads=max(1, shape.hidden // 64),
        vocab_size=shape.vocabulary,
        max_position_embeddings=shape.prompt_tokens + shape.response_tokens,
        pad_token_id=0,
        num_labels=1,
    )
    dtype = getattr(torch, case.dtype)
    torch.manual_seed(0)
    policy, reference = (AutoModelForCausalLM.from_config(config, dtype=dtype).to(device).eval() for _ in range(2))
    critic = TokenValues(AutoModelForSequenceClassification.from_config(config, dtype=dtype).to(device).eval())
    return Actors(None, policy, reference.requires_grad_(False), critic, Reward([]), ModelSampler(policy))


def _sampled(shape: Shape, device: torch.device) -> SampledResponses:
    """Returns responses of random tokens and lengths."""
    generator = torch.Generator().manual_seed(0)

    def lengths(least: int, most: int) -> torch.Tensor:
        return torch.randint(least, most + 1, (shape.rows, 1), generator=generator)

    def ids(width: int) -> torch.Tensor:
        return torch.randint(1, shape.vocabulary, (shape.rows, width), generator=generator).to(device)

    left, right = shape.prompt_tokens, shape.response_tokens
    response_mask = torch.arange(right) < lengths(max(1, right // 8), right)
    tokens = Tokens(
        ids(left),
        (torch.arange(left) >= left - lengths(left // 2, left)).to(device),
        ids(right),
        response_mask.to(device),
        torch.ones(shape.rows, dtype=torch.bool, device=device),
    )
    zeros = torch.zeros(shape.rows, right, device=device)
    responses = [Response(str(row), "", right, True) for row in range(shape.rows)]
    return SampledResponses(Samples(tokens, zeros, zeros), responses, list(range(shape.rows)))


def _padding_share(actors: Actors, tokens: Tokens, ppo: PpoConfig) -> float:
    size = actors.micro_batch(ppo.micro_batch_size)
    inputs = [
        layout(rows, ahead=False, rows=size.rows_are).inputs["input_ids"].numel()
        for _, rows in micro_batches(tokens, size=size)
    ]
    return 1 - int(tokens.prompt_mask.sum() + tokens.response_mask.sum()) / sum(inputs)


def _peak(compute: Callable[[], Any], device: torch.device) -> tuple[Any, float, float, float]:
    """Returns the result, the MiB in use before, those at the peak, and the seconds."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device) / 2**20
    else:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed is not held
        _RESET.write_text("5", encoding="ascii")  # the peak begins anew
        before = peak_mebibytes()
    began = clock(device)
    result = compute()
    seconds = clock(device) - began
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else peak_mebibytes()
    return result, before, peak, seconds


def main() -> None:
    """Measures the case that is given as JSON."""
    given = json.loads(sys.argv[1])
    case = MemoryCase(**{**given, "shape": Shape(**given["shape"])})
    sys.stdout.write(json.dumps(dataclasses.asdict(measure(case))) + "\n")


if __name__ == "__main__":
    main()
