"""Scores of texts by a reward model, and the unit in which differences of scores are read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from marl_bench.batches import Tokens
from marl_bench.errors import TrainingError
from marl_bench.models.halving_sampler import HalvingSampler
from marl_bench.models.loading import load_policy, load_tokenizer
from marl_bench.models.prompts import encode_prompts, encode_response
from marl_bench.models.responses import respond, sample_indices, sampling_settings
from marl_bench.models.sampling import ModelSampler
from marl_bench.models.scoring import TokenValues, in_micro_batches, last_token_scores
from marl_bench.records import Prompt
from marl_bench.score_parts import Reward, Scores, ToScore

if TYPE_CHECKING:
    from marl_bench.training.shared_stages import SharedWork, Stage

CALIBRATION_RESPONSES = 256


def score_scale(reward: Reward, work: "SharedWork", sft: "Stage", *, name: str) -> dict[str, float]:
    """Returns mean and spread of the scores of responses that the SFT model samples: the unit in which differences are read."""
    config = work.config
    policy = load_policy(str(sft.folder), dtype=config.model.dtype).to(device_of_this_process())
    tokenizer = load_tokenizer(str(sft.folder))
    prompts = work.prepared.data.rl_prompts[:CALIBRATION_RESPONSES]
    indices = sample_indices(prompts)

    def share(rows: slice) -> Scores:
        sampled = respond(
            HalvingSampler(ModelSampler(policy), work.halvings),
            tokenizer,
            prompts[rows],
            settings=sampling_settings(config.sampling),
            batch_size=config.ppo.sample_batch_size,
            seed_parts=(config.data.seed, "calibration"),
            indices=indices[rows],
        )
        tokens = sampled.samples.tokens
        return reward.scores(ToScore(work.task, prompts[rows], sampled.responses, tokens, config.ppo.score_batch_size))

    shares = work.world.in_shares("calibration", len(prompts), share)
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


def scores_of_texts(
    values: TokenValues, tokenizer: Any, texts: Sequence[tuple[Prompt, str]], work: "SharedWork"
) -> torch.Tensor:
    """Returns [B] float32, the score of each prompt with a response at its last token."""
    limit = work.config.sampling.max_response_tokens
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
        size=work.config.ppo.score_batch_size,
        halvings=work.halvings,
    )


def device_of_this_process() -> torch.device:
    """Returns the device that this process works on; with several processes each has set its own."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
