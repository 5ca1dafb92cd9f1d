"""Arms held against each other on the same prompts and seeds."""

import dataclasses
import zlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from marl_bench.records import Cell
from marl_bench.reporting.comparison import ORACLE, Arm, Difference, WinRate
from marl_bench.statistics.paired import paired_difference
from marl_bench.statistics.proportions import clustered_wilson_interval
from marl_bench.statistics.seeds import seed_interval

PromptScores = Mapping[str, float]
"""Prompt id to the mean over its scored samples; unscored prompts are absent."""


def generator(*names: str) -> np.random.Generator:
    """Returns a generator seeded by what it is for, so that another arm in the report moves nobody else's interval."""
    return np.random.default_rng(zlib.crc32("\n".join(names).encode()))


def prompt_scores(cell: Cell, metric: str) -> PromptScores:
    """Returns the cell's value of a metric for each prompt, averaged over the prompt's scored samples."""
    values: dict[str, list[float]] = {}
    for sample in cell.samples:
        value = sample.metrics.get(metric)
        if value is not None:
            values.setdefault(sample.prompt_id, []).append(float(value))
    return {prompt: sum(found) / len(found) for prompt, found in values.items()}


def score_table(scores: Sequence[PromptScores]) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Returns the sorted prompt ids of all seeds and the [seeds, prompts] table, NaN where a prompt is unscored."""
    prompts = sorted({prompt for one in scores for prompt in one})
    rows = [[one.get(prompt, np.nan) for prompt in prompts] for one in scores]
    return prompts, np.array(rows, dtype=np.float64).reshape(len(scores), len(prompts))


@dataclasses.dataclass(frozen=True)
class ArmCells:
    """An arm with its complete cells by seed."""

    arm: Arm
    cells: Mapping[int, Cell]

    def scores(self, metric: str, *, seeds: Sequence[int]) -> list[PromptScores]:
        """Returns the prompts' values of a metric for each of the seeds."""
        return [prompt_scores(self.cells[seed], metric) for seed in seeds]


def difference(
    first: ArmCells, second: ArmCells, metric: str, *, higher_is_better: bool | None, reference_deviation: float | None
) -> Difference | None:
    """Returns first minus second on a metric, or None if the arms share no seed or no scored prompt.

    Only prompts that both arms have scored in every shared seed count, so that the mean over prompts is also the mean
    over seeds.
    """
    seeds = shared_seeds(first, second)
    scores, other_scores = first.scores(metric, seeds=seeds), second.scores(metric, seeds=seeds)
    prompts = _shared_prompts([*scores, *other_scores])
    over_prompts = paired_difference(
        {prompt: _mean(one[prompt] for one in scores) for prompt in prompts},
        {prompt: _mean(one[prompt] for one in other_scores) for prompt in prompts},
        rng=generator(first.arm.name, second.arm.name, metric, "prompts"),
    )
    if over_prompts is None:
        return None
    answered = {sample.prompt_id for arm in (first, second) for seed in seeds for sample in arm.cells[seed].samples}
    table = _difference_table(scores, other_scores, prompts)
    return Difference(
        arm=first.arm,
        reference=second.arm,
        metric=metric,
        higher_is_better=higher_is_better,
        seeds=seeds,
        over_prompts=over_prompts,
        over_seeds=seed_interval(table, rng=generator(first.arm.name, second.arm.name, metric, "seeds")),
        prompts_left_out=len(answered) - len(prompts),
        reference_deviation=reference_deviation,
    )


def win_rate(first: ArmCells, second: ArmCells, *, higher_is_better: bool | None) -> WinRate | None:
    """Returns the first arm's win rate by the oracle, or None if the arms share no seed or no scored prompt.

    A pair is one prompt with one seed; with several samples a prompt their mean decides.
    """
    seeds = shared_seeds(first, second)
    scores, other_scores = first.scores(ORACLE, seeds=seeds), second.scores(ORACLE, seeds=seeds)
    prompts = _shared_prompts([*scores, *other_scores])
    if not prompts:
        return None
    signs = np.sign(_difference_table(scores, other_scores, prompts)) * (-1 if higher_is_better is False else 1)
    return WinRate(
        arm=first.arm,
        reference=second.arm,
        judge=ORACLE,
        seeds=seeds,
        rate=clustered_wilson_interval(((signs + 1) / 2).ravel(), np.tile(np.arange(len(prompts)), len(seeds))),
        prompts=len(prompts),
        wins=int((signs > 0).sum()),
        ties=int((signs == 0).sum()),
        losses=int((signs < 0).sum()),
    )


def shared_seeds(first: ArmCells, second: ArmCells) -> list[int]:
    """Returns the seeds of which both arms have a complete cell, sorted."""
    return sorted(first.cells.keys() & second.cells.keys())


def _shared_prompts(scores: Sequence[PromptScores]) -> list[str]:
    return sorted(set.intersection(*(set(one) for one in scores))) if scores else []


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)


def _difference_table(
    scores: Sequence[PromptScores], other_scores: Sequence[PromptScores], prompts: Sequence[str]
) -> npt.NDArray[np.float64]:
    rows = [[one[p] - other[p] for p in prompts] for one, other in zip(scores, other_scores, strict=True)]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(prompts))
