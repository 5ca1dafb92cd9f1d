"""Arms held against each other on the same prompts and seeds."""

import dataclasses
import zlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from marl_bench.records import Cell
from marl_bench.reporting.comparison import ORACLE, Arm, Difference, WinRate
from marl_bench.statistics.paired import difference_over_prompts
from marl_bench.statistics.proportions import clustered_wilson_interval
from marl_bench.statistics.seeds import seed_interval

Scores = npt.NDArray[np.float64]
"""[seeds, prompts]: each prompt's mean over its scored samples, NaN where a prompt is unscored or unknown."""


def generator(*names: str) -> np.random.Generator:
    """Returns a generator seeded by what it is for, so that another arm in the report moves nobody else's interval."""
    return np.random.default_rng(zlib.crc32("\n".join(names).encode()))


class PromptIndex:
    """Places of prompt ids in their sorted order, the same for all arms of a comparison."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        self.ids: Sequence[str] = sorted({prompt for cell in cells for prompt in cell.columns.prompt_ids})
        self._places = {prompt: place for place, prompt in enumerate(self.ids)}

    def places(self, cell: Cell) -> npt.NDArray[np.int64]:
        """Returns the place of each of the cell's prompts."""
        ids = cell.columns.prompt_ids
        return np.fromiter((self._places[prompt] for prompt in ids), dtype=np.int64, count=len(ids))


@dataclasses.dataclass(frozen=True)
class ArmCells:
    """An arm with its complete cells by seed.

    Attributes:
        arm: The arm.
        cells: Seed to cell.
        prompts: All prompt ids of the comparison, sorted.
        places: Seed to the place in `prompts` of each of the cell's prompts.
    """

    arm: Arm
    cells: Mapping[int, Cell]
    prompts: Sequence[str]
    places: Mapping[int, npt.NDArray[np.int64]]

    def scores(self, metric: str, *, seeds: Sequence[int]) -> Scores:
        """Returns the prompts' values of a metric, a row for each of the seeds and a column for each of `prompts`."""
        table = np.full((len(seeds), len(self.prompts)), np.nan)
        for row, seed in enumerate(seeds):
            table[row, self.places[seed]] = self.cells[seed].columns.prompt_means(metric)
        return table

    def answered(self, seeds: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Returns [prompts]: True where a cell of the seeds has a sample."""
        found = np.zeros(len(self.prompts), dtype=np.bool_)
        for seed in seeds:
            found[self.places[seed]] = True
        return found


def arm_cells(arm: Arm, cells: Mapping[int, Cell], index: PromptIndex) -> ArmCells:
    """Returns the arm with its cells in the order of their seeds."""
    by_seed = dict(sorted(cells.items()))
    return ArmCells(arm, by_seed, index.ids, {seed: index.places(cell) for seed, cell in by_seed.items()})


def difference(
    first: ArmCells, second: ArmCells, metric: str, *, higher_is_better: bool | None, reference_deviation: float | None
) -> Difference | None:
    """Returns first minus second on a metric, or None if the arms share no seed or no scored prompt.

    Only prompts that both arms have scored in every shared seed count, so that the mean over prompts is also the mean
    over seeds.
    """
    seeds = shared_seeds(first, second)
    scores, other_scores = _on_shared_prompts(first, second, metric, seeds)
    over_prompts = difference_over_prompts(
        _mean_over_seeds(scores) - _mean_over_seeds(other_scores),
        rng=generator(first.arm.name, second.arm.name, metric, "prompts"),
    )
    if over_prompts is None:
        return None
    return Difference(
        arm=first.arm,
        reference=second.arm,
        metric=metric,
        higher_is_better=higher_is_better,
        seeds=seeds,
        over_prompts=over_prompts,
        over_seeds=seed_interval(
            scores - other_scores, rng=generator(first.arm.name, second.arm.name, metric, "seeds")
        ),
        prompts_left_out=int((first.answered(seeds) | second.answered(seeds)).sum()) - over_prompts.prompts,
        reference_deviation=reference_deviation,
    )


def win_rate(first: ArmCells, second: ArmCells, *, higher_is_better: bool | None) -> WinRate | None:
    """Returns the first arm's win rate by the oracle, or None if the arms share no seed or no scored prompt.

    A pair is one prompt with one seed; with several samples a prompt their mean decides.
    """
    seeds = shared_seeds(first, second)
    scores, other_scores = _on_shared_prompts(first, second, ORACLE, seeds)
    if not scores.size:
        return None
    signs = np.sign(scores - other_scores) * (-1 if higher_is_better is False else 1)
    return WinRate(
        arm=first.arm,
        reference=second.arm,
        judge=ORACLE,
        seeds=seeds,
        rate=clustered_wilson_interval(((signs + 1) / 2).ravel(), np.tile(np.arange(signs.shape[1]), len(seeds))),
        prompts=signs.shape[1],
        wins=int((signs > 0).sum()),
        ties=int((signs == 0).sum()),
        losses=int((signs < 0).sum()),
    )


def shared_seeds(first: ArmCells, second: ArmCells) -> list[int]:
    """Returns the seeds of which both arms have a complete cell, sorted."""
    return sorted(first.cells.keys() & second.cells.keys())


def _on_shared_prompts(first: ArmCells, second: ArmCells, metric: str, seeds: Sequence[int]) -> tuple[Scores, Scores]:
    """Returns both arms' scores on the prompts that both have scored in every one of the seeds."""
    scores, other_scores = first.scores(metric, seeds=seeds), second.scores(metric, seeds=seeds)
    shared = np.isfinite(scores).all(axis=0) & np.isfinite(other_scores).all(axis=0) & bool(seeds)
    # Sums over prompts must not depend on how an index left the memory.
    return np.ascontiguousarray(scores[:, shared]), np.ascontiguousarray(other_scores[:, shared])


def _mean_over_seeds(scores: Scores) -> npt.NDArray[np.float64]:
    means: npt.NDArray[np.float64] = scores.sum(axis=0) / max(len(scores), 1)
    return means
