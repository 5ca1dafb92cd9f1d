"""Samples responses of a model made elsewhere, batch by batch, and keeps every batch."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from marl_bench.models.loading import load_policy, load_sampling_tokenizer
from marl_bench.models.responses import SampledResponses, batches_of_responses, sampling_settings
from marl_bench.models.sampling import ModelSampler, SamplingSettings
from marl_bench.outside.answers import Answer, AnswerFile, OutsideCell
from marl_bench.outside.plan import OutsidePlan
from marl_bench.outside.prompts import as_read
from marl_bench.run_dir import digest_of_json


def generate(plan: OutsidePlan, cell: OutsideCell, done: Callable[[int], None]) -> tuple[list[Answer], list[str]]:
    """Returns the model's answers to the evaluated prompts, and what a report must say of its prompts.

    What an earlier call has kept is not sampled again; a response depends on its seed and prompt, and on nothing that was sampled before.

    Args:
        plan: Prompts and settings.
        cell: The model, and where its answers are kept.
        done: Told how many responses are there.

    Raises:
        ModelError: The model cannot be loaded.
        DataError: No prompt fits it.
    """
    config, system = plan.config, cell.system
    tokenizer = load_sampling_tokenizer(system.target)
    read = as_read(plan.prompts, tokenizer, config)
    wanted = [(prompt, index) for prompt in read.prompts for index in range(config.evaluation.samples_per_prompt)]
    kept = AnswerFile(cell.folder, of=_identity(plan, cell, [prompt.text for prompt, _ in wanted]))
    done(len(kept.answers))
    rest = wanted[len(kept.answers) :]
    if rest:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        policy = load_policy(system.target, dtype=config.model.dtype).to(device)
        batches = batches_of_responses(
            ModelSampler(policy),
            tokenizer,
            [prompt for prompt, _ in rest],
            settings=_settings(plan, policy, tokenizer),
            batch_size=config.ppo.sample_batch_size,
            seed_parts=(cell.seed, "evaluation"),
            indices=[index for _, index in rest],
        )
        for batch in batches:
            kept.append(_answers(batch))
            done(len(kept.answers))
    return kept.answers, list(read.notes)


def _settings(plan: OutsidePlan, policy: Any, tokenizer: Any) -> SamplingSettings:
    """Returns the sampler's settings; an instruct model's end of turn ends its responses as well."""
    ends = getattr(getattr(policy, "generation_config", None), "eos_token_id", None)
    listed = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    settings = sampling_settings(plan.config.sampling, temperature=plan.config.evaluation.temperature)
    further = [end for end in listed if end != tokenizer.eos_token_id]
    return SamplingSettings(**{**vars(settings), "further_ends": further})


def _answers(batch: SampledResponses) -> list[Answer]:
    tokens = batch.samples.tokens
    sums = torch.where(tokens.response_mask, batch.samples.token_log_probs, 0).double().sum(dim=1).tolist()
    rows = zip(batch.responses, tokens.response_ids, tokens.response_mask, sums, strict=True)
    return [Answer(response, ids[mask].tolist(), total) for response, ids, mask, total in rows]


def _identity(plan: OutsidePlan, cell: OutsideCell, prompts: Sequence[str]) -> str:
    """Returns the digest of what decides the answers."""
    config = plan.config
    return digest_of_json(
        {
            "model": cell.digest,
            "seed": cell.seed,
            "prompts": list(prompts),
            "sampling": config.sampling.model_dump(mode="json"),
            "temperature": config.evaluation.temperature,
            "dtype": config.model.dtype,
            "batch": config.ppo.sample_batch_size,
        }
    )
