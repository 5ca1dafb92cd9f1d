"""Arms held against a baseline, metric by metric and subset by subset, with everything that says how much a difference is worth."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from marl_bench.reporting.arm_cells import ArmCells
from marl_bench.reporting.comparison import Difference
from marl_bench.reporting.pairs import Part, difference, differences_by_prompt, on_shared_prompts, shared_seeds
from marl_bench.statistics.contingency import mcnemar_test
from marl_bench.statistics.multiplicity import holm_adjusted
from marl_bench.statistics.power import count_needed, minimum_detectable_difference

MCNEMAR, SIGN = "McNemar", "sign test"


@dataclasses.dataclass(frozen=True)
class Reach:
    """What a number of prompts or of seeds can show.

    Attributes:
        count: Prompts or seeds.
        deviation: Standard deviation of their differences; None below two.
        detectable: Least true difference that is seen with 80 % chance at 95 %; None below two or without any spread.
        needed: Prompts or seeds that see `Contrast.effect` with 80 % chance at this spread; None if the effect is 0 or the spread unknown.
    """

    count: int
    deviation: float | None
    detectable: float | None
    needed: int | None


@dataclasses.dataclass(frozen=True)
class Unpaired:
    """Prompts that do not count, by why.

    Attributes:
        only_first: Only the arm has answered them.
        only_second: Only the baseline has answered them.
        unscored: Both have answered, but not both have a score in every shared seed.
        other_text: Counted, though the two have different texts under one id.
    """

    only_first: Sequence[str]
    only_second: Sequence[str]
    unscored: Sequence[str]
    other_text: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Contrast:
    """An arm against its baseline on one metric.

    Attributes:
        difference: Arm minus baseline over shared prompts and seeds, with its intervals.
        subset: Subset of the data; empty for all of it.
        means: Of the arm and of the baseline, on the shared prompts and seeds.
        test: `McNemar` where one seed's values are all 0 or 1, else `sign test`.
        p_value: Exact, two-sided, over prompts.
        p_holm: Adjusted by Holm over the family: the comparisons of this metric (for a subset: of all its subsets).
        family: Size of that family.
        effect: Difference that `needed` is about: the observed one unless stated.
        over_prompts: What these prompts can show.
        over_seeds: What these seeds can show.
        unpaired: Prompts that do not count.
        unscored_shares: Share of samples without a score, of the arm and of the baseline.
    """

    difference: Difference
    subset: str
    means: tuple[float, float]
    test: str
    p_value: float
    p_holm: float
    family: int
    effect: float
    over_prompts: Reach
    over_seeds: Reach
    unpaired: Unpaired
    unscored_shares: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Pair:
    """An arm and what it is held against; both know the same prompts."""

    first: ArmCells
    second: ArmCells


def metrics_of(pairs: Sequence[Pair], *, first: Sequence[str]) -> list[str]:
    """Returns the metrics that both arms of some pair have: those of `first`, then the others by name."""
    known = {name for pair in pairs for name in _metrics(pair.first) & _metrics(pair.second)}
    return [*(name for name in first if name in known), *sorted(known - set(first))]


def contrasts(
    pairs: Sequence[Pair],
    metrics: Sequence[str],
    *,
    directions: Mapping[str, bool | None],
    effects: Mapping[str, float],
    deviations: Mapping[str, float | None],
    by_subset: Sequence[str],
) -> list[Contrast]:
    """Returns every pair on every metric, then on every subset for the metrics of `by_subset`.

    Args:
        pairs: Arms and baselines.
        metrics: Names of metrics.
        directions: Metric to True, False, or None where neither end is better.
        effects: Metric to the difference that is to be seen, in its unit; the observed one where absent.
        deviations: Metric to the standard deviation of the scores of SFT samples.
        by_subset: Metrics that are shown by subset too, where the data have two or more.
    """
    found: list[Contrast] = []
    parts = list(_parts(pairs))
    for metric in metrics:
        families: list[list[Part | None]] = [[None]]
        if metric in by_subset and len(parts) > 1:
            families.append(list(parts))
        for family in families:
            plain = [
                _contrast(pair, metric, part, directions=directions, effects=effects, deviation=deviations.get(metric))
                for part in family
                for pair in pairs
            ]
            found += _with_holm([one for one in plain if one is not None])
    return found


def _contrast(
    pair: Pair,
    metric: str,
    part: Part | None,
    *,
    directions: Mapping[str, bool | None],
    effects: Mapping[str, float],
    deviation: float | None,
) -> Contrast | None:
    first, second = pair.first, pair.second
    found = difference(
        first,
        second,
        metric,
        higher_is_better=directions.get(metric),
        reference_deviation=deviation,
        part=part,
    )
    if found is None:
        return None
    scores, other_scores = on_shared_prompts(first, second, metric, part=part)
    effect = effects.get(metric, found.delta)
    over = found.over_prompts
    binary = len(scores) == 1 and all(bool(np.isin(each, (0, 1)).all()) for each in (scores, other_scores))
    differences = differences_by_prompt(scores, other_scores)
    by_seed = (scores - other_scores).mean(axis=1)
    return Contrast(
        difference=found,
        subset=part.name if part else "",
        means=(float(scores.mean()), float(other_scores.mean())),
        test=MCNEMAR if binary else SIGN,
        p_value=mcnemar_test(over.higher, over.lower) if binary else over.p_value,
        p_holm=over.p_value,
        family=1,
        effect=effect,
        over_prompts=_reach(differences, effect),
        over_seeds=_reach(by_seed, effect),
        unpaired=_unpaired(pair, metric, part),
        unscored_shares=(_unscored_share(first, metric, found.seeds), _unscored_share(second, metric, found.seeds)),
    )


def _with_holm(family: Sequence[Contrast]) -> list[Contrast]:
    adjusted = holm_adjusted([one.p_value for one in family])
    return [
        dataclasses.replace(one, p_holm=value, family=len(family)) for one, value in zip(family, adjusted, strict=True)
    ]


def _reach(differences: npt.NDArray[np.float64], effect: float) -> Reach:
    count = int(differences.size)
    if count < 2:
        return Reach(count, None, None, None)
    deviation = float(differences.std(ddof=1))
    # Equal differences leave some 1e-17 of rounding, which is no spread.
    if deviation <= 1e-12 * float(np.abs(differences).max()):
        deviation = 0.0
    if deviation == 0:
        # Differences that are all equal say nothing about how far others would spread, least of all that none could be missed.
        return Reach(count, deviation, None, None)
    needed = count_needed(deviation, effect) if effect else None
    return Reach(count, deviation, minimum_detectable_difference(deviation, count), needed)


def _unpaired(pair: Pair, metric: str, part: Part | None) -> Unpaired:
    first, second = pair.first, pair.second
    seeds = shared_seeds(first, second)
    one, other = first.answered(seeds), second.answered(seeds)
    here = part.prompts if part else np.ones(len(first.prompts), dtype=np.bool_)
    scored = np.ones(len(first.prompts), dtype=np.bool_)
    for arm in (first, second):
        scored &= np.isfinite(arm.scores(metric, seeds=seeds)).all(axis=0)
    texts = first.checks(seeds) != second.checks(seeds)
    groups = (one & ~other, other & ~one, one & other & ~scored, one & other & texts)
    return Unpaired(*([first.prompts[place] for place in np.flatnonzero(group & here).tolist()] for group in groups))


def _unscored_share(arm: ArmCells, metric: str, seeds: Sequence[int]) -> float:
    total = sum(len(arm.cells[seed].columns) for seed in seeds)
    scored = sum(
        int(np.isfinite(values).sum())
        for seed in seeds
        if (values := arm.cells[seed].columns.metrics.get(metric)) is not None
    )
    return 1 - scored / total if total else 1.0


def _metrics(arm: ArmCells) -> set[str]:
    return {name for cell in arm.cells.values() for name in cell.columns.metrics}


def _parts(pairs: Sequence[Pair]) -> Iterator[Part]:
    """Yields the subsets of all prompts; a prompt belongs to that of its first sample."""
    by_prompt: dict[int, str] = {}
    for pair in pairs:
        for arm in (pair.first, pair.second):
            for seed, cell in arm.cells.items():
                columns = cell.columns
                if len(columns.subsets) > 1:
                    names = (columns.subsets[code] for code in columns.prompt_subsets.tolist())
                    for place, name in zip(arm.places[seed].tolist(), names, strict=True):
                        by_prompt.setdefault(place, name)
    size = len(pairs[0].first.prompts) if pairs else 0
    for subset in sorted(set(by_prompt.values())):
        members = np.zeros(size, dtype=np.bool_)
        members[[place for place, name in by_prompt.items() if name == subset]] = True
        yield Part(subset, members)
