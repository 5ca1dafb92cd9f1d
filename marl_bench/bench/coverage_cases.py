"""The intervals of reports and comparisons, each on data of the sizes that they have."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from marl_bench.bench import simulated_data as data
from marl_bench.bench.coverage import (
    FEWER,
    FEWEST,
    RESAMPLES,
    CoverageCase,
    Make,
    applied,
    applied_with_rng,
    flat_mean,
    prompt_ids,
)
from marl_bench.bench.prompt_cases import prompt_cases
from marl_bench.statistics.agreement import agreement, kappa_interval
from marl_bench.statistics.bootstrap import two_level_bootstrap_interval
from marl_bench.statistics.bradley_terry import Contest, bradley_terry
from marl_bench.statistics.correlation import cluster_bootstrap_correlation
from marl_bench.statistics.intervals import Interval, mean_interval
from marl_bench.statistics.length_control import length_controlled_win_rate
from marl_bench.statistics.robust import interquartile_mean, probability_of_improvement
from marl_bench.statistics.seeds import seed_interval
from marl_bench.statistics.win_rates import win_rate

Rng = np.random.Generator


def coverage_cases() -> list[CoverageCase]:
    """Returns all cases, those of one interval together."""
    return [
        *prompt_cases(),
        *_means_over_seeds(),
        *_over_seeds_and_prompts(),
        *_few_seeds(),
        *_judges(),
        *_strengths(),
        *_correlations(),
    ]


def _means_over_seeds() -> Iterator[CoverageCase]:
    for seeds in (2, 3, 5, 10):
        yield CoverageCase(
            "Student t over seeds",
            "normal seed means",
            f"{seeds} seeds",
            applied(lambda values: mean_interval(values.tolist()), data.normal(seeds)),
            0.0,
        )
    for seeds in (2, 3, 5, 10):
        draw = data.passes_of_seeds(seeds, 64)
        for compute, name, use in (
            (_over_seeds, "Student t over seeds", "report"),
            (_t_of_means, "Student t over seeds, means that are equal believed", "naive"),
        ):
            # Over two seeds one pair of means in seven is equal, and its interval is then as wide as it must be for the others too.
            yield CoverageCase(
                name,
                "passes of 64 prompts, 9 of 10",
                f"{seeds} seeds",
                applied_with_rng(compute, draw),
                0.9,
                use,  # type: ignore[arg-type]  # a literal in the tuple above
                most={2: 100.0, 3: 98.0}.get(seeds, 97.0),
            )
    for seeds in (3, 5, 10, 20):
        yield CoverageCase(
            "percentile bootstrap over seeds",
            "normal seed means",
            f"{seeds} seeds",
            _percentile_bootstrap(data.normal(seeds)),
            0.0,
            "naive",
        )


def _over_seeds(values: data.Floats, rng: Rng) -> Interval | None:
    return seed_interval(values, rng=rng, resamples=RESAMPLES)


def _t_of_means(values: data.Floats, _rng: Rng) -> Interval | None:
    return mean_interval(values.mean(axis=1).tolist())


def _percentile_bootstrap(draw: data.Draw) -> Make:
    """What `rliable` and most scripts do: percentiles of the means of resampled seeds."""

    def make(rng: Rng) -> Interval:
        values = draw(rng)
        means = values[rng.integers(values.size, size=(RESAMPLES, values.size))].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        return Interval(float(values.mean()), float(low), float(high))

    return make


def _over_seeds_and_prompts() -> Iterator[CoverageCase]:
    for prompts in (50, 200):
        for of_seeds, of_prompts, rest, text in (
            (0.1, 0.7, 0.7, "prompts differ most"),
            (0.3, 0.1, 0.3, "seeds differ most"),
            (0.05, 0.1, 1.0, "sampling noise most"),
        ):
            draw = data.seeds_by_prompts(20, prompts, of_seeds=of_seeds, of_prompts=of_prompts, rest=rest)

            def make(rng: Rng, draw: Any = draw) -> Interval | None:
                return two_level_bootstrap_interval(draw(rng), rng=rng, resamples=RESAMPLES)

            size = f"20 seeds x {prompts} prompts"
            yield CoverageCase("two-level bootstrap", text, size, make, 0.0, repetitions=FEWER)
            yield CoverageCase(
                "Student t, cells as if independent", text, size, applied(flat_mean, draw), 0.0, "naive", FEWER
            )


def _few_seeds() -> Iterator[CoverageCase]:
    for seeds in (3, 5, 10, 20):
        for draw, text in (
            (data.normal(seeds), "normal seed means"),
            (lambda rng, seeds=seeds: rng.standard_t(2, seeds), "seed means with outliers, t(2)"),
        ):
            yield CoverageCase(
                "interquartile mean",
                text,
                f"{seeds} seeds",
                applied(interquartile_mean, draw),
                0.0,
                most=97.5,
            )
    for seeds in (3, 5, 10):
        for gap in (0.0, 1.0):

            def both(rng: Rng, seeds: int = seeds, gap: float = gap) -> Interval:
                return probability_of_improvement(rng.normal(gap, 1.0, seeds), rng.normal(size=seeds))

            yield CoverageCase(
                "probability of improvement",
                f"normal seed means, {'equal arms' if not gap else 'one deviation apart'}",
                f"{seeds} seeds each",
                both,
                0.5 * math.erfc(-gap / 2),
                most=97.0 if seeds >= 5 else 100.0,
            )


def _judges() -> Iterator[CoverageCase]:
    for prompts in (50, 200, 1000):
        ids, draw_pairs = prompt_ids(prompts), data.longer_wins(prompts)
        truth = float(data.sigmoid(0.4))

        def controlled(rng: Rng, ids: list[str] = ids, draw: Any = draw_pairs) -> Interval | None:
            scores, gaps = draw(rng)
            return length_controlled_win_rate(scores.tolist(), gaps.tolist(), ids, rng=rng, resamples=RESAMPLES)

        def raw(rng: Rng, ids: list[str] = ids, draw: Any = draw_pairs) -> Interval | None:
            return win_rate(draw(rng)[0].tolist(), ids).rate

        text, size = "judge that favours length", f"{prompts:,} prompts"
        repetitions = FEWER if prompts < 1000 else FEWEST
        yield CoverageCase("length-controlled win rate", text, size, controlled, truth, repetitions=repetitions)
        yield CoverageCase("raw win rate as if at equal length", text, size, raw, truth, "naive", FEWEST)
    chance = float(data.LABELS.sum(axis=0) @ data.LABELS.sum(axis=1))
    agreed = float(np.trace(data.LABELS))
    for items in (50, 200, 1000):
        raters = data.two_raters(items)
        text = "two raters, three labels"
        yield CoverageCase(
            "agreement, Wilson", text, f"{items:,} items", applied(lambda both: agreement(*both), raters), agreed
        )
        yield CoverageCase(
            "Cohen's kappa",
            text,
            f"{items:,} items",
            applied(lambda both: kappa_interval(*both), raters),
            (agreed - chance) / (1 - chance),
        )


def _strengths() -> Iterator[CoverageCase]:
    def best(found: list[Contest], rng: Rng) -> Interval | None:
        fitted = bradley_terry(found, rng=rng, resamples=RESAMPLES)
        return fitted.strengths["0"] if fitted else None

    for prompts in (50, 200):
        draw = data.contests(prompts)

        def clustered(rng: Rng, draw: Any = draw) -> Interval | None:
            return best(draw(rng), rng)

        def flat(rng: Rng, draw: Any = draw) -> Interval | None:
            single = [Contest(c.first, c.second, c.score, str(place)) for place, c in enumerate(draw(rng))]
            return best(single, rng)

        text, size = "four systems, all pairs on every prompt", f"{prompts} prompts"
        yield CoverageCase("Bradley-Terry strength", text, size, clustered, data.STRENGTHS[0], repetitions=FEWEST)
        yield CoverageCase(
            "Bradley-Terry, contests as if independent", text, size, flat, data.STRENGTHS[0], "naive", FEWEST
        )


def _correlations() -> Iterator[CoverageCase]:
    for prompts in (20, 50, 200):
        ids, draw = prompt_ids(prompts), data.correlated(prompts, correlation=0.6)

        def make(rng: Rng, ids: list[str] = ids, draw: Any = draw) -> Interval | None:
            first, second = draw(rng)
            return cluster_bootstrap_correlation(first.tolist(), second.tolist(), ids, rng=rng, resamples=RESAMPLES)

        yield CoverageCase(
            "correlation",
            "normal values, r = .6",
            f"{prompts} prompts",
            make,
            0.6,
            repetitions=FEWER,
            least=92.0 if prompts < 50 else 93.0,
        )
