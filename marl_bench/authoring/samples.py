"""What a check looks at: the data as a run would use them, gold responses, and spoiled ones."""

import dataclasses
from collections.abc import Mapping, Sequence

from marl_bench.authoring.opened_task import OpenedTask
from marl_bench.records import Prompt, Response, TaskData
from marl_bench.task_data import load_data
from marl_bench.training.data import PreparedData, fit_data


@dataclasses.dataclass(frozen=True)
class CheckedData:
    """The data of a check.

    Attributes:
        loaded: As the task gives them.
        prepared: As a run uses them.
        prompts: Evaluation prompts that are scored and measured.
        gold: Their references as responses; only of those prompts that have one.
        spoiled: Name of a corruption to the spoiled responses, for the same prompts as `gold`.
    """

    loaded: TaskData
    prepared: PreparedData
    prompts: Sequence[Prompt]
    gold: Sequence[Response]
    spoiled: Mapping[str, Sequence[Response]]

    @property
    def gold_prompts(self) -> list[Prompt]:
        """Prompts of the gold responses, in their order."""
        named = {prompt.id: prompt for prompt in self.prompts}
        return [named[response.prompt_id] for response in self.gold]


def checked_data(opened: OpenedTask, *, samples: int) -> CheckedData:
    """Loads the data of a task and spoils its references; `samples` evaluation prompts are taken.

    Raises:
        DataError: The data cannot be loaded, or hold items of a wrong type.
    """
    loaded = load_data(opened.task, opened.config)
    prepared = fit_data(loaded, opened.config, opened.tokenizer)
    prompts = prepared.data.eval_prompts[:samples]
    gold = [_response(prompt, prompt.reference) for prompt in prompts if prompt.reference]
    return CheckedData(loaded, prepared, prompts, gold, _spoiled(gold))


def _spoiled(gold: Sequence[Response]) -> dict[str, list[Response]]:
    """Returns responses that no sensible metric takes for good ones."""

    def changed(texts: Sequence[str]) -> list[Response]:
        return [dataclasses.replace(one, text=text) for one, text in zip(gold, texts, strict=True)]

    texts = [response.text for response in gold]
    spoiled = {"empty": changed([""] * len(texts)), "words reversed": changed([_reversed(text) for text in texts])}
    if len(texts) > 1:
        spoiled["another prompt's reference"] = changed([*texts[1:], texts[0]])
    return spoiled


def _reversed(text: str) -> str:
    return " ".join(reversed(text.split()))


def _response(prompt: Prompt, text: str) -> Response:
    return Response(prompt.id, text, token_count=max(1, len(text.split())), finished=True)
