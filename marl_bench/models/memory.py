"""Makes the models of a cell use less memory, as configured, after a look whether they still compute the same."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from marl_bench.batches import Tokens
from marl_bench.config import MemoryConfig
from marl_bench.errors import ModelError
from marl_bench.models.actors import Actors
from marl_bench.models.checkpointing import checkpoint_activations
from marl_bench.models.forward import PLAIN, ForwardPlan, set_forward_plan
from marl_bench.models.offload import Offload
from marl_bench.models.rewards import ClassifierReward, TokenReward
from marl_bench.models.scoring import TokenValues, response_log_probs
from marl_bench.score_parts import Reward

_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""Mean difference in nats, or in units of the score, between two ways of one model on the rows that are looked at."""


def with_memory(actors: Actors, memory: MemoryConfig) -> Actors:
    """Returns the models with the memory options on; with the defaults they are left as they are.

    Raises:
        ModelError: A model cannot do what is asked for, or would compute something else.
    """
    if memory.model_copy(update={"shard": False}) == MemoryConfig():  # dividing models is up to the run
        return actors
    notes = []
    for name, policy in (("the policy", actors.policy), ("the reference", actors.reference)):
        notes += _plan_policy(policy, memory, name=name)
    heads = list(_token_values(actors))
    for head in heads:
        _plan_values(head, memory)
    if memory.gradient_checkpointing:
        _checkpoint(actors.policy, lambda: _log_probs_of(actors.policy), name="the policy")
        if actors.critic is not None:
            critic = actors.critic
            _checkpoint(critic.classifier, lambda: _values_of(critic), name="the critic")
    waiting = _waiting_models(actors, heads) if memory.offload else []
    return dataclasses.replace(
        actors,
        reward=_with_budget(actors.reward, memory),
        memory=memory,
        notes=tuple(dict.fromkeys(notes)),
        offload=Offload(waiting, actors.policy.device) if memory.offload else None,
    )


def _plan_policy(policy: Any, memory: MemoryConfig, *, name: str) -> list[str]:
    """Sets the plan of a causal LM; returns what could not be had."""
    notes = []
    plan = _row_plan(memory)
    if plan.rows == "packed":
        _require_packing(policy, plan, lambda: _log_probs_of(policy), name=name)
    elif plan != PLAIN:
        reason = _difference(policy, PLAIN, plan, lambda: _log_probs_of(policy))
        plan = plan if reason is None else PLAIN
        if reason is not None:
            notes.append(
                f"memory: {type(policy).__name__} does not read joined rows ({reason}), so there is more padding within the limits on tokens."
            )
    if memory.logits_chunk_tokens is not None:
        chunked = dataclasses.replace(plan, logits_chunk_tokens=memory.logits_chunk_tokens)
        reason = _difference(policy, plan, chunked, lambda: _log_probs_of(policy))
        plan = chunked if reason is None else plan
        if reason is not None:
            notes.append(
                f"memory.logits_chunk_tokens: {type(policy).__name__} does not give the same log-probs chunk by chunk ({reason}), so all "
                "logits of a micro-batch are made at once; use smaller micro-batches."
            )
    set_forward_plan(policy, plan)
    return notes


def _row_plan(memory: MemoryConfig) -> ForwardPlan:
    if memory.packing:
        return ForwardPlan("packed")
    limited = memory.micro_batch_tokens is not None or memory.score_batch_tokens is not None
    return ForwardPlan("joined" if limited else "aligned")


def _plan_values(values: TokenValues, memory: MemoryConfig) -> None:
    plan = _row_plan(memory)
    if plan.rows == "packed":
        _require_packing(values.classifier, plan, lambda: _values_of(values), name="the critic or reward model")
    elif _difference(values.classifier, PLAIN, plan, lambda: _values_of(values)) is None:
        set_forward_plan(values.classifier, plan)


def _require_packing(model: Any, plan: ForwardPlan, compute: Callable[[], torch.Tensor], *, name: str) -> None:
    reason = _difference(model, PLAIN, plan, compute)
    if reason is not None:
        raise ModelError(
            f"memory.packing: {name} ({type(model).__name__}) does not keep packed rows apart ({reason}); set memory.packing to false."
        )
    set_forward_plan(model, plan)


def _checkpoint(model: Any, compute: Callable[[], torch.Tensor], *, name: str) -> None:
    before = compute()
    checkpoint_activations(model, name=name)
    if not torch.equal(before, compute()):
        raise ModelError(
            f"memory.gradient_checkpointing: {name} ({type(model).__name__}) computes something else in training mode, such as dropout; "
            "set its dropout to 0 in its config.json, or memory.gradient_checkpointing to false."
        )


def _difference(model: Any, known: ForwardPlan, new: ForwardPlan, compute: Callable[[], torch.Tensor]) -> str | None:
    """Returns how two plans differ on a few rows, or None if they agree up to rounding; the first one stays set."""
    set_forward_plan(model, known)
    expected = compute()
    set_forward_plan(model, new)
    try:
        found = compute()
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, NotImplementedError) as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
    finally:
        set_forward_plan(model, known)
    mean = float((found - expected).abs().mean())
    allowed = _TOLERANCE.get(next(model.parameters()).dtype, _TOLERANCE[torch.bfloat16])
    # Written so that NaN fails the comparison too.
    return None if mean <= allowed else f"on a few rows they differ by {mean:.2g} in the mean"


@torch.no_grad()
def _log_probs_of(policy: Any) -> torch.Tensor:
    return response_log_probs(policy, _few_rows(policy), temperature=1.0).token_log_probs


@torch.no_grad()
def _values_of(values: TokenValues) -> torch.Tensor:
    rows = _few_rows(values.classifier)
    ahead: torch.Tensor = values(rows, ahead=True)
    return torch.where(rows.response_mask, torch.cat([ahead, values(rows, ahead=False)]).view(2, *ahead.shape), 0)


def _few_rows(model: Any) -> Tokens:
    """Returns three rows of different lengths with tokens from all over the vocabulary."""
    prompts, responses = torch.tensor([5, 2, 9]), torch.tensor([4, 8, 1])
    left, right = int(prompts.max()), int(responses.max())
    count = 3 * (left + right)
    vocabulary = int(model.config.get_text_config().vocab_size)
    ids = (torch.arange(count) * 7919 % vocabulary).view(3, left + right)
    rows = Tokens(
        prompt_ids=ids[:, :left],
        prompt_mask=torch.arange(left) >= left - prompts.unsqueeze(1),
        response_ids=ids[:, left:],
        response_mask=torch.arange(right) < responses.unsqueeze(1),
        finished=torch.ones(3, dtype=torch.bool),
    )
    return Tokens(**{field.name: getattr(rows, field.name).to(model.device) for field in dataclasses.fields(rows)})


def _token_values(actors: Actors) -> Iterator[TokenValues]:
    if actors.critic is not None:
        yield actors.critic
    for part in actors.reward.parts:
        if isinstance(part.function, TokenReward):
            yield part.function.model


def _waiting_models(actors: Actors, heads: Sequence[TokenValues]) -> list[nn.Module]:
    """Returns the models that may wait: all but the policy, and but those that stand on its weights."""
    classifiers = [part.function.model for part in actors.reward.parts if isinstance(part.function, ClassifierReward)]
    kept = {id(weight) for weight in actors.policy.parameters()}
    models: list[nn.Module] = [actors.reference, *heads, *classifiers]
    return [model for model in models if not any(id(weight) in kept for weight in model.parameters())]


def _with_budget(reward: Reward, memory: MemoryConfig) -> Reward:
    parts = [
        dataclasses.replace(
            part,
            function=dataclasses.replace(
                part.function, tokens=memory.score_batch_tokens, rows_are=_row_plan(memory).rows
            ),
        )
        if isinstance(part.function, TokenReward)
        else part
        for part in reward.parts
    ]
    return dataclasses.replace(reward, parts=parts)
