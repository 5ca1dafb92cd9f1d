"""The task: prompts from comparison rows, splits, oracle, metrics. No torch."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from marl_bench.config import Section
from marl_bench.errors import DataError
from marl_bench.interfaces import DataSource, Metric
from marl_bench.metrics.repetition import repetition
from marl_bench.metrics.rouge import rouge
from marl_bench.records import Prompt, Response, TaskData
from marl_bench.splits import split_rows, unseen_rows
from marl_bench.usable_rows import UnusableRows
from marl_bench_tasks.webgpt.embedded import embedded_rows
from marl_bench_tasks.webgpt.gold import GoldFacts, gold_score
from marl_bench_tasks.webgpt.rows import HUB_ID, PUBLISHED_ROWS, Row, check_row, folder_rows, hub_rows
from marl_bench_tasks.webgpt.stages import (
    Wording,
    citations_without_quote,
    distinct_questions,
    evaluation_prompts,
    preference_pairs,
    sft_pairs,
)
from marl_bench_tasks.webgpt.support import citation_metrics

SHARES = (0.2, 0.4)
"""Of SFT and reward model; RL takes the rest."""
EVALUATION_SHARE = 0.1
"""Of the questions (of the rows, under `split: official`, as the released code) where the data have one split only."""
MAX_EVALUATION_QUESTIONS = 1000


class Options(Section):
    """Options of the task."""

    prompt: Literal["default", "official_code", "with_quotes"] = Field(
        "default",
        description="wording of the prompt; default is that of the official code, the question alone; embedded prompts always show quotes",
    )
    citations: Literal["keep", "strip"] = Field(
        "keep", description="whether answers that are learnt or compared with keep their [1]"
    )


@dataclasses.dataclass(frozen=True)
class WebgptTask:
    """Long answers with references; the gold score of embedded questions is the oracle."""

    options: Options
    metrics: Sequence[Metric] = (*citation_metrics(), rouge(), repetition())

    def load(self, source: DataSource, *, seed: int) -> TaskData:
        """Reads comparison rows and splits those of `train` into evaluation (unless another split is), SFT, reward model and RL.

        Raises:
            DataError: The source is missing, empty, or more than a tenth of its rows cannot be used.
        """
        name = f"data '{source.path or source.kind}'"
        unusable = UnusableRows()
        rows = list(unusable.keep_usable(_read(source, seed=seed), check_row))
        unusable.check_share(source=name)
        by_prompt = source.split == "prompt"
        train, held_out = _hold_out(rows, by_prompt=by_prompt, seed=seed)
        if not train or not held_out:
            raise DataError(f"{name}: {len(train)} train and {len(held_out)} evaluation rows; both are needed.")
        fresh = [held_out[row] for row in unseen_rows(*([{row.group} for row in part] for part in (held_out, train)))]
        stages = split_rows([row.group for row in train], SHARES, by_prompt=by_prompt, seed_text=f"webgpt split {seed}")
        groups = [[train[position] for position in stage] for stage in stages]
        wording = Wording(
            quotes=self.options.prompt == "with_quotes",
            citations=self.options.citations,
            subsets=len({row.subset or row.dataset for row in rows}) > 1,
        )
        sft, sft_from_ties = sft_pairs(groups[0], wording)
        preferences, left_out = preference_pairs(groups[1], wording)
        counts = {
            **_row_counts(rows),
            "sft_answers_from_ties": sft_from_ties,
            **left_out,
            "evaluation_rows_dropped_because_in_train": len(held_out) - len(fresh),
            **unusable.counts(),
        }
        return TaskData(
            sft=sft,
            preferences=preferences,
            rl_prompts=[wording.prompt(row) for row in distinct_questions(groups[2])],
            eval_prompts=evaluation_prompts(fresh, wording),
            counts=counts,
            notes=[*_notes(rows, source, read=len(rows) + sum(unusable.counts().values())), *unusable.notes()],
        )

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> Sequence[float | None]:  # noqa: ARG002
        """Has no rule reward: the task's reward is a reward model."""
        return [None] * len(prompts)

    def oracle(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> Sequence[float] | None:
        """Returns the gold scores of embedded questions, None for real ones."""
        if not all("facts" in prompt.fields for prompt in prompts):
            return None
        return [
            gold_score(GoldFacts.from_json(prompt.fields["facts"]), response.text).total
            for prompt, response in zip(prompts, responses, strict=True)
        ]


def _read(source: DataSource, *, seed: int) -> Iterable[tuple[str, str, Mapping[str, Any]]]:
    if source.kind == "embedded":
        return ((row["split"], f"embedded row {number}", row) for number, row in enumerate(embedded_rows(seed=seed)))
    if source.path is not None:
        return folder_rows(source.path)
    return hub_rows(source.revision)


def _hold_out(rows: Sequence[Row], *, by_prompt: bool, seed: int) -> tuple[list[Row], list[Row]]:
    """Returns the training and the evaluation rows; the latter are drawn where the data have no split for them."""
    train = [row for row in rows if row.split == "train"]
    held_out = [row for row in rows if row.split != "train"]
    if held_out or not train:
        return train, held_out
    items = len({row.group for row in train}) if by_prompt else len(train)
    share = min(EVALUATION_SHARE, MAX_EVALUATION_QUESTIONS / items)
    parts = split_rows(
        [row.group for row in train], (share,), by_prompt=by_prompt, seed_text=f"webgpt evaluation {seed}"
    )
    evaluation, rest = ([train[position] for position in part] for part in parts)
    return rest, evaluation


def _row_counts(rows: Sequence[Row]) -> dict[str, int]:
    return {
        "rows": len(rows),
        "questions": len({row.group for row in rows}),
        "ties": sum(row.preferred is None for row in rows),
        "without_quotes": sum(not row.answers[0].quotes and not row.answers[1].quotes for row in rows),
        "citations_without_quote": sum(citations_without_quote(row) for row in rows if row.facts is None),
    }


def _notes(rows: Sequence[Row], source: DataSource, *, read: int) -> list[str]:
    notes = []
    stand_ins = sum(row.dataset == "asqa" and not row.has_tokens for row in rows)
    if stand_ins:
        notes.append(
            f"stand-in, not WebGPT: {stand_ins} of {len(rows)} rows are ASQA questions without token lists, which {HUB_ID} does not have; "
            "no figure made from them is a figure of WebGPT."
        )
    if source.kind == "hub" or read == PUBLISHED_ROWS:
        notes.append(f"{read} rows were read; {HUB_ID} has {PUBLISHED_ROWS} as published.")
    return notes
