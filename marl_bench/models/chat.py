"""Prompts as an instruct model reads them: through the chat template of its tokenizer."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from marl_bench.errors import DataError
from marl_bench.records import PreferencePair, Prompt, SftPair, TaskData


def with_chat_template(data: TaskData, tokenizer: Any) -> TaskData:
    """Returns the data with every prompt rendered as turns of a dialogue, and responses without the space that plain prompts need.

    Turns of one role in a row are joined, because many templates refuse them. A prompt that the template refuses all the same is left out and
    counted as `prompts_refused_by_chat_template`.

    Raises:
        DataError: The template refuses every prompt of a stage.
    """
    refused: list[str] = []

    def render(prompt: Prompt) -> Prompt | None:
        try:
            return rendered(prompt, tokenizer)
        except Exception as error:  # noqa: BLE001 (templates are programs, which raise errors of many kinds)
            refused.append(f"prompt '{prompt.id}': {str(error).strip() or type(error).__name__}")
            return None

    sft = [SftPair(prompt, pair.response.lstrip()) for pair in data.sft if (prompt := render(pair.prompt))]
    preferences = [
        PreferencePair(prompt, pair.chosen.lstrip(), pair.rejected.lstrip())
        for pair in data.preferences
        if (prompt := render(pair.prompt))
    ]
    rl, evaluation = (
        [prompt for each in prompts if (prompt := render(each))] for prompts in (data.rl_prompts, data.eval_prompts)
    )
    if refused and not (sft and rl and evaluation):
        raise DataError(f"chat template: refuses all prompts of a stage; {refused[0]}. Set data.chat_template=off.")
    counts, notes = dict(data.counts), list(data.notes)
    if refused:
        counts["prompts_refused_by_chat_template"] = len(refused)
        notes.append(f"The chat template refused {len(refused)} prompts; the first: {refused[0]}.")
    return dataclasses.replace(
        data,
        sft=sft,
        preferences=preferences,
        rl_prompts=rl,
        eval_prompts=evaluation,
        counts=counts,
        notes=notes,
    )


def joined_turns(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Returns the turns with those of one role in a row made one."""
    turns: list[dict[str, str]] = []
    for message in messages:
        if turns and turns[-1]["role"] == message["role"]:
            turns[-1]["content"] += f"\n\n{message['content']}"
        else:
            turns.append(dict(message))
    return turns


def rendered(prompt: Prompt, tokenizer: Any) -> Prompt:
    """Returns a prompt as turns of a dialogue, ready for the response; a template may raise errors of any kind."""
    turns = joined_turns(prompt.messages or [{"role": "user", "content": prompt.text.strip()}])
    text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    bos = tokenizer.bos_token
    if bos and text.startswith(bos) and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]:
        text = text.removeprefix(bos)  # the tokenizer adds it again
    return dataclasses.replace(prompt, text=text, cuttable=_moved(prompt, text), messages=turns, plain_text=prompt.text)


def _moved(prompt: Prompt, text: str) -> tuple[int, int] | None:
    """Returns where the cuttable span stands in the rendered text, or None if it is not there as it was."""
    if prompt.cuttable is None:
        return None
    span = prompt.text[slice(*prompt.cuttable)].strip()
    start = text.find(span) if span else -1
    return (start, start + len(span)) if start >= 0 else None
