"""The task: prompts from comparison rows, splits, oracle, metrics. No torch."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from marl_bench.config import Section
from marl_bench.errors import DataError
from marl_bench.interfaces import DataSource, Metric
from marl_bench.metrics.rouge import rouge
from marl_bench.records import PreferencePair, Prompt, Response, SftPair, TaskData
from marl_bench.splits import split_rows, unseen_rows
from marl_bench.usable_rows import UnusableRows
from marl_bench_tasks.tldr.embedded import embedded_rows
from marl_bench_tasks.tldr.gold import GoldFacts, gold_score
from marl_bench_tasks.tldr.rows import HUB_ID, PUBLISHED_TRAIN_ROWS, Row, check_row, folder_rows, hub_rows

SHARES = (0.2, 0.4)
"""Of SFT and reward model; RL takes the rest."""


class Options(Section):
    """Options of the task."""

    prompt: Literal["default", "official_code"] = Field("default", description="wording of the prompt")


@dataclasses.dataclass(frozen=True)
class TldrTask:
    """Summaries of posts; the gold score of embedded posts is the oracle."""

    options: Options
    metrics: Sequence[Metric] = (rouge(),)

    def load(self, source: DataSource, *, seed: int) -> TaskData:
        """Reads comparison rows and splits those of `train` into SFT, reward model and RL; evaluation is `validation`.

        Raises:
            DataError: The source is missing, empty, or has a row without a required field.
        """
        unusable = UnusableRows()
        rows = list(unusable.keep_usable(_read(source, seed=seed), check_row))
        unusable.check_share(source=f"data '{source.path or source.kind}'")
        train = [row for row in rows if row.split == "train"]
        held_out = [row for row in rows if row.split != "train"]
        if not train or not held_out:
            raise DataError(
                f"data '{source.path or source.kind}': {len(train)} train and {len(held_out)} validation rows; both are needed."
            )
        counts = {
            "rows": len(rows),
            "without_subreddit": sum(not row.subreddit for row in rows),
            "without_title": sum(not row.title for row in rows),
            **unusable.counts(),
        }
        by_prompt = source.split == "prompt"
        stages = split_rows([row.group for row in train], SHARES, by_prompt=by_prompt, seed_text=f"tldr split {seed}")
        groups = [[train[position] for position in stage] for stage in stages]
        keys = [[{row.post, row.group} for row in rows] for rows in (held_out, train)]
        fresh = [held_out[position] for position in unseen_rows(*keys)]
        if len(fresh) < len(held_out):
            counts["evaluation_rows_dropped_because_in_train"] = len(held_out) - len(fresh)
        return TaskData(
            sft=[SftPair(self._prompt(row), f" {row.sft_summary.strip()}") for row in groups[0]],
            preferences=[
                PreferencePair(self._prompt(row), f" {row.chosen.strip()}", f" {row.rejected.strip()}")
                for row in groups[1]
            ],
            rl_prompts=self._distinct(groups[2]),
            eval_prompts=self._distinct(fresh),
            counts=counts,
            notes=[*_published(len(train), source), *unusable.notes()],
        )

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> Sequence[float | None]:  # noqa: ARG002
        """Has no rule reward: the task's reward is a reward model."""
        return [None] * len(prompts)

    def oracle(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> Sequence[float] | None:
        """Returns the gold scores of embedded posts, None for real ones."""
        if not all("facts" in prompt.fields for prompt in prompts):
            return None
        return [
            gold_score(GoldFacts.from_json(prompt.fields["facts"]), response.text).total
            for prompt, response in zip(prompts, responses, strict=True)
        ]

    def _prompt(self, row: Row) -> Prompt:
        if self.options.prompt == "official_code":
            head = "POST\n" + (f"Subreddit: r/{row.subreddit}\n" if row.subreddit else "")
            tail = "\nTL;DR:"
        else:
            head = f"SUBREDDIT: r/{row.subreddit}\n\n" if row.subreddit else ""
            head += f"TITLE: {row.title}\n\n" if row.title else ""
            head, tail = f"{head}POST: ", "\n\nTL;DR:"
        fields: Mapping[str, Any] = {"facts": row.facts} if row.facts is not None else {}
        return Prompt(
            id=row.id,
            text=head + row.post + tail,
            reference=row.reference,
            fields=fields,
            cuttable=(len(head), len(head) + len(row.post)),
        )

    def _distinct(self, rows: Iterable[Row]) -> list[Prompt]:
        return list({row.post: self._prompt(row) for row in rows}.values())


def _published(train_rows: int, source: DataSource) -> list[str]:
    """Returns the check of the row count, where the data should be the published ones."""
    if source.kind != "hub" and train_rows != PUBLISHED_TRAIN_ROWS:
        return []
    return [f"{train_rows:,} train rows were read; {HUB_ID} has {PUBLISHED_TRAIN_ROWS:,} as published."]


def _read(source: DataSource, *, seed: int) -> Iterable[tuple[str, str, Mapping[str, Any]]]:
    if source.kind == "embedded":
        return ((row["split"], f"embedded row {number}", row) for number, row in enumerate(embedded_rows(seed=seed)))
    if source.path is not None:
        return folder_rows(source.path)
    return hub_rows(source.revision)
