"""The intervals over prompts and pairs, each on data of the sizes that reports have."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from marl_bench.bench import simulated_data as data
from marl_bench.bench.coverage import (
    FEWER,
    RESAMPLES,
    CoverageCase,
    Make,
    applied,
    applied_with_rng,
    flat_mean,
    prompt_ids,
)
from marl_bench.statistics.bootstrap import cluster_bootstrap_interval
from marl_bench.statistics.intervals import Interval, wilson_interval
from marl_bench.statistics.paired import paired_difference
from marl_bench.statistics.pass_at_k import pass_at_k_interval
from marl_bench.statistics.prompts import prompt_interval
from marl_bench.statistics.win_rates import win_rate

Rng = np.random.Generator


def prompt_cases() -> list[CoverageCase]:
    """Returns the cases of proportions, pass rates, means over prompts and paired differences."""
    return [*_proportions(), *_pass_rates(), *_means_over_prompts(), *_paired_differences(), *_rates_over_prompts()]


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
    for prompts in (20, 50, 200):
        yield CoverageCase(
            "win rate, clustered Wilson",
            "1 to 8 dependent pairs a prompt",
            f"{prompts:,} prompts",
            applied(
                lambda pairs: win_rate(pairs[0].tolist(), pairs[1]).rate, data.unequal_clusters(prompts, largest=8)
            ),
            0.5,
            least=93.0 if prompts > 20 else 92.0,
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
        return win_rate(scores.ravel().tolist(), prompt_ids(prompts, scores.shape[1])).rate

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
                applied(partial(pass_at_k_interval, k=k), draw),
                data.pass_at_k_truth(k),
            )

    def flat(counts: list[tuple[int, int]]) -> Interval:
        return wilson_interval(sum(passed for _, passed in counts), sum(samples for samples, _ in counts))

    yield CoverageCase(
        "Wilson, samples as if independent",
        "10 samples a problem, many hard problems",
        "164 problems",
        applied(flat, data.passed_samples(164, 10)),
        data.pass_at_k_truth(1),
        "naive",
    )


def _means_over_prompts() -> Iterator[CoverageCase]:
    for prompts in (5, 10, 20, 50, 200, 1000):
        draw = data.samples_of_prompts(prompts, 3, effect=data.normal(prompts))
        text = "3 samples a prompt, normal scores"
        yield CoverageCase("mean over prompts", text, f"{prompts:,} prompts", _over_prompts(draw), 0.0, "report", FEWER)
        yield CoverageCase(
            "Student t, samples as if independent",
            text,
            f"{prompts:,} prompts",
            applied(flat_mean, draw),
            0.0,
            "naive",
            FEWER,
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
                repetitions=FEWER,
                least=least.get(prompts, 93.0),
            )


def _over_prompts(draw: data.Draw) -> Make:
    def make(rng: Rng) -> Interval | None:
        values = draw(rng)
        clusters = np.repeat(np.arange(len(values)), values.shape[1])
        return prompt_interval(values.ravel(), clusters, rng=rng, resamples=RESAMPLES)

    return make


def _paired_differences() -> Iterator[CoverageCase]:
    for prompts in (20, 50, 200, 1000):
        ids = prompt_ids(prompts)
        for draw, text, truth, most in (
            (data.paired_scores(prompts), "normal scores", 0.2, 97.0),
            (data.paired_passes(prompts, better=0.15, worse=0.05), "pass or fail, 20 % differ", 0.1, 98.0),
            # Where hardly any prompt differs no interval that is honest is exact.
            (data.paired_passes(prompts, better=0.03, worse=0.01), "pass or fail, 4 % differ", 0.02, 100.0),
        ):

            def make(rng: Rng, draw: Any = draw, ids: list[str] = ids) -> Interval | None:
                first, second = (dict(zip(ids, values.tolist(), strict=True)) for values in draw(rng))
                found = paired_difference(first, second, rng=rng, resamples=RESAMPLES)
                return found.interval if found else None

            size = f"{prompts:,} prompts"
            most = most if prompts < 200 else 97.0
            yield CoverageCase("paired difference", text, size, make, truth, repetitions=FEWER, most=most)
        table = data.paired_passes(prompts, better=0.03, worse=0.01)
        resampled = applied_with_rng(
            lambda both, rng: cluster_bootstrap_interval(
                both[0] - both[1], np.arange(both[0].size), rng=rng, resamples=RESAMPLES
            ),
            table,
        )
        yield CoverageCase(
            "bootstrap of the differences",
            "pass or fail, 4 % differ",
            f"{prompts:,} prompts",
            resampled,
            0.02,
            "naive",
            FEWER,
        )


def _rates_over_prompts() -> Iterator[CoverageCase]:
    for prompts in (20, 50, 200):
        text, size, draw = "share of 0 and 1, rate 0.9", f"{prompts} prompts", data.wins(prompts, rate=0.9)
        for compute, name, use in (
            (prompt_interval, "mean over prompts", "report"),
            (cluster_bootstrap_interval, "bootstrap of a rate", "naive"),
        ):

            def make(
                rng: Rng, draw: data.Draw = draw, compute: Callable[..., Interval | None] = compute
            ) -> Interval | None:
                values = draw(rng)
                return compute(values, np.arange(values.size), rng=rng, resamples=RESAMPLES)

            yield CoverageCase(name, text, size, make, 0.9, use, FEWER, most=98.0)  # type: ignore[arg-type]
