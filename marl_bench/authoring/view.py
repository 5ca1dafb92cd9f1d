"""What `marl-bench task inspect` shows of a task's data."""

import dataclasses
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from marl_bench.authoring.opened_task import OpenedTask
from marl_bench.authoring.stages import Item, leaks, stages_of
from marl_bench.models.prompts import encode_response
from marl_bench.planning import Rule
from marl_bench.plugins import Registry
from marl_bench.records import EvalSample, Prompt, Response, TaskData
from marl_bench.reporting.tables import Table
from marl_bench.rules.segments import SegmentView, view_samples
from marl_bench.task_data import load_data
from marl_bench.training.data import fit_data


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Lengths of texts in tokens; None where there is no text."""

    median: float | None
    high: int | None
    longest: int | None


@dataclasses.dataclass(frozen=True)
class StageView:
    """One stage of the data.

    Attributes:
        items: Items that a run uses.
        prompts: Distinct prompts among them.
        prompt_tokens: Lengths of the prompts as loaded, before anything is cut.
        response_tokens: Lengths of the responses, EOS included.
        prompts_cut: Prompts that are shortened to the limit.
        prompts_dropped: Prompts that are left out.
        responses_cut: Responses that lose their end.
        repeated_prompts: Prompts that stand in several items.
        repeated_items: Items of which all texts stand there before.
    """

    items: int
    prompts: int
    prompt_tokens: Lengths
    response_tokens: Lengths
    prompts_cut: int
    prompts_dropped: int
    responses_cut: int
    repeated_prompts: int
    repeated_items: int


@dataclasses.dataclass(frozen=True)
class RowView:
    """One item with its texts and tokens."""

    stage: str
    id: str
    subset: str
    prompt: str
    prompt_ids: Sequence[int]
    responses: Sequence[str]
    response_ids: Sequence[Sequence[int]]
    reference: str | None


@dataclasses.dataclass(frozen=True)
class TaskView:
    """A task's data under one look.

    Attributes:
        task: Id and version.
        digest: Digest of the data as a run uses them.
        stages: Stage name to its figures.
        rows: The first items of each stage.
        cuts: SFT responses as termination rules cut them.
        leaks: Pair of stages to the ids of the prompts that stand in both.
        counts: What the task counted.
        notes: What the task has to say of its data.
    """

    task: str
    digest: str
    stages: Mapping[str, StageView]
    rows: Sequence[RowView]
    cuts: SegmentView
    leaks: Mapping[str, Sequence[str]]
    counts: Mapping[str, int]
    notes: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Returns plain data."""
        found = dataclasses.asdict(self)
        found["cuts"] = [dataclasses.asdict(response) for response in self.cuts.responses]
        return found


def inspect_task(opened: OpenedTask, rules: Sequence[Rule], registry: Registry, *, rows: int) -> TaskView:
    """Looks at a task's data.

    Args:
        opened: The task.
        rules: Termination rules whose cuts are shown.
        registry: The plugins.
        rows: How many items of each stage are shown.

    Raises:
        DataError: The data cannot be loaded.
    """
    loaded = load_data(opened.task, opened.config)
    prepared = fit_data(loaded, opened.config, opened.tokenizer)
    stages = stages_of(prepared.data)
    return TaskView(
        task=f"{opened.spec.id} (version {opened.spec.version})",
        digest=prepared.digest,
        stages={
            name: _stage(opened, items, stages[name], prepared.data.counts, name)
            for name, items in stages_of(loaded).items()
        },
        rows=[_row(opened, name, item) for name, items in stages.items() for item in items[:rows]],
        cuts=_cuts(opened, prepared.data, rules, registry, rows=rows),
        leaks=leaks(loaded),
        counts=loaded.counts,
        notes=loaded.notes,
    )


def stages_table(view: TaskView) -> Table:
    """Returns the figures of the stages."""
    heads = [
        "Stage",
        "Items",
        "Prompts",
        "Prompt tokens",
        "Response tokens",
        "Cut",
        "Dropped",
        "Responses cut",
        "Repeated",
    ]
    rows = [
        [
            name,
            f"{stage.items:,}",
            f"{stage.prompts:,}",
            _lengths(stage.prompt_tokens),
            _lengths(stage.response_tokens),
            str(stage.prompts_cut),
            str(stage.prompts_dropped),
            str(stage.responses_cut),
            f"{stage.repeated_prompts} / {stage.repeated_items}",
        ]
        for name, stage in view.stages.items()
    ]
    note = "Tokens: median, 95 % quantile, longest, before anything is cut. Repeated: prompts in several items / items that stand there before."
    return Table("Stages", heads, rows, note)


def _stage(
    opened: OpenedTask, loaded: Sequence[Item], used: Sequence[Item], counts: Mapping[str, int], name: str
) -> StageView:
    limit = opened.config.sampling.max_response_tokens
    prompts = Counter(prompt.text for prompt, _ in loaded)
    items = Counter((prompt.text, *texts) for prompt, texts in loaded)
    responses = [len(row) + 1 for row in _ids(opened, [text for _, texts in loaded for text in texts])]
    return StageView(
        items=len(used),
        prompts=len({prompt.text for prompt, _ in used}),
        prompt_tokens=_quantiles([len(row) for row in _ids(opened, list(prompts), special=True)]),
        response_tokens=_quantiles(responses),
        prompts_cut=counts.get(f"{name}_prompts_cut", 0),
        prompts_dropped=counts.get(f"{name}_prompts_dropped", 0),
        responses_cut=sum(length > limit for length in responses),
        repeated_prompts=sum(count > 1 for count in prompts.values()),
        repeated_items=sum(items.values()) - len(items),
    )


def _row(opened: OpenedTask, stage: str, item: Item) -> RowView:
    prompt, responses = item
    limit = opened.config.sampling.max_response_tokens
    return RowView(
        stage=stage,
        id=prompt.id,
        subset=prompt.subset,
        prompt=prompt.text,
        prompt_ids=_ids(opened, [prompt.text], special=True)[0],
        responses=responses,
        response_ids=[encode_response(text, opened.tokenizer, max_response_tokens=limit) for text in responses],
        reference=prompt.reference,
    )


def _cuts(opened: OpenedTask, data: TaskData, rules: Sequence[Rule], registry: Registry, *, rows: int) -> SegmentView:
    pairs = [(pair.prompt, pair.response) for pair in data.sft[:rows]]
    samples = [
        _sample(prompt, text, len(ids))
        for (prompt, text), ids in zip(pairs, _ids(opened, [text for _, text in pairs]), strict=True)
    ]
    note = "SFT responses, read by the base model that SFT starts from"
    return view_samples(samples, rules, registry, model=opened.base_model, notes=[note])


def _sample(prompt: Prompt, text: str, tokens: int) -> EvalSample:
    return EvalSample(prompt.id, prompt.subset, prompt.text, Response(prompt.id, text, tokens, True), {})


def _ids(opened: OpenedTask, texts: Sequence[str], *, special: bool = False) -> list[list[int]]:
    return opened.tokenizer(list(texts), add_special_tokens=special)["input_ids"] if texts else []


def _quantiles(lengths: Sequence[int]) -> Lengths:
    if not lengths:
        return Lengths(None, None, None)
    ordered = sorted(lengths)
    return Lengths(statistics.median(ordered), ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))], ordered[-1])


def _lengths(lengths: Lengths) -> str:
    return "–" if lengths.median is None else f"{lengths.median:g}, {lengths.high}, {lengths.longest}"
