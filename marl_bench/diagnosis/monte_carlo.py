"""Monte-Carlo values of states inside responses: what continuations of the policy are worth, from there to the end."""

import dataclasses
from collections.abc import Iterator, Sequence

import torch

from marl_bench.batches import Rollout, TokenRewards, Tokens
from marl_bench.config import PpoConfig, SamplingConfig
from marl_bench.errors import TrainingError
from marl_bench.interfaces import Task
from marl_bench.macro.smdp import macro_rewards
from marl_bench.macro.termination import EveryNTokens
from marl_bench.models.actors import Actors
from marl_bench.models.responses import log_prob_temperature, sampling_settings
from marl_bench.models.sampling import row_seed
from marl_bench.models.scoring import in_micro_batches, response_log_probs
from marl_bench.records import Prompt, Response
from marl_bench.score_parts import ToScore
from marl_bench.training.experience import token_rewards


@dataclasses.dataclass(frozen=True)
class Objective:
    """What a response is worth: the reward that training maximises.

    Attributes:
        actors: Policy, reference, reward model.
        task: Gives rule rewards where there is no reward model.
        sampling: How responses are drawn.
        ppo: Shaping of the score, discount, batch sizes.
        kl_coef: Coefficient of the KL as it stood at the end of training.
        score_std: Spread of the scores over SFT samples.
    """

    actors: Actors
    task: Task
    sampling: SamplingConfig
    ppo: PpoConfig
    kl_coef: float
    score_std: float

    def rewards(self, rollout: Rollout, scores: torch.Tensor) -> TokenRewards:
        """Returns the token rewards of a rollout."""
        return token_rewards(rollout, scores, ppo=self.ppo, kl_coef=self.kl_coef, score_std=self.score_std)


@dataclasses.dataclass(frozen=True)
class StateValues:
    """Monte-Carlo values of the states before tokens; column t is the state before token t, column T the end.

    Attributes:
        values: [B, T + 1] float64, NaN where none was sampled; 0 behind a response's last token.
        variances: [B, T + 1] float64, sampling variance of each value; 0 behind a response's last token.
        continuations: How many were sampled.
    """

    values: torch.Tensor
    variances: torch.Tensor
    continuations: int


@dataclasses.dataclass(frozen=True)
class _Start:
    """A continuation to sample: of a row, from a token on, which of the continuations there."""

    row: int
    token: int
    index: int


def state_values(
    objective: Objective,
    rollout: Rollout,
    prompts: Sequence[Prompt],
    wanted: torch.Tensor,
    *,
    continuations: int,
    seed: int,
) -> StateValues:
    """Returns the mean return of `continuations` responses that the policy completes from each wanted state.

    The return is the discounted sum of KL rewards and score from that state on, as in training. A continuation draws from a generator of its
    own, so its value depends on the seed and its state, not on what else is sampled (up to the rounding of the forward pass).

    Args:
        objective: What a response is worth.
        rollout: The responses.
        prompts: Their prompts.
        wanted: [B, T] bool, the states before which tokens.
        continuations: K, at least 2.
        seed: Of the continuations.

    Raises:
        TrainingError: A score is not finite, or a state has fewer than two scored continuations.
    """
    mask = rollout.tokens.response_mask
    starts = [
        _Start(row, token, index)
        for row, token in sorted((wanted & mask).nonzero().tolist(), key=lambda place: place[1])
        for index in range(continuations)
    ]
    shape = (mask.shape[0], mask.shape[1] + 1)
    counts, sums, squares = (torch.zeros(shape, dtype=torch.float64) for _ in range(3))
    size = objective.ppo.sample_batch_size
    for first in range(0, len(starts), size):
        chunk = starts[first : first + size]
        for start, worth in _returns(objective, rollout, prompts, chunk, seed=seed):
            place = (start.row, start.token)
            counts[place] += 1
            sums[place] += worth
            squares[place] += worth * worth
    sampled = torch.zeros(shape, dtype=torch.bool)
    sampled[:, :-1] = (wanted & mask).cpu()
    if bool((counts[sampled] < 2).any()):
        raise TrainingError("diagnose: a state has fewer than two continuations with a score; raise --continuations.")
    means = torch.where(sampled, sums / counts, torch.nan)
    # The variance of a mean, from the unbiased variance of what it is the mean of.
    variances = torch.where(sampled, (squares / counts - means.square()).clamp(min=0) / (counts - 1), torch.nan)
    ends = mask.sum(dim=1, keepdim=True).cpu()
    return StateValues(means.scatter(1, ends, 0.0), variances.scatter(1, ends, 0.0), len(starts))


def _returns(
    objective: Objective, rollout: Rollout, prompts: Sequence[Prompt], chunk: Sequence[_Start], *, seed: int
) -> Iterator[tuple[_Start, float]]:
    """Yields each continuation with its return; those without a score are left out."""
    actors, sampling, ppo = objective.actors, objective.sampling, objective.ppo
    tokens, log_probs = _sample(objective, rollout, prompts, chunk, seed=seed)
    scores = actors.reward.scores(
        ToScore(
            objective.task,
            [prompts[start.row] for start in chunk],
            _responses(tokens, rollout, prompts, chunk, actors),
            tokens,
            ppo.score_batch_size,
        )
    )
    temperature = log_prob_temperature(sampling)
    reference = in_micro_batches(
        lambda rows: response_log_probs(actors.reference, rows, temperature=temperature).token_log_probs,
        tokens,
        size=actors.score_batch(ppo.score_batch_size),
    )
    texts = [""] * len(chunk)
    continued = Rollout(tokens, log_probs, reference, torch.zeros_like(log_probs), [0] * len(chunk), texts)
    known = torch.tensor([0.0 if score is None else score for score in scores], device=log_probs.device)
    rewards = objective.rewards(continued, known)
    whole = EveryNTokens(float("inf")).segment(continued)
    returns = macro_rewards(rewards.token_kl_rewards, rewards.scores, whole, reduction="sum", gamma=ppo.gamma)[:, 0]
    for start, score, worth in zip(chunk, scores, returns.tolist(), strict=True):
        if score is not None:
            yield start, worth


def _sample(
    objective: Objective, rollout: Rollout, prompts: Sequence[Prompt], chunk: Sequence[_Start], *, seed: int
) -> tuple[Tokens, torch.Tensor]:
    """Returns the continuations behind prompt and beginning of response, and their log-probs, [B, T]."""
    given, tokenizer, device = rollout.tokens, objective.actors.tokenizer, rollout.tokens.response_ids.device
    prefixes = [
        torch.cat(
            [given.prompt_ids[start.row][given.prompt_mask[start.row]], given.response_ids[start.row, : start.token]]
        )
        for start in chunk
    ]
    width = max(len(prefix) for prefix in prefixes)
    ids = torch.full((len(chunk), width), tokenizer.pad_token_id, dtype=torch.long, device=device)
    for row, prefix in enumerate(prefixes):
        ids[row, width - len(prefix) :] = prefix
    lengths = torch.tensor([len(prefix) for prefix in prefixes], device=device)
    limits = objective.sampling.max_response_tokens - torch.tensor([start.token for start in chunk], device=device)
    settings = dataclasses.replace(sampling_settings(objective.sampling), max_response_tokens=int(limits.max()))
    samples = objective.actors.sampler.sample(
        ids,
        torch.arange(width, device=device) >= (width - lengths).unsqueeze(1),
        [row_seed(seed, "diagnose", prompts[start.row].id, start.token, start.index) for start in chunk],
        settings=settings,
        eos_id=tokenizer.eos_token_id,
        pad_id=tokenizer.pad_token_id,
    )
    # All rows of a batch are sampled up to the longest limit; what is over a row's own is cut off.
    mask = samples.tokens.response_mask
    within = mask & (torch.arange(mask.shape[1], device=device) < limits.unsqueeze(1))
    finished = samples.tokens.finished & (mask.sum(dim=1) <= limits)
    tokens = dataclasses.replace(samples.tokens, response_mask=within, finished=finished)
    return tokens, torch.where(within, samples.token_log_probs, 0)


def _responses(
    tokens: Tokens, rollout: Rollout, prompts: Sequence[Prompt], chunk: Sequence[_Start], actors: Actors
) -> list[Response]:
    """Returns whole responses, beginning and continuation, as text records."""
    rows = [
        [*rollout.tokens.response_ids[start.row, : start.token].tolist(), *continued[mask].tolist()]
        for start, continued, mask in zip(chunk, tokens.response_ids, tokens.response_mask, strict=True)
    ]
    texts = actors.tokenizer.batch_decode(rows, skip_special_tokens=True)
    finished = tokens.finished.tolist()
    return [
        Response(prompts[start.row].id, text, len(row), ended, start.index)
        for start, text, row, ended in zip(chunk, texts, rows, finished, strict=True)
    ]
