"""The four parts of a task's data under one look: items with a prompt and, where there is one, a response."""

from collections.abc import Mapping, Sequence

from marl_bench.records import Prompt, TaskData
from marl_bench.run_dir import digest_of_json

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


def digest_of_data(data: TaskData) -> str:
    """Returns the SHA-256 of all that a task loads, in its order, as 64 hexadecimal digits."""
    items = {
        stage: [
            [prompt.id, prompt.text, prompt.reference, prompt.subset, dict(prompt.fields), *texts]
            for prompt, texts in items
        ]
        for stage, items in stages_of(data).items()
    }
    return digest_of_json([items, dict(data.counts)])


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
