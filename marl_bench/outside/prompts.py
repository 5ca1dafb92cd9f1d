"""Evaluation prompts as a model made elsewhere reads them: through its own chat template, within its own limit."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from marl_bench.config import RunConfig
from marl_bench.errors import DataError
from marl_bench.models.chat import rendered
from marl_bench.models.prompts import fit_prompts
from marl_bench.records import Prompt


@dataclasses.dataclass(frozen=True)
class FittedForModel:
    """Prompts that a model can read.

    Attributes:
        prompts: Those that fit, rendered and cut.
        notes: What was cut or left out, as sentences.
    """

    prompts: Sequence[Prompt]
    notes: Sequence[str]


def as_read(prompts: Sequence[Prompt], tokenizer: Any, config: RunConfig) -> FittedForModel:
    """Returns the prompts as a model with this tokenizer reads them.

    Raises:
        DataError: None is left.
    """
    refused: list[str] = []
    shown: list[Prompt] = []
    for prompt in prompts:
        try:
            shown.append(rendered(prompt, tokenizer) if _has_template(tokenizer, config) else prompt)
        except Exception as error:  # noqa: BLE001 (templates are programs, which raise errors of many kinds)
            refused.append(f"prompt '{prompt.id}': {str(error).strip() or type(error).__name__}")
    limit = config.sampling.max_prompt_tokens
    fit = fit_prompts(shown, tokenizer, max_prompt_tokens=limit, overlong=config.data.overlong_prompts)
    notes = []
    if refused:
        notes.append(f"The chat template refused {len(refused)} prompts; the first: {refused[0]}.")
    if fit.cut:
        notes.append(f"{fit.cut} of {len(prompts)} prompts were cut to sampling.max_prompt_tokens={limit} tokens.")
    if fit.dropped:
        notes.append(
            f"{fit.dropped} of {len(prompts)} prompts are over sampling.max_prompt_tokens={limit} tokens and were left out."
        )
    if not fit.prompts:
        raise DataError(f"evaluation: no prompt is left of {len(prompts)}. {' '.join(notes)}")
    return FittedForModel(fit.prompts, notes)


def _has_template(tokenizer: Any, config: RunConfig) -> bool:
    return config.data.chat_template == "auto" and bool(tokenizer.chat_template)
