"""What is measured of a reward before any policy is trained with it: the unit of its scores, and how many held-out pairs it ranks rightly."""

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from marl_bench.batches import Tokens
from marl_bench.config import RunConfig
from marl_bench.errors import TrainingError
from marl_bench.interfaces import Task
from marl_bench.models.halving_sampler import HalvingSampler
from marl_bench.models.loading import load_policy
from marl_bench.models.out_of_memory import Halvings
from marl_bench.models.prompts import encode_prompts, encode_response
from marl_bench.models.responses import respond, sample_indices, sampling_settings
from marl_bench.models.rewards import ClassifierReward
from marl_bench.models.sampling import ModelSampler
from marl_bench.models.scoring import TokenValues, in_micro_batches, last_token_scores
from marl_bench.records import PreferencePair, Prompt, Response
from marl_bench.score_parts import Reward, Scores, ToScore
from marl_bench.world import ALONE, World

CALIBRATION_RESPONSES = 256


@dataclasses.dataclass(frozen=True)
class Scoring:
    """What scores are measured with.

    Attributes:
        task: Gives rule rewards.
        config: Limits, temperatures, batch sizes and seed.
        tokenizer: Of the SFT model.
        world: The processes that measure together.
        halvings: The sizes of micro-batches that fit into memory.
    """

    task: Task
    config: RunConfig
    tokenizer: Any
    world: World = ALONE
    halvings: Halvings = dataclasses.field(default_factory=Halvings)


def score_scale(
    reward: Reward, sft: Path, prompts: Sequence[Prompt], scoring: Scoring, *, name: str
) -> dict[str, float]:
    """Returns mean and spread of the scores of responses that the SFT model samples: the unit in which differences are read.

    Raises:
        TrainingError: No response has a score, or all have the same.
    """
    config, tokenizer = scoring.config, scoring.tokenizer
    policy = load_policy(str(sft), dtype=config.model.dtype).to(device_of_this_process())
    prompts = prompts[:CALIBRATION_RESPONSES]
    indices = sample_indices(prompts)

    def share(rows: slice) -> Scores:
        sampled = respond(
            HalvingSampler(ModelSampler(policy), scoring.halvings),
            tokenizer,
            prompts[rows],
            settings=sampling_settings(config.sampling),
            batch_size=config.ppo.sample_batch_size,
            seed_parts=(config.data.seed, "calibration"),
            indices=indices[rows],
        )
        tokens = sampled.samples.tokens
        return reward.scores(
            ToScore(scoring.task, prompts[rows], sampled.responses, tokens, config.ppo.score_batch_size)
        )

    shares = scoring.world.in_shares("calibration", len(prompts), share)
    scored = [score for scores in shares for score in scores if score is not None]
    if not scored:
        raise TrainingError(f"{name}: none of {len(prompts)} SFT samples has a score; all are None.")
    scores = torch.tensor(scored)
    spread = float(scores.std(unbiased=False)) if len(scored) > 1 else 1.0  # one sample has no spread
    if not spread > 0:
        raise TrainingError(
            f"{name}: its scores of {len(scored)} SFT samples have a spread of {spread}; it tells no response from another."
        )
    return {"score_std": spread, "sft_score_mean": float(scores.mean())}


def pair_accuracy(model: TokenValues | ClassifierReward, pairs: Sequence[PreferencePair], scoring: Scoring) -> float:
    """Returns the share of pairs whose chosen response has the higher score."""
    chosen = scores_of_texts(model, [(pair.prompt, pair.chosen) for pair in pairs], scoring)
    rejected = scores_of_texts(model, [(pair.prompt, pair.rejected) for pair in pairs], scoring)
    return float((chosen > rejected).float().mean())


def scores_of_texts(
    model: TokenValues | ClassifierReward, texts: Sequence[tuple[Prompt, str]], scoring: Scoring
) -> torch.Tensor:
    """Returns [B] float32, the scores of responses given as texts, cut at the limit of responses where the model reads tokens."""
    size = scoring.config.ppo.score_batch_size
    if isinstance(model, ClassifierReward):
        responses = [Response(prompt.id, text, None, True) for prompt, text in texts]
        return torch.tensor(model(ToScore(scoring.task, [prompt for prompt, _ in texts], responses, None, size)))
    device, tokenizer = next(model.parameters()).device, scoring.tokenizer
    limit = scoring.config.sampling.max_response_tokens
    prompt_ids, prompt_mask = encode_prompts([prompt for prompt, _ in texts], tokenizer)
    rows = [encode_response(text, tokenizer, max_response_tokens=limit) for _, text in texts]
    width = max(len(row) for row in rows)
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in rows])
    mask = torch.arange(width) < torch.tensor([len(row) for row in rows]).unsqueeze(1)
    finished = torch.tensor([row[-1] == tokenizer.eos_token_id for row in rows])
    tokens = Tokens(*(tensor.to(device) for tensor in (prompt_ids, prompt_mask, ids, mask, finished)))
    return in_micro_batches(lambda part: last_token_scores(model, part), tokens, size=size, halvings=scoring.halvings)


def hold_out(
    pairs: Sequence[PreferencePair], *, share: float, seed: int
) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """Splits off a share of the prompts, so that no prompt is on both sides."""
    ids = sorted({pair.prompt.id for pair in pairs})
    random.Random(f"held-out pairs {seed}").shuffle(ids)
    held = set(ids[: round(share * len(ids))])
    return [pair for pair in pairs if pair.prompt.id not in held], [pair for pair in pairs if pair.prompt.id in held]


def device_of_this_process() -> torch.device:
    """Returns the device that this process works on; with several processes each has set its own."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
