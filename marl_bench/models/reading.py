"""Rollouts of responses that exist already: nothing is sampled, the models only read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from marl_bench.batches import Rollout, Tokens
from marl_bench.models.offsets import response_offsets
from marl_bench.models.prompts import encode_prompts
from marl_bench.models.sampling import row_seed
from marl_bench.models.scoring import in_micro_batches, response_log_probs
from marl_bench.records import EvalSample, Prompt

if TYPE_CHECKING:
    from marl_bench.models.actors import Actors


def read_responses(
    actors: "Actors", samples: Sequence[EvalSample], *, temperature: float, needs: frozenset[str], batch_size: int
) -> Rollout:
    """Returns the samples as the rollout that a termination rule reads; only what it needs is computed.

    A text is encoded again, so its tokens may be others than those that were sampled where one text has several encodings; one that finished
    gets its EOS back.

    Args:
        actors: The models; the critic may be None if no value is needed.
        samples: Prompts with their responses.
        temperature: Of the log-probs and entropies.
        needs: What the termination rules read.
        batch_size: Responses a forward pass.
    """
    size = actors.score_batch(batch_size)
    tokens = encode_samples(samples, actors.tokenizer, device=actors.policy.device)
    rows = [row[mask].tolist() for row, mask in zip(tokens.response_ids, tokens.response_mask, strict=True)]
    texts = actors.tokenizer.batch_decode(rows, skip_special_tokens=True)
    absent = torch.zeros(tokens.response_mask.shape, device=tokens.response_ids.device)

    def log_probs(model: Any) -> torch.Tensor:
        return in_micro_batches(
            lambda part: response_log_probs(model, part, temperature=temperature).token_log_probs,
            tokens,
            size=size,
        )

    def entropies(part: Tokens) -> torch.Tensor:
        found = response_log_probs(actors.policy, part, temperature=temperature, entropies=True).token_entropies
        assert found is not None  # asked for
        return found

    values, critic = absent, actors.critic
    if critic is not None and "values" in needs:
        values = in_micro_batches(lambda part: critic(part, ahead=True), tokens, size=size)
    return Rollout(
        tokens=tokens,
        token_log_probs=log_probs(actors.policy) if "logprobs" in needs else absent,
        token_ref_log_probs=log_probs(actors.reference) if "ref_logprobs" in needs else absent,
        token_values=values,
        row_seeds=[row_seed(sample.prompt_id, sample.response.sample_index) for sample in samples],
        texts=texts,
        token_entropies=in_micro_batches(entropies, tokens, size=size) if "entropies" in needs else None,
        token_offsets=response_offsets(tokens, texts, actors.tokenizer) if "offsets" in needs else None,
    )


def encode_samples(samples: Sequence[EvalSample], tokenizer: Any, *, device: torch.device) -> Tokens:
    """Returns prompts and responses as token ids; a response that finished ends with EOS."""
    prompts = [Prompt(sample.prompt_id, sample.prompt) for sample in samples]
    prompt_ids, prompt_mask = encode_prompts(prompts, tokenizer)
    ended = [sample.response.finished is not False for sample in samples]  # a text that does not say has ended
    rows = [
        [*tokenizer(sample.response.text, add_special_tokens=False)["input_ids"], *[tokenizer.eos_token_id] * end]
        for sample, end in zip(samples, ended, strict=True)
    ]
    width = max(1, *map(len, rows))  # transformers takes no column to mean all of them
    ids = torch.tensor([[*row, *[tokenizer.pad_token_id] * (width - len(row))] for row in rows], dtype=torch.int64)
    mask = torch.arange(width) < torch.tensor([len(row) for row in rows]).unsqueeze(1)
    finished = torch.tensor(ended)
    return Tokens(*(tensor.to(device) for tensor in (prompt_ids, prompt_mask, ids, mask, finished)))
