"""A task's data as the task loads them, with their types checked, before any model's limits. No torch."""

import dataclasses
import numbers
from collections.abc import Sequence
from pathlib import Path

from marl_bench.config import RunConfig
from marl_bench.errors import DataError, MarlBenchError
from marl_bench.interfaces import DataSource, Task
from marl_bench.records import PreferencePair, Prompt, SftPair, TaskData

_PARTS = {"sft": SftPair, "preferences": PreferencePair, "rl_prompts": Prompt, "eval_prompts": Prompt}


def data_source(config: RunConfig) -> DataSource:
    """Returns where the configuration's data come from.

    Raises:
        DataError: A local path that is no folder.
    """
    source = config.data.source
    if source in ("embedded", "hub"):
        return DataSource(kind=source, revision=config.data.revision, split=config.data.split)  # type: ignore[arg-type]  # narrowed by `in`
    path = Path(source).expanduser()
    if not path.is_dir():
        raise DataError(f"--data '{source}': is neither embedded nor hub nor a folder that exists.")
    return DataSource(kind="folder", path=path, split=config.data.split)


def load_data(task: Task, config: RunConfig) -> TaskData:
    """Returns what the task loads, with its types checked, since records and reports are made of them.

    Raises:
        DataError: Loading fails, or an item, a count or a subset has a wrong type.
    """
    where = f"task '{config.task}'"
    try:
        loaded = task.load(data_source(config), seed=config.data.seed)
    except MarlBenchError:
        raise
    except Exception as error:
        raise DataError(f"{where}: loading its data raised {type(error).__name__}: {error}.") from error
    for part, kind in _PARTS.items():
        items = getattr(loaded, part)
        wrong = [type(item).__name__ for item in items if not isinstance(item, kind)]
        if wrong:
            raise DataError(f"{where}, {part}: {len(wrong)} items are {wrong[0]}, should be {kind.__name__}.")
        for prompt in (item if isinstance(item, Prompt) else item.prompt for item in items):
            if not isinstance(prompt.subset, str):
                raise DataError(
                    f"{where}, {part}, prompt '{prompt.id}': subset is {prompt.subset!r}; should be a text."
                )
    for name, count in loaded.counts.items():
        if not isinstance(count, numbers.Integral):
            raise DataError(f"{where}: counts['{name}'] is {count!r}; should be a whole number.")
    counts = {str(name): int(count) for name, count in loaded.counts.items()}
    return dataclasses.replace(loaded, counts=counts, notes=[str(note) for note in loaded.notes])


def distinct_prompts(prompts: Sequence[Prompt], counts: dict[str, int], *, task: str) -> list[Prompt]:
    """Returns the evaluation prompts, each once, and counts those that stand there again; arms are paired by id.

    Raises:
        DataError: Two prompts have one id.
    """
    found: dict[str, Prompt] = {}
    for prompt in prompts:
        first = found.setdefault(prompt.id, prompt)
        if first.text != prompt.text:
            raise DataError(f"task '{task}': two evaluation prompts have the id '{prompt.id}'; ids must be distinct.")
    if len(found) < len(prompts):
        counts["evaluation_prompts_repeated"] = len(prompts) - len(found)
    return list(found.values())
