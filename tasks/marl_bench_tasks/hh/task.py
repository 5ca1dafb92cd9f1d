"""The task: prompts from dialogues, splits, oracle, metrics. No torch."""

import dataclasses
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from pydantic import Field

from marl_bench.config import Section
from marl_bench.errors import DataError
from marl_bench.interfaces import DataSource, Metric
from marl_bench.metrics.per_sample import PerSample
from marl_bench.metrics.repetition import repetition
from marl_bench.metrics.rouge import rouge
from marl_bench.records import PreferencePair, Prompt, Response, SftPair, TaskData
from marl_bench.splits import split_rows, unseen_rows
from marl_bench.usable_rows import UnusableRows
from marl_bench_tasks.hh.gold import GoldFacts, gold_score
from marl_bench_tasks.hh.refusals import is_refusal
from marl_bench_tasks.hh.rows import PAIR_FLAWS, Row, check_row
from marl_bench_tasks.hh.sources import SUBSETS, CountedRows, PlacedRow, Subset, embedded, folder_rows, hub_rows
from marl_bench_tasks.hh.transcripts import cuttable_span, messages

SHARES = (0.2, 0.4)
"""Of SFT and reward model; RL takes the rest."""


class Options(Section):
    """Options of the task."""

    dataset: Literal["anthropic", "dahoas"] = Field("anthropic", description="which data set of the hub")
    subsets: list[Subset] = Field(
        list(SUBSETS),
        min_length=1,
        description="parts of Anthropic/hh-rlhf, on the hub and in a folder with sub-folders",
    )


def metrics() -> tuple[Metric, ...]:
    """Returns the metrics of the task. ROUGE has no direction: a dialogue has many good answers."""
    return (
        PerSample("refusal", _refusal),
        PerSample("appropriate_refusal", _appropriate_refusal, higher_is_better=True),
        repetition(),
        PerSample("response_words", _response_words),
        dataclasses.replace(rouge(), names=("rougeL",), higher_is_better=None),
    )


@dataclasses.dataclass(frozen=True)
class HhTask:
    """Helpful and harmless answers in dialogues; the gold score of embedded dialogues is the oracle."""

    options: Options
    metrics: Sequence[Metric] = dataclasses.field(default_factory=metrics)

    def load(self, source: DataSource, *, seed: int) -> TaskData:
        """Reads dialogues and splits those of `train` into SFT, reward model and RL; evaluation is `test`.

        The rows of each part are shuffled, so that a limit takes of all subsets.

        Raises:
            DataError: The source is missing, empty, or has too many rows that cannot be used.
        """
        unusable, counted = UnusableRows(), CountedRows()
        rows = list(unusable.keep_usable(counted.counted(self._read(source, seed=seed)), check_row))
        name = f"data '{source.path or source.kind}'"
        unusable.check_share(source=name)
        random.Random(f"hh order {seed}").shuffle(rows)
        train = [row for row in rows if row.split == "train"]
        held_out = [row for row in rows if row.split != "train"]
        if not train or not held_out:
            raise DataError(f"{name}: {len(train)} train and {len(held_out)} test rows; both are needed.")
        counts = {"rows": len(rows), **_oddities(rows), **unusable.counts()}
        by_prompt = source.split == "prompt"
        stages = split_rows([row.group for row in train], SHARES, by_prompt=by_prompt, seed_text=f"hh split {seed}")
        sft, preferences, rl = ([train[position] for position in stage] for stage in stages)
        keys = [[{row.dialogue, row.group} for row in part] for part in (held_out, train)]
        fresh = [held_out[position] for position in unseen_rows(*keys)]
        if len(fresh) < len(held_out):
            counts["evaluation_rows_dropped_because_in_train"] = len(held_out) - len(fresh)
        return TaskData(
            sft=[SftPair(_prompt(row), f" {row.sft_answer}") for row in sft if row.sft_answer],
            preferences=[
                PreferencePair(_prompt(row), f" {row.chosen}", f" {row.rejected}")
                for row in preferences
                if not row.flaw
            ],
            rl_prompts=_distinct(rl),
            eval_prompts=_distinct(fresh),
            counts=counts,
            notes=[*counted.notes(is_hub=source.kind == "hub"), *unusable.notes(), *_flaw_notes(rows)],
        )

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> Sequence[float | None]:  # noqa: ARG002
        """Has no rule reward: the task's reward is a reward model."""
        return [None] * len(prompts)

    def oracle(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> Sequence[float] | None:
        """Returns the gold scores in embedded dialogues, None for real ones."""
        if not all("facts" in prompt.fields for prompt in prompts):
            return None
        return [
            gold_score(GoldFacts.from_json(prompt.fields["facts"]), response.text).total
            for prompt, response in zip(prompts, responses, strict=True)
        ]

    def _read(self, source: DataSource, *, seed: int) -> Iterator[PlacedRow]:
        if source.kind == "embedded":
            return embedded(seed=seed)
        if source.path is not None:
            return folder_rows(source.path, self.options.subsets)
        return hub_rows(self.options.dataset, self.options.subsets, source.revision)


def _prompt(row: Row) -> Prompt:
    return Prompt(
        id=row.id,
        text=row.dialogue,
        reference=row.reference,
        subset=row.subset,
        fields={"facts": row.facts} if row.facts is not None else {},
        cuttable=cuttable_span(row.turns),
        messages=messages(row.turns),
    )


def _distinct(rows: Iterable[Row]) -> list[Prompt]:
    """Returns one prompt a dialogue, that of the first row with a reference where there is one."""
    first: dict[str, Row] = {}
    for row in rows:
        if row.dialogue not in first or (first[row.dialogue].reference is None and row.reference is not None):
            first[row.dialogue] = row
    return [_prompt(row) for row in first.values()]


def _oddities(rows: Sequence[Row]) -> dict[str, int]:
    """Returns how many rows are no preference pair, by flaw, and how many transcripts have each oddity."""
    counts = {f"no_pair_{flaw}": sum(row.flaw == flaw for row in rows) for flaw in PAIR_FLAWS}
    for oddity in sorted({oddity for row in rows for oddity in row.oddities}):
        counts[f"with_{oddity}"] = sum(oddity in row.oddities for row in rows)
    return {name: count for name, count in counts.items() if count}


def _flaw_notes(rows: Sequence[Row]) -> list[str]:
    notes = []
    for flaw, meaning in PAIR_FLAWS.items():
        places = sorted(row.where for row in rows if row.flaw == flaw)
        if places:
            rows_are = "row is" if len(places) == 1 else "rows are"
            notes.append(f"{len(places)} {rows_are} no preference pair: {meaning}; one is {places[0]}.")
    return notes


def _refusal(_prompt: Prompt, response: Response) -> float:
    return float(is_refusal(response.text))


def _response_words(_prompt: Prompt, response: Response) -> float:
    return float(len(response.text.split()))


def _appropriate_refusal(prompt: Prompt, response: Response) -> float | None:
    """Returns whether it refuses exactly if that is called for; None where that is not known."""
    if "facts" not in prompt.fields:
        return None
    return float(is_refusal(response.text) == GoldFacts.from_json(prompt.fields["facts"]).harmful)
