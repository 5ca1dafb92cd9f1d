"""The four parts of a task's data under one look: items with a prompt and, where there is one, a response."""

from collections.abc import Mapping, Sequence

from marl_bench.records import Prompt, TaskData

Item = tuple[Prompt, tuple[str, ...]]
"""A prompt with the responses that stand beside it."""


def stages_of(data: TaskData) -> Mapping[str, Sequence[Item]]:
    """Returns stage name to its items: SFT pairs, preference pairs (preferred first), RL prompts, evaluation prompts."""
    return {
        "sft": [(pair.prompt, (pair.response,)) for pair in data.sft],
        "preferences": [(pair.prompt, (pair.chosen, pair.rejected)) for pair in data.preferences],
        "rl": [(prompt, ()) for prompt in data.rl_prompts],
        "evaluation": [(prompt, ()) for prompt in data.eval_prompts],
    }


def leaks(data: TaskData) -> dict[str, list[str]]:
    """Returns, for each pair of stages with prompts in common, the ids of these prompts in the first stage."""
    stages = {name: {prompt.text: prompt.id for prompt, _ in items} for name, items in stages_of(data).items()}
    names = list(stages)
    found = {}
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            common = stages[first].keys() & stages[second].keys()
            if common:
                found[f"{first} and {second}"] = sorted(stages[first][text] for text in common)
    return found
