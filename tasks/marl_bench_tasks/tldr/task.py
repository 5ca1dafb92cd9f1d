"""The task: prompts from comparison rows, splits, oracle, metrics. No torch."""

import dataclasses
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from marl_bench.config import Section
from marl_bench.errors import DataError
from marl_bench.interfaces import DataSource, Metric
from marl_bench.metrics.rouge import rouge
from marl_bench.records import PreferencePair, Prompt, Response, SftPair, TaskData
from marl_bench_tasks.tldr.embedded import embedded_rows
from marl_bench_tasks.tldr.gold import GoldFacts, gold_score
from marl_bench_tasks.tldr.rows import Row, check_row, folder_rows, hub_rows

SFT_SHARE, REWARD_MODEL_SHARE = 0.2, 0.4


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
        rows = list(_read(source, seed=seed))
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
        }
        groups = _split(train, by_prompt=source.split == "prompt", seed=seed)
        seen = {key for row in train for key in (row.post, row.group)}
        leaked = [row for row in held_out if seen & {row.post, row.group}]
        fresh = [row for row in held_out if not seen & {row.post, row.group}]
        if leaked:
            counts["evaluation_rows_dropped_because_in_train"] = len(leaked)
        return TaskData(
            sft=[SftPair(self._prompt(row), f" {row.sft_summary.strip()}") for row in groups[0]],
            preferences=[
                PreferencePair(self._prompt(row), f" {row.chosen.strip()}", f" {row.rejected.strip()}")
                for row in groups[1]
            ],
            rl_prompts=self._distinct(groups[2]),
            eval_prompts=self._distinct(fresh),
            counts=counts,
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


def _read(source: DataSource, *, seed: int) -> Iterable[Row]:
    if source.kind == "embedded":
        return (
            check_row(row, split=row["split"], where=f"embedded row {number}")
            for number, row in enumerate(embedded_rows(seed=seed))
        )
    if source.path is not None:
        return folder_rows(source.path)
    return hub_rows(source.revision)


def _split(rows: Sequence[Row], *, by_prompt: bool, seed: int) -> tuple[list[Row], list[Row], list[Row]]:
    """Returns the rows of SFT, reward model and RL: whole prompts each, or single rows as published."""
    keys = sorted({row.group for row in rows}) if by_prompt else list(range(len(rows)))
    random.Random(f"tldr split {seed}").shuffle(keys)
    first, second = round(SFT_SHARE * len(keys)), round((SFT_SHARE + REWARD_MODEL_SHARE) * len(keys))
    stage_of = {key: 0 if place < first else 1 if place < second else 2 for place, key in enumerate(keys)}
    groups: tuple[list[Row], list[Row], list[Row]] = ([], [], [])
    for number, row in enumerate(rows):
        groups[stage_of[row.group if by_prompt else number]].append(row)
    return groups
