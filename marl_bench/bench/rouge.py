"""`marl-bench bench rouge`: pairs of texts a second over processes, against rouge-score's own loop."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from marl_bench.errors import MarlBenchError
from marl_bench.metrics.rouge_scores import NAMES, Pair, UnicodeTokenizer, processes_for, rouge_scores
from marl_bench.reporting.tables import Table

OWN_LOOP = "rouge-score's own loop"
_VOCABULARY = 2000


@dataclasses.dataclass(frozen=True)
class RougeSize:
    """How large the benchmark is.

    Attributes:
        pairs: Pairs of texts of a round.
        words: Mean words of each text.
        processes: Processes side by side.
        rounds: Rounds; the contenders take turns in each.
    """

    pairs: int = 10_000
    words: int = 60
    processes: int = 2
    rounds: int = 3


@dataclasses.dataclass(frozen=True)
class RougeResult:
    """All of `bench rouge`.

    Attributes:
        size: How large it was.
        started: Processes that were really started for that much work.
        seconds: Contender to the wall-clock seconds of each of its rounds.
    """

    size: RougeSize
    started: int
    seconds: dict[str, list[float]]

    def rate(self, contender: str) -> float:
        """Returns the pairs a second of the median round."""
        return self.size.pairs / statistics.median(self.seconds[contender])


def bench_rouge(size: RougeSize, *, show: Callable[[int, str], None]) -> RougeResult:
    """Runs the whole benchmark.

    Args:
        size: How large it is.
        show: Takes how many turns are done, and whose was the last.

    Raises:
        MarlBenchError: A contender's values are not those of rouge-score.
    """
    pairs = random_pairs(size)
    started = processes_for(pairs, size.processes)
    contenders: dict[str, Callable[[], dict[str, list[float]]]] = {
        OWN_LOOP: lambda: own_loop(pairs),
        f"marl-bench, {size.processes} processes": lambda: rouge_scores(pairs, processes=size.processes),
    }
    expected: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    turns = 0
    for _ in range(size.rounds):
        for name, run in contenders.items():
            began = time.perf_counter()
            found = run()
            seconds[name].append(time.perf_counter() - began)
            expected = expected or found
            if found != expected:
                raise MarlBenchError(f"bench rouge: {name} gives other values than {OWN_LOOP}.")
            turns += 1
            show(turns, name)
    return RougeResult(size, started, seconds)


def random_pairs(size: RougeSize) -> list[Pair]:
    """Returns seeded pairs of texts; a third of the prediction's words are the reference's, in its order."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(size.pairs):
        reference = rng.integers(_VOCABULARY, size=rng.integers(1, 2 * size.words))
        kept = reference[rng.random(reference.size) < 1 / 3]
        prediction = np.concatenate([kept, rng.integers(_VOCABULARY, size=rng.integers(1, 2 * size.words))])
        found.append((_text(prediction), _text(reference)))
    return found


def _text(words: Sequence[int] | np.ndarray[Any, np.dtype[np.int64]]) -> str:
    return " ".join(f"w{word}" for word in words)


def own_loop(pairs: Sequence[Pair]) -> dict[str, list[float]]:
    """Returns the values as a script with rouge-score computes them: one scorer, one pair after the other."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(NAMES), tokenizer=UnicodeTokenizer())
    values: dict[str, list[float]] = {name: [] for name in NAMES}
    for prediction, reference in pairs:
        for name, score in scorer.score(reference, prediction).items():
            values[name].append(score.fmeasure)
    return values


def tables(result: RougeResult) -> list[Table]:
    """Returns what the benchmark found as a table."""
    size, base = result.size, result.rate(OWN_LOOP)
    rows = [
        [
            name,
            f"{result.rate(name):,.0f}",
            f"{size.pairs / max(seconds):,.0f}",
            f"{size.pairs / min(seconds):,.0f}",
            f"{result.rate(name) / base:.2f}",
        ]
        for name, seconds in result.seconds.items()
    ]
    return [
        Table(
            f"ROUGE-1, -2 and -L: pairs of texts a second, texts of {size.words} words on average",
            ["Contender", "Median", "Least", "Most", "Times rouge-score's loop"],
            rows,
            note=(
                f"{size.rounds} rounds of {size.pairs:,} pairs, in turn; the same values to the last bit. "
                f"{result.started} processes were started for that much work; their start is in the time."
            ),
        )
    ]


def as_json(result: RougeResult) -> dict[str, Any]:
    """Returns every measured time, and the machine."""
    from marl_bench.provenance import environment

    return {**dataclasses.asdict(result), "environment": environment(device="cpu", threads=1)}
