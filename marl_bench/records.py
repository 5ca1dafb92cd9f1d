"""Frozen records that travel between stages and to disk. No torch.

`Prompt` and the pairs come from a task, `Response` from a sampler, `EvalSample` and `EvalResult` from the evaluator, `RunRecord` is what a
cell leaves behind.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from marl_bench.errors import RecordError

if TYPE_CHECKING:
    from marl_bench.sample_columns import SampleColumns

SCHEMA_VERSION = 1

RunStatus = Literal["running", "complete", "failed"]


@dataclasses.dataclass(frozen=True)
class Prompt:
    """One prompt of a task.

    Attributes:
        id: Unique within the task; the key by which arms are paired.
        text: What the policy reads.
        reference: A reference response, if the data has one.
        subset: Name of the part of the data set for results by subset; empty if there is one part only.
        fields: What the task's own reward, oracle and metrics need; JSON-able.
        cuttable: Span of characters of `text` that may be shortened from its end when the prompt is too long for the model.
        messages: The dialogue as `role` and `content` of each turn, for models with a chat template; empty means one turn of the user
            with `text`.
        plain_text: The text before a chat template was put around it; None where `text` is plain itself.
    """

    id: str
    text: str
    reference: str | None = None
    subset: str = ""
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    cuttable: tuple[int, int] | None = None
    messages: Sequence[Mapping[str, str]] = ()
    plain_text: str | None = None


@dataclasses.dataclass(frozen=True)
class SftPair:
    """A prompt with the response that supervised fine-tuning learns."""

    prompt: Prompt
    response: str


@dataclasses.dataclass(frozen=True)
class PreferencePair:
    """A prompt with a preferred and a rejected response."""

    prompt: Prompt
    chosen: str
    rejected: str


@dataclasses.dataclass(frozen=True)
class TaskData:
    """The four parts of a task's data; no prompt stands in two of them unless the split says otherwise.

    Attributes:
        sft: Pairs for supervised fine-tuning.
        preferences: Pairs for the reward model; empty for tasks with a rule reward.
        rl_prompts: Prompts of the PPO stage.
        eval_prompts: Held-out prompts.
        counts: What was read, dropped and cut, by reason, for the report.
        notes: Sentences about the data that the report must show.
    """

    sft: Sequence[SftPair]
    preferences: Sequence[PreferencePair]
    rl_prompts: Sequence[Prompt]
    eval_prompts: Sequence[Prompt]
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Response:
    """One sampled response.

    Attributes:
        prompt_id: Id of its prompt.
        text: Decoded text without special tokens.
        token_count: Number of tokens, the EOS included; None for texts made elsewhere whose tokenizer is not known.
        finished: True if it ended with EOS, False if it was cut at the length limit; None for texts made elsewhere that do not say.
        sample_index: Which of the samples of its prompt.
    """

    prompt_id: str
    text: str
    token_count: int | None
    finished: bool | None
    sample_index: int = 0


@dataclasses.dataclass(frozen=True)
class EvalSample:
    """One evaluated response with every number known of it.

    Attributes:
        prompt_id: Id of its prompt.
        subset: Subset of its prompt.
        prompt: Text of its prompt.
        response: The response.
        metrics: Metric name to value; None where the sample could not be scored.
    """

    prompt_id: str
    subset: str
    prompt: str
    response: Response
    metrics: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """Returns plain data, one line of `samples.jsonl`."""
        return {
            "prompt_id": self.prompt_id,
            "subset": self.subset,
            "prompt": self.prompt,
            "response": self.response.text,
            "token_count": self.response.token_count,
            "finished": self.response.finished,
            "sample_index": self.response.sample_index,
            "metrics": dict(self.metrics),
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "EvalSample":
        """Reads what `to_json` wrote."""
        response = Response(
            prompt_id=row["prompt_id"],
            text=row["response"],
            token_count=row["token_count"],
            finished=row["finished"],
            sample_index=row["sample_index"],
        )
        return cls(row["prompt_id"], row["subset"], row["prompt"], response, row["metrics"])


@dataclasses.dataclass(frozen=True)
class EvalResult:
    """All samples of one evaluation, and its metrics' meaning.

    Attributes:
        samples: One per prompt and sample index, in the order of the evaluation prompts.
        higher_is_better: Metric name to True, False, or None where neither end is better.
        problems: Sentences on what could not be measured, for the report.
    """

    samples: Sequence[EvalSample]
    higher_is_better: Mapping[str, bool | None]
    problems: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """What one cell (task x arm x seed) leaves on disk as `record.json`.

    The learning curve stands beside it in `metrics.jsonl`, the evaluated samples in `samples.jsonl`.

    Attributes:
        experiment: Name of the experiment.
        status: `running`, `complete` or `failed`.
        task: `id`, `version`, `primary_metric`, `has_oracle`.
        arm: `name`, `baseline`, `baseline_version`, `rule` (canonical text or None), `rule_hash`, `options`, `trained`
            (False for arms that sample nothing in training).
        seed: Seed of the cell.
        config_hash: Hash of everything that the shared stages and the cells compute.
        digests: Content digests by name: `data`, `sft`, `reward_model`, `reward`.
        shared: Results of the shared stages: `sft` and `reward_model` (losses, pair accuracy, score spread), `reward` (sources, score spread),
            `data` (counts, notes).
        budget: `updates`, `prompts`, `responses_sampled`, `tokens_sampled`, `max_response_tokens`.
        metrics: Metric name to mean over the scored evaluation samples.
        higher_is_better: As in `EvalResult`.
        unscored: Metric name to the number of evaluation samples without a value.
        problems: Sentences on what could not be measured.
        costs: `seconds` by stage, `peak_memory_mib`, `finished_at` (UTC; older records have none); everything from the clock stands here
            and nowhere else.
        environment: `packages`, `python`, `platform`, `device`, `threads`, `reproducible`, `git_commit`, `git_dirty`.
        error: Text of the error of a failed cell.
        schema_version: Version of this record's layout.
    """

    experiment: str
    status: RunStatus
    task: Mapping[str, Any]
    arm: Mapping[str, Any]
    seed: int
    config_hash: str
    digests: Mapping[str, str]
    shared: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    budget: Mapping[str, int] = dataclasses.field(default_factory=dict)
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    higher_is_better: Mapping[str, bool | None] = dataclasses.field(default_factory=dict)
    unscored: Mapping[str, int] = dataclasses.field(default_factory=dict)
    problems: Sequence[str] = dataclasses.field(default_factory=list)
    costs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    environment: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    error: str | None = None
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        """Returns plain data for `record.json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, where: str) -> "RunRecord":
        """Reads what `to_json` wrote.

        Raises:
            RecordError: The layout is of another version or a field is missing; `where` names the file.
        """
        version = data.get("schema_version")
        if version != SCHEMA_VERSION:
            raise RecordError(
                f"{where}: record of schema version {version}, this marl-bench reads version {SCHEMA_VERSION}."
            )
        names = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(data) - names)
        if unknown:
            raise RecordError(
                f"{where}: unknown field {', '.join(unknown)}; the record was written by another program."
            )
        try:
            return cls(**data)
        except TypeError as error:
            raise RecordError(f"{where}: incomplete record ({error}).") from error


def not_a_sample(error: Exception, *, where: str) -> RecordError:
    """Returns the error for a row that is no evaluated sample; `where` names file and line."""
    return RecordError(
        f"{where}: no evaluated sample ({type(error).__name__}: {error}); remove the cell's folder and run again."
    )


@runtime_checkable
class SamplesWithColumns(Protocol):
    """Samples that know their columns without being gone through one by one."""

    def columns(self) -> "SampleColumns":
        """Returns the samples as columns."""
        ...


@dataclasses.dataclass(frozen=True)
class Cell:
    """A finished or unfinished cell as read from disk.

    Attributes:
        record: The record.
        curve: Lines of `metrics.jsonl`: one mapping an update, with `update` (1-based), `score`, `kl`, ...
        samples: Evaluated samples with their texts; empty until the cell is complete. Those of a stored cell are read from the disk
            each time they are gone through, so that a million of them fit into memory.
    """

    record: RunRecord
    curve: Sequence[Mapping[str, Any]]
    samples: Sequence[EvalSample]

    @functools.cached_property
    def columns(self) -> "SampleColumns":
        """The samples without their texts, read once: what comparing them needs."""
        from marl_bench.sample_columns import columns_of_rows  # NumPy: not for those who only list names

        if isinstance(self.samples, SamplesWithColumns):
            return self.samples.columns()
        return columns_of_rows((sample.to_json() for sample in self.samples), where="samples")
