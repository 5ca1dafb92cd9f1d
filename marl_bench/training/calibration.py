"""What a score is worth: its scale over samples of the SFT model, and a reward model's scores of given texts."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from marl_bench.batches import Tokens
from marl_bench.config import RunConfig
from marl_bench.errors import TrainingError
from marl_bench.interfaces import Task
from marl_bench.models.halving_sampler import HalvingSampler
from marl_bench.models.out_of_memory import Halvings
from marl_bench.models.prompts import encode_prompts, encode_response
from marl_bench.models.responses import respond, sampling_settings
from marl_bench.models.sampling import ModelSampler
from marl_bench.models.scoring import TokenValues, in_micro_batches, last_token_scores
from marl_bench.records import Prompt
from marl_bench.score_parts import Reward, ToScore


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How scores are measured.

    Attributes:
        config: Of the experiment.
        halvings: The sizes of micro-batches that fit into memory.
        name: Of what gives the scores, for errors.
    """

    config: RunConfig
    halvings: Halvings
    name: str


def score_scale(
    reward: Reward, policy: Any, tokenizer: Any, task: Task, prompts: Sequence[Prompt], calibration: Calibration
) -> dict[str, float]:
    """Returns mean and spread of the scores of responses that the SFT model samples: the unit in which differences are read.

    Raises:
        TrainingError: No response has a score, or all have the same.
    """
    config, name = calibration.config, calibration.name
    sampled = respond(
        HalvingSampler(ModelSampler(policy), calibration.halvings),
        tokenizer,
        prompts,
        settings=sampling_settings(config.sampling),
        batch_size=config.ppo.sample_batch_size,
        seed_parts=(config.data.seed, "calibration"),
    )
    batch = ToScore(task, prompts, sampled.responses, sampled.samples.tokens, config.ppo.score_batch_size)
    scored = [score for score in reward.scores(batch) if score is not None]
    if not scored:
        raise TrainingError(f"{name}: none of {len(prompts)} SFT samples has a score; all are None.")
    scores = torch.tensor(scored)
    spread = float(scores.std(unbiased=False)) if len(scored) > 1 else 1.0  # one sample has no spread
    if not spread > 0:
        raise TrainingError(
            f"{name}: its scores of {len(scored)} SFT samples have a spread of {spread}; it tells no response from another."
        )
    return {"score_std": spread, "sft_score_mean": float(scores.mean())}


def text_scores(
    values: TokenValues, tokenizer: Any, texts: Sequence[tuple[Prompt, str]], calibration: Calibration
) -> torch.Tensor:
    """Returns [B] float32, a reward model's scores of prompts with their responses."""
    limit = calibration.config.sampling.max_response_tokens
    device = next(values.parameters()).device
    prompt_ids, prompt_mask = encode_prompts([prompt for prompt, _ in texts], tokenizer)
    rows = [encode_response(text, tokenizer, max_response_tokens=limit) for _, text in texts]
    width = max(len(row) for row in rows)
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in rows])
    mask = torch.arange(width) < torch.tensor([len(row) for row in rows]).unsqueeze(1)
    finished = torch.tensor([row[-1] == tokenizer.eos_token_id for row in rows])
    tokens = Tokens(*(tensor.to(device) for tensor in (prompt_ids, prompt_mask, ids, mask, finished)))
    return in_micro_batches(
        lambda part: last_token_scores(values, part),
        tokens,
        size=calibration.config.ppo.score_batch_size,
        halvings=calibration.halvings,
    )
