"""A task's data as training uses it: loaded, fitted to the model's limits, limited."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from marl_bench.config import RunConfig
from marl_bench.errors import DataError
from marl_bench.interfaces import Task
from marl_bench.models.chat import with_chat_template
from marl_bench.models.prompts import fit_prompts
from marl_bench.records import PreferencePair, Prompt, SftPair, TaskData
from marl_bench.run_dir import digest_of_json
from marl_bench.task_data import distinct_prompts, load_data

Item = TypeVar("Item", SftPair, PreferencePair, Prompt)


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """Data ready for all stages, and the digest of its texts and of what rewards and metrics read."""

    data: TaskData
    digest: str


def prepare_data(task: Task, config: RunConfig, tokenizer: Any) -> PreparedData:
    """Loads the task's data, renders prompts through the chat template if there is one, fits them to the token limit, applies `data.limit`.

    Raises:
        DataError: The data cannot be loaded, or a part is empty at the end.
    """
    return fit_data(load_data(task, config), config, tokenizer)


def fit_data(loaded: TaskData, config: RunConfig, tokenizer: Any) -> PreparedData:
    """Makes loaded data ready as `prepare_data` says; raises as it does."""
    if config.data.chat_template == "auto" and tokenizer.chat_template:
        loaded = with_chat_template(loaded, tokenizer)
    counts = dict(loaded.counts)

    def fitted(items: Sequence[Item], part: str) -> list[Item]:
        limited = list(items)[: config.data.limit]
        prompts = [item if isinstance(item, Prompt) else item.prompt for item in limited]
        # Positions stand in for ids, because a prompt may stand in several pairs.
        numbered = [dataclasses.replace(prompt, id=str(number)) for number, prompt in enumerate(prompts)]
        fit = fit_prompts(
            numbered,
            tokenizer,
            max_prompt_tokens=config.sampling.max_prompt_tokens,
            overlong=config.data.overlong_prompts,
        )
        counts[f"{part}_prompts_cut"], counts[f"{part}_prompts_dropped"] = fit.cut, fit.dropped
        kept = []
        for short in fit.prompts:
            number = int(short.id)
            prompt = dataclasses.replace(short, id=prompts[number].id)
            item = limited[number]
            kept.append(prompt if isinstance(item, Prompt) else dataclasses.replace(item, prompt=prompt))
        counts[part] = len(kept)
        return kept  # type: ignore[return-value]  # each item keeps its type

    data = dataclasses.replace(
        loaded,
        sft=fitted(loaded.sft, "sft"),
        preferences=fitted(loaded.preferences, "preferences"),
        rl_prompts=fitted(loaded.rl_prompts, "rl"),
        eval_prompts=fitted(distinct_prompts(loaded.eval_prompts, counts, task=config.task), "evaluation"),
        counts=counts,
    )
    limit = config.sampling.max_response_tokens
    counts["sft_responses_cut"] = _overlong((pair.response for pair in data.sft), tokenizer, limit=limit)
    texts = (text for pair in data.preferences for text in (pair.chosen, pair.rejected))
    counts["preference_responses_cut"] = _overlong(texts, tokenizer, limit=limit)
    parts = {"SFT": (data.sft, loaded.sft), "RL": (data.rl_prompts, loaded.rl_prompts)}
    for part, (items, before) in (parts | {"evaluation": (data.eval_prompts, loaded.eval_prompts)}).items():
        if not items:
            advice = (
                f"all {len(before)} are over the limit; raise sampling.max_prompt_tokens or set data.overlong_prompts=cut"
                if before
                else "the task gives none; are there enough rows for every stage?"
            )
            raise DataError(f"data '{config.data.source}': no {part} item is left: {advice}.")
    return PreparedData(data, _digest(data))


def _overlong(texts: Iterable[str], tokenizer: Any, *, limit: int) -> int:
    """Returns how many responses lose their end at the limit of response tokens, EOS included."""
    listed = list(texts)
    ids = tokenizer(listed, add_special_tokens=False)["input_ids"] if listed else []
    return sum(len(row) + 1 > limit for row in ids)


def _digest(data: TaskData) -> str:
    """Returns the digest of the data's texts and fields; raises `DataError` for fields that are no plain data."""
    for prompt in (*data.rl_prompts, *data.eval_prompts):
        try:
            json.dumps(dict(prompt.fields), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise DataError(f"prompt '{prompt.id}': fields are no plain data ({error}).") from error
    return digest_of_json(
        {
            "sft": [[pair.prompt.text, pair.response] for pair in data.sft],
            "preferences": [[pair.prompt.text, pair.chosen, pair.rejected] for pair in data.preferences],
            "rl": [[prompt.id, prompt.text, dict(prompt.fields)] for prompt in data.rl_prompts],
            "evaluation": [
                [prompt.id, prompt.text, prompt.reference, dict(prompt.fields)] for prompt in data.eval_prompts
            ],
        }
    )
