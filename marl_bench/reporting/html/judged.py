"""What judges said of the browser's rows: scores to filter by, and where the verdicts stand."""

import array
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from marl_bench.errors import RecordError
from marl_bench.judgements import PAIRS, JudgedPair, Judgement, judgement_folders, read_judgement
from marl_bench.reporting.comparison import Comparison
from marl_bench.reporting.html.samples import Key, json_lines
from marl_bench.run_dir import RunDir

UNSCORED = -1.0
"""Stands for a pair that was asked but could not be scored; NaN stands for one that was not asked."""


@dataclasses.dataclass(frozen=True)
class Judge:
    """One judgement of one experiment."""

    folder: Path
    judgement: Judgement


@dataclasses.dataclass(frozen=True)
class PairScores:
    """Scores of one pair of arms with one seed.

    Attributes:
        judge: Place of the judge.
        arm: Place of the arm in the comparison.
        reference: Likewise, of the arm it is held against.
        seed: Seed of both.
        scores: Row to the arm's score: 1 win, 1/2 tie, 0 loss, -1 unscored, NaN not asked.
    """

    judge: int
    arm: int
    reference: int
    seed: int
    scores: "array.array[float]"


@dataclasses.dataclass(frozen=True)
class Judged:
    """All that was judged of the rows.

    Attributes:
        judges: The judgements, by experiment and name.
        pairs: Scores by judge, pair and seed.
        lines: Row to judge and place of the line in its `pairs.jsonl`.
    """

    judges: Sequence[Judge]
    pairs: Sequence[PairScores]
    lines: Mapping[int, Sequence[tuple[int, int]]]


def index_judgements(run_dirs: Sequence[RunDir], comparison: Comparison, rows: Mapping[Key, int]) -> Judged:
    """Reads every judgement of the runs once and keeps what belongs to the rows and arms shown.

    Raises:
        RecordError: A judgement is damaged.
    """
    judges = [Judge(folder, read_judgement(folder)) for run in run_dirs for folder in judgement_folders(run.root)]
    arms = {found.arm.name: place for place, found in enumerate(comparison.arms)}
    scores: dict[tuple[int, int, int, int], array.array[float]] = {}
    lines: dict[int, list[tuple[int, int]]] = {}
    for place, judge in enumerate(judges):
        for offset, data in json_lines(judge.folder / PAIRS):
            pair = judged_pair(data, judge.folder)
            row = rows.get((pair.prompt_id, pair.sample_index))
            if row is None or pair.arm not in arms or pair.reference not in arms:
                continue
            key = (place, arms[pair.arm], arms[pair.reference], pair.seed)
            column = scores.setdefault(key, array.array("d", [math.nan]) * len(rows))
            column[row] = UNSCORED if pair.score is None else pair.score
            lines.setdefault(row, []).append((place, offset))
    return Judged(judges, [PairScores(*key, column) for key, column in sorted(scores.items())], lines)


def judged_pair(data: Mapping[str, Any], folder: Path) -> JudgedPair:
    """Returns one line of `pairs.jsonl`.

    Raises:
        RecordError: It is no judged pair.
    """
    try:
        return JudgedPair.from_json(data)
    except (TypeError, KeyError) as error:
        raise RecordError(f"{folder / PAIRS}: no judged pair ({error}); judge again.") from error
