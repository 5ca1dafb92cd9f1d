"""The models of a cell, loaded from the shared stages' folders, and the scores they give."""

import concurrent.futures
import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from marl_bench.batches import Tokens
from marl_bench.errors import TrainingError
from marl_bench.interfaces import Task
from marl_bench.models.loading import (
    SCORE_OFFSET,
    check_same_vocabulary,
    load_policy,
    load_reward_model,
    load_tokenizer,
)
from marl_bench.models.scoring import TokenValues, in_micro_batches, last_token_scores
from marl_bench.records import Prompt, Response


@dataclasses.dataclass(frozen=True)
class Actors:
    """All models of a cell.

    Attributes:
        tokenizer: Shared by all.
        policy: The policy that is trained or evaluated.
        reference: The SFT model, frozen.
        critic: A model of its own, or None for baselines without one.
        reward_model: Frozen, or None for tasks with a rule reward.
    """

    tokenizer: Any
    policy: Any
    reference: Any
    critic: TokenValues | None
    reward_model: TokenValues | None


def load_actors(
    *, policy: Path, sft: Path, reward_model: Path | None, dtype: str, critic_scale: float | None, device: torch.device
) -> Actors:
    """Loads the policy, the reference from the SFT folder, critic and reward model from the reward model's.

    Without a reward model the critic starts from the SFT trunk with a zero head.

    Args:
        policy: Folder of the policy.
        sft: Folder of the SFT model.
        reward_model: Folder of the reward model, or None for rule rewards.
        dtype: Of the weights.
        critic_scale: What the critic's first values are multiplied with, so that they are in the unit of the scores that training uses;
            None loads no critic.
        device: Where the models go.
    """
    tokenizer = load_tokenizer(str(sft))
    pad = tokenizer.pad_token_id

    def head(folder: Path) -> TokenValues:
        return TokenValues(load_reward_model(str(folder), dtype=dtype, pad_token_id=pad)).to(device)

    if reward_model is not None:
        check_same_vocabulary(tokenizer, load_tokenizer(str(reward_model)), name=f"reward model '{reward_model}'")
    return Actors(
        tokenizer=tokenizer,
        policy=load_policy(str(policy), dtype=dtype).to(device),
        reference=load_policy(str(sft), dtype=dtype).to(device).requires_grad_(False),
        critic=None if critic_scale is None else _scaled(head(reward_model or sft), critic_scale),
        reward_model=None if reward_model is None else head(reward_model).requires_grad_(False),
    )


def _scaled(critic: TokenValues, scale: float) -> TokenValues:
    with torch.no_grad():
        critic.classifier.score.weight.mul_(scale)
    config = critic.classifier.config
    setattr(config, SCORE_OFFSET, scale * getattr(config, SCORE_OFFSET, 0.0))
    return critic


@contextlib.contextmanager
def scores_of(
    task: Task,
    reward_model: TokenValues | None,
    tokens: Tokens,
    prompts: Sequence[Prompt],
    responses: Sequence[Response],
    *,
    batch_size: int,
) -> Iterator[Callable[[], list[float | None]]]:
    """Yields a function that returns what `score_responses` does.

    A rule reward may run programs or ask a server, so it is computed in a thread while the models do something else. A reward model would
    only take the cores away from the other models, so it is computed when it is asked for.
    """

    def compute() -> list[float | None]:
        return score_responses(task, reward_model, tokens, prompts, responses, batch_size=batch_size)

    if reward_model is not None:
        yield compute
        return
    with concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="task-reward") as thread:
        yield thread.submit(compute).result


def score_responses(
    task: Task,
    reward_model: TokenValues | None,
    tokens: Tokens,
    prompts: Sequence[Prompt],
    responses: Sequence[Response],
    *,
    batch_size: int,
) -> list[float | None]:
    """Returns one score a response: the reward model's at the last token, else the task's rule reward (None = unscored).

    Raises:
        TrainingError: A score is not finite, or the task returned another number of scores.
    """
    scores: list[float | None]
    if reward_model is not None:
        model = reward_model
        scores = in_micro_batches(lambda rows: last_token_scores(model, rows), tokens, size=batch_size).tolist()
    else:
        scores = list(task.score(prompts, responses))
    if len(scores) != len(responses):
        raise TrainingError(
            f"task reward: {len(scores)} scores for {len(responses)} responses; it must return one each."
        )
    for prompt, score in zip(prompts, scores, strict=True):
        if score is not None and not math.isfinite(score):
            raise TrainingError(
                f"score of the response to prompt '{prompt.id}' is {score}; it must be finite, or None where there is none."
            )
    return scores
