"""The intervals of reports and comparisons, each on data of the sizes that they have."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from marl_bench.bench import simulated_data as data
from marl_bench.bench.coverage import CoverageCase
from marl_bench.statistics.agreement import agreement, kappa_interval
from marl_bench.statistics.bootstrap import cluster_bootstrap_interval, two_level_bootstrap_interval
from marl_bench.statistics.bradley_terry import Contest, bradley_terry
from marl_bench.statistics.correlation import cluster_bootstrap_correlation
from marl_bench.statistics.intervals import Interval, mean_interval, wilson_interval
from marl_bench.statistics.length_control import length_controlled_win_rate
from marl_bench.statistics.paired import paired_difference
from marl_bench.statistics.pass_at_k import pass_at_k_interval
from marl_bench.statistics.robust import interquartile_mean, probability_of_improvement
from marl_bench.statistics.win_rates import win_rate

RESAMPLES = 500
"""Resamples of each simulated bootstrap; reports draw 4,000, whose ends move less."""

_FEWER = 2000  # repetitions of what takes milliseconds
_FEWEST = 1000

Rng = np.random.Generator
Make = Callable[[Rng], Interval | None]


def coverage_cases() -> list[CoverageCase]:
    """Returns all cases, those of one interval together."""
    return [
        *_proportions(),
        *_pass_rates(),
        *_means_over_prompts(),
        *_paired_differences(),
        *_means_over_seeds(),
        *_over_seeds_and_prompts(),
        *_few_seeds(),
        *_judges(),
        *_strengths(),
        *_correlations(),
    ]


def _ids(prompts: int, times: int = 1) -> list[str]:
    return [str(prompt) for prompt in range(prompts) for _ in range(times)]


def _proportions() -> Iterator[CoverageCase]:
    for pairs in (20, 50, 200, 1000):
        for rate in (0.5, 0.9):
            # Of few wins or losses only some sums exist; no interval of wins alone covers 95 % at every rate.
            least, most = {20: (92.0, 98.5), 50: (92.5, 98.0)}.get(pairs, (93.0, 97.0))
            yield CoverageCase(
                "Wilson",
                f"independent pairs, win rate {rate}",
                f"{pairs:,} pairs",
                _wilson(data.wins(pairs, rate=rate)),
                rate,
                least=least,
                most=most,
            )
    for prompts in (20, 50, 200, 1000):
        for ties in (0.0, 0.3, 0.7):
            text = "no ties" if not ties else f"{ties:.0%} ties".replace("%", " %")
            for kind, use in ((_win_rate, "report"), (_flat_win_rate, "naive")):
                yield CoverageCase(
                    "win rate, clustered Wilson" if use == "report" else "Wilson, pairs as if independent",
                    f"3 dependent pairs a prompt, {text}",
                    f"{prompts:,} prompts",
                    kind(data.clustered_wins(prompts, 3, ties=ties), prompts),
                    0.6 * (1 - ties) + ties / 2,
                    use,  # type: ignore[arg-type]  # a literal in the tuple above
                    least=93.0 if prompts > 20 else 92.5,
                )
    for prompts in (50, 200, 1000):
        for bias in (0.0, 2.0):
            text = "unbiased judge" if not bias else "judge that favours the first by 2 logits"
            yield CoverageCase(
                "win rate, clustered Wilson",
                f"both orders, {text}",
                f"{prompts:,} prompts",
                _win_rate(data.both_orders(prompts, bias=bias), prompts),
                0.5,
            )


def _wilson(draw: data.Draw) -> Make:
    def make(rng: Rng) -> Interval:
        found = draw(rng)
        return wilson_interval(float(found.sum()), found.size)

    return make


def _win_rate(draw: data.Draw, prompts: int) -> Make:
    def make(rng: Rng) -> Interval | None:
        scores = draw(rng).reshape(prompts, -1)
        return win_rate(scores.ravel().tolist(), _ids(prompts, scores.shape[1])).rate

    return make


def _flat_win_rate(draw: data.Draw, _prompts: int) -> Make:
    return _wilson(draw)


def _pass_rates() -> Iterator[CoverageCase]:
    for problems in (50, 164, 500):
        for k in (1, 5):
            draw = data.passed_samples(problems, 10)
            yield CoverageCase(
                f"pass@{k}, clustered Wilson",
                "10 samples a problem, many hard problems",
                f"{problems} problems",
                _applied(partial(pass_at_k_interval, k=k), draw),
                data.pass_at_k_truth(k),
            )

    def flat(counts: list[tuple[int, int]]) -> Interval:
        return wilson_interval(sum(passed for _, passed in counts), sum(samples for samples, _ in counts))

    yield CoverageCase(
        "Wilson, samples as if independent",
        "10 samples a problem, many hard problems",
        "164 problems",
        _applied(flat, data.passed_samples(164, 10)),
        data.pass_at_k_truth(1),
        "naive",
    )


def _applied(compute: Callable[[Any], Interval | None], draw: Callable[[Rng], Any]) -> Make:
    return lambda rng: compute(draw(rng))


def _means_over_prompts() -> Iterator[CoverageCase]:
    for prompts in (5, 10, 20, 50, 200, 1000):
        draw = data.samples_of_prompts(prompts, 3, effect=data.normal(prompts))
        text = "3 samples a prompt, normal scores"
        yield CoverageCase(
            "mean over prompts", text, f"{prompts:,} prompts", _over_prompts(draw), 0.0, "report", _FEWER
        )
        yield CoverageCase(
            "Student t, samples as if independent",
            text,
            f"{prompts:,} prompts",
            _applied(_flat_mean, draw),
            0.0,
            "naive",
            _FEWER,
        )
    for prompts in (20, 50, 200, 1000):
        for effect, text, least in (
            (data.exponential(prompts), "3 samples a prompt, skewed scores (exponential)", {20: 90.5, 50: 92.5}),
            (data.lognormal(prompts), "3 samples a prompt, heavy tail (lognormal)", {20: 86.0, 50: 90.0, 200: 92.0}),
        ):
            draw = data.samples_of_prompts(prompts, 3, effect=effect)
            yield CoverageCase(
                "mean over prompts",
                text,
                f"{prompts:,} prompts",
                _over_prompts(draw),
                0.0,
                repetitions=_FEWER,
                least=least.get(prompts, 93.0),
            )


def _over_prompts(draw: data.Draw) -> Make:
    def make(rng: Rng) -> Interval | None:
        values = draw(rng)
        clusters = np.repeat(np.arange(len(values)), values.shape[1])
        return cluster_bootstrap_interval(values.ravel(), clusters, rng=rng, resamples=RESAMPLES)

    return make


def _flat_mean(values: data.Floats) -> Interval | None:
    return mean_interval(values.ravel().tolist())


def _paired_differences() -> Iterator[CoverageCase]:
    for prompts in (20, 50, 200, 1000):
        ids = _ids(prompts)

        def scores(rng: Rng, prompts: int = prompts) -> tuple[data.Floats, data.Floats]:
            shared = rng.normal(size=prompts)
            return shared + rng.normal(0.2, 0.7, prompts), shared + rng.normal(0.0, 0.7, prompts)

        def passes(rng: Rng, prompts: int = prompts) -> tuple[data.Floats, data.Floats]:
            chance = rng.beta(0.5, 1.5, prompts)
            first = rng.random(prompts) < 0.5 * chance + 0.1
            return first.astype(np.float64), (rng.random(prompts) < 0.5 * chance).astype(np.float64)

        for draw, text, truth in ((scores, "normal scores", 0.2), (passes, "pass or fail, +10 points", 0.1)):

            def make(rng: Rng, draw: Any = draw, ids: list[str] = ids) -> Interval | None:
                first, second = (dict(zip(ids, values.tolist(), strict=True)) for values in draw(rng))
                found = paired_difference(first, second, rng=rng, resamples=RESAMPLES)
                return found.interval if found else None

            yield CoverageCase(
                "paired difference",
                text,
                f"{prompts:,} prompts",
                make,
                truth,
                repetitions=_FEWER,
                most=97.0 if prompts > 20 else 98.0,
            )


def _means_over_seeds() -> Iterator[CoverageCase]:
    for seeds in (2, 3, 5, 10):
        yield CoverageCase(
            "Student t over seeds",
            "normal seed means",
            f"{seeds} seeds",
            _applied(lambda values: mean_interval(values.tolist()), data.normal(seeds)),
            0.0,
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
            yield CoverageCase("two-level bootstrap", text, size, make, 0.0, repetitions=_FEWER)
            yield CoverageCase(
                "Student t, cells as if independent", text, size, _applied(_flat_mean, draw), 0.0, "naive", _FEWER
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
                _applied(interquartile_mean, draw),
                0.0,
                most=97.5,
            )
    for seeds in (3, 5, 10):
        for gap in (0.0, 1.0):

            def both(rng: Rng, seeds: int = seeds, gap: float = gap) -> Interval:
                return probability_of_improvement(rng.normal(gap, 1.0, seeds), rng.normal(size=seeds))

            yield CoverageCase(
                "probability of improvement",
                f"normal seed means, {gap:g} deviations apart",
                f"{seeds} seeds each",
                both,
                0.5 * math.erfc(-gap / 2),
                most=97.0 if seeds >= 5 else 100.0,
            )


def _judges() -> Iterator[CoverageCase]:
    for prompts in (50, 200, 1000):
        ids, draw_pairs = _ids(prompts), data.longer_wins(prompts)
        truth = float(data.sigmoid(0.4))

        def controlled(rng: Rng, ids: list[str] = ids, draw: Any = draw_pairs) -> Interval | None:
            scores, gaps = draw(rng)
            return length_controlled_win_rate(scores.tolist(), gaps.tolist(), ids, rng=rng, resamples=RESAMPLES)

        def raw(rng: Rng, ids: list[str] = ids, draw: Any = draw_pairs) -> Interval | None:
            return win_rate(draw(rng)[0].tolist(), ids).rate

        text, size = "judge that favours length", f"{prompts:,} prompts"
        yield CoverageCase("length-controlled win rate", text, size, controlled, truth, repetitions=_FEWEST)
        yield CoverageCase("raw win rate as if at equal length", text, size, raw, truth, "naive", _FEWEST)
    chance = float(data.LABELS.sum(axis=0) @ data.LABELS.sum(axis=1))
    agreed = float(np.trace(data.LABELS))
    for items in (50, 200, 1000):
        raters = data.two_raters(items)
        text = "two raters, three labels"
        yield CoverageCase(
            "agreement, Wilson", text, f"{items:,} items", _applied(lambda both: agreement(*both), raters), agreed
        )
        yield CoverageCase(
            "Cohen's kappa",
            text,
            f"{items:,} items",
            _applied(lambda both: kappa_interval(*both), raters),
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
        yield CoverageCase("Bradley-Terry strength", text, size, clustered, data.STRENGTHS[0], repetitions=_FEWEST)
        yield CoverageCase(
            "Bradley-Terry, contests as if independent", text, size, flat, data.STRENGTHS[0], "naive", _FEWEST
        )


def _correlations() -> Iterator[CoverageCase]:
    for prompts in (20, 50, 200):
        ids, draw = _ids(prompts), data.correlated(prompts, correlation=0.6)

        def make(rng: Rng, ids: list[str] = ids, draw: Any = draw) -> Interval | None:
            first, second = draw(rng)
            return cluster_bootstrap_correlation(first.tolist(), second.tolist(), ids, rng=rng, resamples=RESAMPLES)

        yield CoverageCase(
            "correlation",
            "normal values, r = .6",
            f"{prompts} prompts",
            make,
            0.6,
            repetitions=_FEWER,
            least=92.0 if prompts < 50 else 93.0,
        )
