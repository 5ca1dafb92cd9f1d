"""Arms held against each other on the same prompts and seeds."""

import dataclasses
import zlib

import numpy as np
import numpy.typing as npt

from marl_bench.reporting.arm_cells import ArmCells, Scores
from marl_bench.reporting.comparison import ORACLE, Difference, WinRate
from marl_bench.statistics.paired import difference_over_prompts, difference_without_rounding
from marl_bench.statistics.proportions import clustered_wilson_interval
from marl_bench.statistics.seeds import seed_interval


def generator(*names: str) -> np.random.Generator:
    """Returns a generator seeded by what it is for, so that another arm in the report moves nobody else's interval."""
    return np.random.default_rng(zlib.crc32("\n".join(names).encode()))


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of the prompts.

    Attributes:
        name: Its name (a subset of the data).
        prompts: [prompts of the comparison] True on those that belong to it.
    """

    name: str
    prompts: npt.NDArray[np.bool_]


def difference(
    first: ArmCells,
    second: ArmCells,
    metric: str,
    *,
    higher_is_better: bool | None,
    reference_deviation: float | None,
    part: Part | None = None,
) -> Difference | None:
    """Returns first minus second on a metric, or None if the arms share no seed or no scored prompt.

    Only prompts that both arms have scored in every shared seed count, so that the mean over prompts is also the mean
    over seeds.
    """
    seeds = shared_seeds(first, second)
    scores, other_scores = on_shared_prompts(first, second, metric, part=part)
    purpose = (first.arm.name, second.arm.name, metric, *([part.name] if part else []))
    over_prompts = difference_over_prompts(
        differences_by_prompt(scores, other_scores),
        of_rates=bool(np.isin(scores, (0, 1)).all() and np.isin(other_scores, (0, 1)).all()),
        rng=generator(*purpose, "prompts"),
    )
    if over_prompts is None:
        return None
    answered = first.answered(seeds) | second.answered(seeds)
    if part:
        answered &= part.prompts
    return Difference(
        arm=first.arm,
        reference=second.arm,
        metric=metric,
        higher_is_better=higher_is_better,
        seeds=seeds,
        over_prompts=over_prompts,
        over_seeds=seed_interval(scores - other_scores, rng=generator(*purpose, "seeds")),
        prompts_left_out=int(answered.sum()) - over_prompts.prompts,
        reference_deviation=reference_deviation,
    )


def win_rate(first: ArmCells, second: ArmCells, *, higher_is_better: bool | None) -> WinRate | None:
    """Returns the first arm's win rate by the oracle, or None if the arms share no seed or no scored prompt.

    A pair is one prompt with one seed; with several samples a prompt their mean decides.
    """
    seeds = shared_seeds(first, second)
    scores, other_scores = on_shared_prompts(first, second, ORACLE)
    if not scores.size:
        return None
    signs = outcomes(scores, other_scores) * (-1 if higher_is_better is False else 1)
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


def on_shared_prompts(
    first: ArmCells, second: ArmCells, metric: str, *, part: Part | None = None
) -> tuple[Scores, Scores]:
    """Returns both arms' scores on the prompts that both have scored in every shared seed, [seeds, prompts] each."""
    scores, other_scores, _ = with_places(first, second, metric, part=part)
    return scores, other_scores


def with_places(
    first: ArmCells, second: ArmCells, metric: str, *, part: Part | None = None
) -> tuple[Scores, Scores, npt.NDArray[np.int64]]:
    """Returns what `on_shared_prompts` returns, and the place of each prompt among those of the comparison."""
    seeds = shared_seeds(first, second)
    scores, other_scores = first.scores(metric, seeds=seeds), second.scores(metric, seeds=seeds)
    shared = np.isfinite(scores).all(axis=0) & np.isfinite(other_scores).all(axis=0) & bool(seeds)
    if part:
        shared &= part.prompts
    # Sums over prompts must not depend on how an index left the memory.
    kept, other_kept = np.ascontiguousarray(scores[:, shared]), np.ascontiguousarray(other_scores[:, shared])
    return kept, other_kept, np.flatnonzero(shared)


def outcomes(first: Scores, second: Scores) -> Scores:
    """Returns 1 where the first is higher, -1 where the second is, 0 where only rounding tells them apart."""
    size = np.maximum(np.abs(first), np.abs(second))
    signs: Scores = np.sign(difference_without_rounding(first, second, size=size))
    return signs


def differences_by_prompt(first: Scores, second: Scores) -> npt.NDArray[np.float64]:
    """Returns [prompts]: first minus second of each prompt's mean over the seeds, 0 where only rounding tells them apart."""
    size = np.maximum(np.abs(first), np.abs(second)).max(axis=0, initial=0.0)
    return difference_without_rounding(mean_over_seeds(first), mean_over_seeds(second), size=size)


def mean_over_seeds(scores: Scores) -> npt.NDArray[np.float64]:
    """Returns [prompts]: each prompt's mean over the seeds."""
    means: npt.NDArray[np.float64] = scores.sum(axis=0) / max(len(scores), 1)
    return means
