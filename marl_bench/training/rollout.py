"""Rolls the policy out: responses, scores, reference log-probs, values."""

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Any

import torch

from marl_bench.batches import Rollout, Tokens
from marl_bench.config import PpoConfig, SamplingConfig
from marl_bench.errors import ConfigError, TrainingError
from marl_bench.interfaces import Task
from marl_bench.macro.mismatch import mismatch_figures
from marl_bench.models.actors import Actors
from marl_bench.models.batch_sizes import BatchSize
from marl_bench.models.joining import joined_rollouts, moved
from marl_bench.models.offsets import response_offsets
from marl_bench.models.out_of_memory import Halvings
from marl_bench.models.responses import (
    SampledResponses,
    log_prob_temperature,
    respond,
    sample_indices,
    sampling_settings,
)
from marl_bench.models.sampling import row_seed
from marl_bench.models.scoring import in_micro_batches, response_log_probs
from marl_bench.records import Prompt, Response
from marl_bench.score_parts import ToScore

GATHERED = frozenset(
    {"critic", "logprobs", "ref_logprobs", "values", "entropies", "text", "offsets", "end_values", "groups"}
)


@dataclasses.dataclass(frozen=True)
class ScoredRollout:
    """A rollout and what its responses are worth.

    Attributes:
        rollout: The responses that have a score.
        prompts: Their prompts.
        responses: The same responses as text records.
        scores: [B] float32, as the reward gave them.
        unscored: Responses that were left out because they have no score.
        reward_wait_seconds: How long the models had to wait for the scores after their own part was done.
    """

    rollout: Rollout
    prompts: Sequence[Prompt]
    responses: Sequence[Response]
    scores: torch.Tensor
    unscored: int
    reward_wait_seconds: float


def rollout_figures(scored: ScoredRollout) -> dict[str, float]:
    """Returns what can be said of a rollout before anything is learnt from it."""
    rollout, entropies = scored.rollout, scored.rollout.token_entropies
    mask, sampler = rollout.tokens.response_mask, rollout.token_sampler_log_probs
    mismatch = {} if sampler is None else mismatch_figures(rollout.token_log_probs, sampler, mask)
    return {
        "score": float(scored.scores.mean()),
        "score_std": float(scored.scores.std(unbiased=False)),
        "kl": float((rollout.token_log_probs - rollout.token_ref_log_probs).sum(dim=1).mean()),
        "response_tokens": float(mask.sum(dim=1).float().mean()),
        "truncated": float((~rollout.tokens.finished).float().mean()),
        "unscored": scored.unscored,
        "entropy": float(entropies[mask].mean()) if entropies is not None else math.nan,
        **mismatch,
    }


def check_needs(needs: frozenset[str], *, arm: str) -> None:
    """Checks that the rollout can gather what a baseline needs.

    Raises:
        ConfigError: It cannot.
    """
    unknown = sorted(needs - GATHERED)
    if unknown:
        raise ConfigError(
            f"arm '{arm}': needs {', '.join(unknown)}, which the trainer does not gather; it gathers {', '.join(sorted(GATHERED))}."
        )


def roll_out(
    actors: Actors,
    task: Task,
    prompts: Sequence[Prompt],
    *,
    sampling: SamplingConfig,
    ppo: PpoConfig,
    needs: frozenset[str],
    seed_parts: tuple[int | str, ...],
) -> ScoredRollout:
    """Samples one response a prompt and gathers all that the learner needs, without gradients, while rewards that can be are computed beside it.

    Args:
        actors: The models.
        task: Gives rule rewards where there is no reward model.
        prompts: One row each.
        sampling: How responses are drawn.
        ppo: Batch sizes and the source of the log-probs.
        needs: What the baseline and its rule need.
        seed_parts: What row seeds are made of beside prompt id and sample index.

    Raises:
        TrainingError: No response has a score, or a score is not finite.
    """
    indices = sample_indices(prompts)

    def share(rows: slice) -> _Share:
        sampled = respond(
            actors.sampler,
            actors.tokenizer,
            prompts[rows],
            settings=sampling_settings(sampling),
            batch_size=actors.sample_batch(ppo.sample_batch_size),
            seed_parts=seed_parts,
            indices=indices[rows],
        )
        batch = ToScore(task, prompts[rows], sampled.responses, sampled.samples.tokens, ppo.score_batch_size)
        with actors.reward.begun(batch) as finished_scores:
            rollout = gathered(actors, sampled, sampling=sampling, ppo=ppo, needs=needs)
            began_to_wait = time.perf_counter()
            scores = finished_scores()
            waited = time.perf_counter() - began_to_wait
        actors.rest()
        found = _Share(rollout, sampled.responses, scores, waited)
        return found if actors.world.size == 1 else moved(found, torch.device("cpu"))

    whole = _joined(actors.world.in_shares("rollout", len(prompts), share), actors)
    kept = [row for row, score in enumerate(whole.scores) if score is not None]
    if not kept:
        raise TrainingError(
            f"rollout: none of the {len(prompts)} responses has a score; the task's reward returned None for all."
        )
    return ScoredRollout(
        rollout=whole.rollout if len(kept) == len(prompts) else whole.rollout.rows(kept),
        prompts=[prompts[row] for row in kept],
        responses=[whole.responses[row] for row in kept],
        scores=torch.tensor([whole.scores[row] for row in kept], dtype=torch.float32, device=actors.policy.device),
        unscored=len(prompts) - len(kept),
        reward_wait_seconds=whole.reward_wait_seconds,
    )


@dataclasses.dataclass(frozen=True)
class _Share:
    """The part of a rollout that one process makes; an unscored response has None."""

    rollout: Rollout
    responses: Sequence[Response]
    scores: Sequence[float | None]
    reward_wait_seconds: float


def _joined(shares: Sequence[_Share], actors: Actors) -> _Share:
    """Returns the rows of all shares, on the policy's device."""
    if actors.world.size == 1:
        return shares[0]
    whole = _Share(
        joined_rollouts([share.rollout for share in shares], pad_id=actors.tokenizer.pad_token_id),
        [response for share in shares for response in share.responses],
        [score for share in shares for score in share.scores],
        max(share.reward_wait_seconds for share in shares),
    )
    return moved(whole, actors.policy.device)


def gathered(
    actors: Actors,
    sampled: SampledResponses,
    *,
    sampling: SamplingConfig,
    ppo: PpoConfig,
    needs: frozenset[str],
) -> Rollout:
    """Returns the responses with log-probs, values and whatever else is needed."""
    tokens, size = sampled.samples.tokens, actors.score_batch(ppo.score_batch_size)
    temperature, halvings = log_prob_temperature(sampling), actors.halvings
    log_probs = sampled.samples.token_log_probs
    if ppo.old_logprobs == "recomputed":
        log_probs = _log_probs(actors.policy, tokens, halvings, temperature=temperature, size=size)
    values, end_values = _values(actors, tokens, needs, size=size)
    texts = [response.text for response in sampled.responses]
    return Rollout(
        tokens=tokens,
        token_log_probs=log_probs,
        token_ref_log_probs=_log_probs(actors.reference, tokens, halvings, temperature=temperature, size=size),
        token_values=values,
        row_seeds=sampled.row_seeds,
        texts=texts,
        token_entropies=sampled.samples.token_entropies,
        token_offsets=response_offsets(tokens, texts, actors.tokenizer) if "offsets" in needs else None,
        end_values=end_values,
        token_sampler_log_probs=sampled.samples.token_sampler_log_probs,
        # Seeds of the ids, not a count: processes that roll out shares of a batch must not number their prompts alike.
        groups=[row_seed(response.prompt_id) for response in sampled.responses] if "groups" in needs else None,
    )


def _log_probs(model: Any, tokens: Tokens, halvings: Halvings, *, temperature: float, size: BatchSize) -> torch.Tensor:
    return in_micro_batches(
        lambda rows: response_log_probs(model, rows, temperature=temperature).token_log_probs,
        tokens,
        size=size,
        halvings=halvings,
    )


def _values(
    actors: Actors, tokens: Tokens, needs: frozenset[str], *, size: BatchSize
) -> tuple[torch.Tensor, torch.Tensor | None]:
    critic = actors.critic
    if critic is None:
        return torch.zeros(tokens.response_mask.shape, device=tokens.response_ids.device), None
    halvings = actors.halvings
    values = in_micro_batches(lambda rows: critic(rows, ahead=True), tokens, size=size, halvings=halvings)
    if "end_values" not in needs:
        return values, None
    after = in_micro_batches(lambda rows: critic(rows, ahead=False), tokens, size=size, halvings=halvings)
    last = (tokens.response_mask.sum(dim=1, keepdim=True) - 1).clamp(min=0)
    return values, torch.where(tokens.finished, 0, after.gather(1, last).squeeze(1))
