"""Data with a known truth for the coverage of intervals: what reports are made of, drawn again and again."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from marl_bench.statistics.bradley_terry import Contest

Floats = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator], Floats]


def sigmoid(logits: Floats | float) -> Floats:
    """Returns the logistic function."""
    shares: Floats = 1 / (1 + np.exp(-np.asarray(logits)))
    return shares


def normal(count: int) -> Draw:
    """Independent normal values around 0."""
    return lambda rng: rng.normal(size=count)


def exponential(count: int) -> Draw:
    """Independent skewed values around 0: exponential, minus 1."""
    return lambda rng: rng.exponential(size=count) - 1


def lognormal(count: int) -> Draw:
    """Independent values with a heavy tail around 0: lognormal with sigma 1, minus the mean."""
    return lambda rng: rng.lognormal(size=count) - np.exp(0.5)


def samples_of_prompts(prompts: int, samples: int, *, effect: Draw) -> Draw:
    """Returns [prompts, samples] values around 0: an effect of each prompt, shared by its samples, plus normal noise of deviation .7."""
    return lambda rng: effect(rng)[:, None] + rng.normal(0.0, 0.7, (prompts, samples))


def wins(pairs: int, *, rate: float) -> Draw:
    """Returns [pairs] independent wins and losses."""
    return lambda rng: (rng.random(pairs) < rate).astype(np.float64)


def clustered_wins(prompts: int, pairs: int, *, ties: float) -> Draw:
    """Returns [prompts, pairs] scores around 3/5: each prompt has its own win rate, Beta(1.8, 1.2); a share of pairs ties instead.

    The win rate with ties as halves is .6 (1 - ties) + ties / 2.
    """

    def draw(rng: np.random.Generator) -> Floats:
        chances = rng.beta(1.8, 1.2, (prompts, 1))
        decided = (rng.random((prompts, pairs)) < chances).astype(np.float64)
        return np.where(rng.random((prompts, pairs)) < ties, 0.5, decided)

    return draw


def unequal_clusters(prompts: int, *, largest: int) -> Callable[[np.random.Generator], tuple[Floats, list[str]]]:
    """Wins and losses around 1/2 with their prompts: half of the prompts have one pair, a quarter two, a quarter `largest`; win rates of
    prompts are Beta(1, 1)."""

    def draw(rng: np.random.Generator) -> tuple[Floats, list[str]]:
        clusters = np.repeat(np.arange(prompts), rng.choice([1, 1, 2, largest], prompts))
        won = rng.random(clusters.size) < rng.random(prompts)[clusters]
        return won.astype(np.float64), [str(cluster) for cluster in clusters]

    return draw


def both_orders(prompts: int, *, bias: float) -> Draw:
    """Returns [prompts] scores around 1/2, means of two verdicts by a judge that favours what it reads first by `bias` logits."""

    def draw(rng: np.random.Generator) -> Floats:
        quality = rng.normal(size=prompts)
        first = rng.random(prompts) < sigmoid(quality + bias)
        second = rng.random(prompts) < sigmoid(quality - bias)
        return (first.astype(np.float64) + second) / 2

    return draw


def paired_scores(prompts: int) -> Callable[[np.random.Generator], tuple[Floats, Floats]]:
    """Normal scores of two arms on the same prompts, the first .2 higher: a shared deviation of 1, one of .7 of each arm."""

    def draw(rng: np.random.Generator) -> tuple[Floats, Floats]:
        shared = rng.normal(size=prompts)
        return shared + rng.normal(0.2, 0.7, prompts), shared + rng.normal(0.0, 0.7, prompts)

    return draw


def paired_passes(
    prompts: int, *, better: float, worse: float
) -> Callable[[np.random.Generator], tuple[Floats, Floats]]:
    """Passes of two arms on the same prompts: shares that only the first and only the second passes; the rest is passed by both or none."""

    def draw(rng: np.random.Generator) -> tuple[Floats, Floats]:
        place = rng.random(prompts)
        first, second = place < better, (place >= better) & (place < better + worse)
        both = ~(first | second) & (rng.random(prompts) < 0.4)
        return (first | both).astype(np.float64), (second | both).astype(np.float64)

    return draw


def passes_of_seeds(seeds: int, prompts: int) -> Draw:
    """Returns [seeds, prompts] passes and failures: 3 in 4 prompts are always passed, the others with a chance of 3/5; .9 in all."""
    chances = np.where(np.arange(prompts) % 4 > 0, 1.0, 0.6)
    return lambda rng: (rng.random((seeds, prompts)) < chances).astype(np.float64)


def seeds_by_prompts(
    seeds: int, prompts: int, *, of_seeds: float, of_prompts: float, rest: float
) -> Callable[[np.random.Generator], Floats]:
    """Returns [seeds, prompts] normal values around 0 with effects of seeds, prompts and neither, each with its deviation."""

    def draw(rng: np.random.Generator) -> Floats:
        effects = rng.normal(0.0, of_seeds, (seeds, 1)) + rng.normal(0.0, of_prompts, (1, prompts))
        return effects + rng.normal(0.0, rest, (seeds, prompts))

    return draw


def passed_samples(problems: int, samples: int) -> Callable[[np.random.Generator], list[tuple[int, int]]]:
    """Samples and passes of each problem, its chance being Beta(1/2, 3/2): many hard problems, a few easy ones."""

    def draw(rng: np.random.Generator) -> list[tuple[int, int]]:
        passed = rng.binomial(samples, rng.beta(0.5, 1.5, problems))
        return [(samples, int(count)) for count in passed]

    return draw


def pass_at_k_truth(k: int) -> float:
    """Returns the pass@k of `passed_samples`: 1 - E[(1 - p)^k], with 1 - p from Beta(3/2, 1/2)."""
    moments = [(1.5 + power) / (2.0 + power) for power in range(k)]
    return 1 - float(np.prod(moments))


def longer_wins(prompts: int) -> Callable[[np.random.Generator], tuple[Floats, Floats]]:
    """Scores and length gaps (deviation 30 words, mean 15) of pairs; at a gap of 0 the chance to win is sigmoid(.4)."""

    def draw(rng: np.random.Generator) -> tuple[Floats, Floats]:
        gaps = rng.normal(15.0, 30.0, prompts)
        won = rng.random(prompts) < sigmoid(0.4 + np.tanh(gaps / 30.0))
        return won.astype(np.float64), gaps

    return draw


STRENGTHS = (0.6, 0.2, -0.2, -0.6)
"""True log strengths of the four systems of `contests`."""


def contests(prompts: int) -> Callable[[np.random.Generator], list[Contest]]:
    """Every pair of four systems on every prompt; the contests of a prompt share the quality of each system's response.

    A response's quality is its system's strength plus Gumbel noise and the better one wins, which makes each single contest follow
    Bradley-Terry exactly.
    """

    def draw(rng: np.random.Generator) -> list[Contest]:
        quality = np.array(STRENGTHS) + rng.gumbel(size=(prompts, len(STRENGTHS)))
        return [
            Contest(str(first), str(second), float(quality[prompt, first] > quality[prompt, second]), str(prompt))
            for prompt in range(prompts)
            for first in range(len(STRENGTHS))
            for second in range(first)
        ]

    return draw


LABELS = np.array([[0.35, 0.05, 0.05], [0.05, 0.25, 0.05], [0.05, 0.05, 0.10]])
"""Joint shares of the labels of `two_raters`: agreement .70, by chance .45² + .35² + .20² = .365, so kappa is .335 / .635."""


def two_raters(items: int) -> Callable[[np.random.Generator], tuple[list[int], list[int]]]:
    """Labels of two raters that agree on 70 % of the items."""

    def draw(rng: np.random.Generator) -> tuple[list[int], list[int]]:
        cells = rng.choice(LABELS.size, items, p=LABELS.ravel())
        return (cells // 3).tolist(), (cells % 3).tolist()

    return draw


def correlated(prompts: int, *, correlation: float) -> Callable[[np.random.Generator], tuple[Floats, Floats]]:
    """Two normal values a prompt with a correlation."""

    def draw(rng: np.random.Generator) -> tuple[Floats, Floats]:
        first = rng.normal(size=prompts)
        return first, correlation * first + np.sqrt(1 - correlation**2) * rng.normal(size=prompts)

    return draw
