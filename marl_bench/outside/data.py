"""The evaluation prompts, whole and as the scoring models read them. No torch where nothing scores with a model."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from marl_bench.config import RunConfig
from marl_bench.errors import DataError
from marl_bench.interfaces import Task
from marl_bench.outside.request import Scorer
from marl_bench.records import Prompt, TaskData
from marl_bench.run_dir import digest_of_json
from marl_bench.task_data import distinct_prompts, load_data

if TYPE_CHECKING:
    from marl_bench.finished_run import FinishedRun


@dataclasses.dataclass(frozen=True)
class ReadPrompts:
    """Prompts as models read them.

    Attributes:
        prompts: The prompts.
        notes: What was cut or left out.
        digest: Of the data.
    """

    prompts: Sequence[Prompt]
    notes: Sequence[str]
    digest: str


def evaluation_prompts(
    task: Task, config: RunConfig, scorer: Scorer, run: "FinishedRun | None"
) -> tuple[TaskData, ReadPrompts]:
    """Returns the data as the task gives them, and the evaluation prompts as the scoring models read them.

    Raises:
        DataError: The data cannot be loaded, or no evaluation prompt is left.
    """
    loaded = load_data(task, config)
    counts = dict(loaded.counts)
    prompts = distinct_prompts(loaded.eval_prompts, counts, task=config.task)
    if not prompts:
        raise DataError(f"data '{config.data.source}': the task gives no evaluation prompt.")
    data = dataclasses.replace(loaded, eval_prompts=prompts, counts=counts)
    limited = prompts[: config.data.limit]
    if not scorer.fits_prompts or scorer.tokenizer is None:
        return data, ReadPrompts(limited, [], _digest(limited))
    from marl_bench.models.loading import load_tokenizer
    from marl_bench.outside.prompts import as_read

    tokenizer = load_tokenizer(scorer.tokenizer)
    if run is not None:
        from marl_bench.training.data import fit_data

        prepared = fit_data(loaded, config, tokenizer)
        return data, ReadPrompts(prepared.data.eval_prompts, [], prepared.digest)
    read = as_read(limited, tokenizer, config)
    digest = digest_of_json(
        [[prompt.id, prompt.text, prompt.reference, dict(prompt.fields)] for prompt in read.prompts]
    )
    return data, ReadPrompts(read.prompts, read.notes, digest)


def _digest(prompts: Sequence[Prompt]) -> str:
    return digest_of_json([[prompt.id, prompt.text, prompt.reference, dict(prompt.fields)] for prompt in prompts])
