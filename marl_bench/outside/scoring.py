"""Scores answers with the task's reward model, classifiers and the reference model of the KL."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from marl_bench.batches import Tokens
from marl_bench.evaluation.results import ScoredResponses
from marl_bench.models.loading import load_policy, load_sampling_tokenizer, load_tokenizer
from marl_bench.models.prompts import encode_prompts, encode_response
from marl_bench.models.responses import log_prob_temperature
from marl_bench.models.rewards import load_own_model, make_reward
from marl_bench.models.scoring import in_micro_batches, response_log_probs
from marl_bench.outside.answers import Answer
from marl_bench.outside.plan import OutsidePlan
from marl_bench.outside.systems import System
from marl_bench.records import Prompt, Response
from marl_bench.reward_sources import parse_reward_sources
from marl_bench.score_parts import ToScore


def counted_tokens(plan: OutsidePlan, responses: Sequence[Response]) -> list[int]:
    """Returns the tokens of each text, EOS included unless it is known to be cut."""
    tokenizer = load_sampling_tokenizer(str(plan.scorer.tokenizer))
    rows = tokenizer([response.text for response in responses], add_special_tokens=False)["input_ids"]
    return [len(row) + (response.finished is not False) for row, response in zip(rows, responses, strict=True)]


def shares_tokens(plan: OutsidePlan, system: System) -> bool:
    """Returns whether a model's tokens are those of the scoring models."""
    if system.kind != "model" or plan.scorer.tokenizer is None or not plan.scorer.fits_prompts:
        return False
    theirs = load_sampling_tokenizer(system.target)
    return bool(theirs.get_vocab() == load_tokenizer(plan.scorer.tokenizer).get_vocab())


def scored_by_models(
    plan: OutsidePlan, prompts: Sequence[Prompt], answers: Sequence[Answer], *, same_tokens: bool
) -> tuple[ScoredResponses, list[str]]:
    """Returns score and KL of answers, and what a report must say of them.

    Args:
        plan: The models that score.
        prompts: One an answer, as the scoring models read them.
        answers: The answers.
        same_tokens: Whether the answers' tokens are those of the scoring models; else the texts are encoded again.

    Raises:
        TrainingError: A score is not finite.
        ModelError: A model cannot be loaded.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype, size, scorer = plan.config.model.dtype, plan.config.ppo.score_batch_size, plan.scorer
    responses = [_joined(prompt, answer.response) for prompt, answer in zip(prompts, answers, strict=True)]
    tokens, notes = None, []
    if scorer.fits_prompts:
        tokenizer = load_tokenizer(str(scorer.tokenizer))
        tokens, cut = _tokens(plan, tokenizer, prompts, responses, answers if same_tokens else None, device=device)
        if cut and scorer.reward_model is not None:
            limit = plan.config.sampling.max_response_tokens
            notes.append(
                f"{cut} of {len(answers)} responses are longer than {limit} tokens and were scored without their end."
            )
    own = None
    if scorer.reward_model is not None:
        tokenizer = load_tokenizer(str(scorer.tokenizer))
        own = load_own_model(Path(scorer.reward_model), tokenizer, dtype=dtype, device=device)
    score, parts = None, {}
    if plan.has_score:
        reward = make_reward(
            parse_reward_sources(plan.config.reward.sources), reward_model=own, dtype=dtype, device=device
        )
        parts = reward.scores_by_part(ToScore(plan.task, prompts, responses, tokens, size))
        score = reward.total(list(parts.values()))
    kl: Sequence[float | None] = [None] * len(answers)
    if same_tokens and scorer.reference is not None and tokens is not None:
        kl = _kl(plan, tokens, answers, device=device)
    return ScoredResponses(score, parts, kl), notes


def _kl(plan: OutsidePlan, tokens: Tokens, answers: Sequence[Answer], *, device: torch.device) -> list[float | None]:
    """Returns log p - log p_ref in nats, summed over each response."""
    config = plan.config
    reference = load_policy(str(plan.scorer.reference), dtype=config.model.dtype).to(device)
    temperature = log_prob_temperature(config.sampling)
    found = in_micro_batches(
        lambda rows: response_log_probs(reference, rows, temperature=temperature).token_log_probs,
        tokens,
        size=config.ppo.score_batch_size,
    )
    sums = torch.where(tokens.response_mask, found, 0).double().sum(dim=1).tolist()
    return [
        None if answer.log_prob is None else answer.log_prob - known
        for answer, known in zip(answers, sums, strict=True)
    ]


def _joined(prompt: Prompt, response: Response) -> Response:
    """Returns the response as it follows its prompt: plain prompts end without the space that tokenizers put before a word."""
    text = response.text
    apart = prompt.plain_text is not None or prompt.text[-1:].isspace() or not text or text[0].isspace()
    return response if apart else dataclasses.replace(response, text=f" {text}")


def _tokens(
    plan: OutsidePlan,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    responses: Sequence[Response],
    answers: Sequence[Answer] | None,
    *,
    device: torch.device,
) -> tuple[Tokens, int]:
    """Returns prompts and responses as token ids, and how many texts were cut to the limit of responses."""
    limit = plan.config.sampling.max_response_tokens
    if answers is not None:
        rows = [list(answer.token_ids or ()) for answer in answers]
        finished = [answer.response.finished is not False for answer in answers]
        cut = 0
    else:
        whole = [encode_response(response.text, tokenizer, max_response_tokens=10**9) for response in responses]
        whole = [row if each.finished is not False else row[:-1] for row, each in zip(whole, responses, strict=True)]
        rows = [row[:limit] for row in whole]
        finished = [row[-1:] == [tokenizer.eos_token_id] for row in rows]
        cut = sum(len(row) - (row[-1:] == [tokenizer.eos_token_id]) > limit for row in whole)
    prompt_ids, prompt_mask = encode_prompts(prompts, tokenizer)
    width = max(1, *map(len, rows))  # transformers takes no column to mean all of them
    ids = torch.tensor([[*row, *[tokenizer.pad_token_id] * (width - len(row))] for row in rows], dtype=torch.int64)
    mask = torch.arange(width) < torch.tensor([len(row) for row in rows]).unsqueeze(1)
    found = Tokens(prompt_ids, prompt_mask, ids, mask, torch.tensor(finished))
    return Tokens(*(getattr(found, name).to(device) for name in vars(found))), cut
