"""pass@k over the results of programs."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from marl_bench.errors import DataError
from marl_bench.execution.programs import ProgramResult
from marl_bench.statistics.intervals import Interval
from marl_bench.statistics.pass_at_k import pass_at_k_interval


@dataclasses.dataclass(frozen=True)
class PassAtK:
    """pass@k of a set of problems, each a fraction.

    Attributes:
        k: Samples drawn of each problem.
        interval: Over the scored samples; clustered by problem.
        problems: Problems in it: those with at least k scored samples.
        samples: Scored samples in it.
        unscored: Samples that could not be graded.
        lowest: pass@k if all of those had failed.
        highest: pass@k if all of those had passed.
    """

    k: int
    interval: Interval
    problems: int
    samples: int
    unscored: int
    lowest: float
    highest: float


def pass_at_k(results: Iterable[ProgramResult], ks: Sequence[int]) -> list[PassAtK]:
    """Returns pass@k for every k.

    Raises:
        DataError: There are no results, the same sample twice, or fewer samples of a problem than k.
    """
    results = list(results)
    seen = Counter((result.problem_id, result.sample_index) for result in results)
    twice = [key for key, count in seen.items() if count > 1]
    if twice or not seen:
        what = f"sample {twice[0][1]} of problem {twice[0][0]} stands there twice" if twice else "there are none"
        raise DataError(f"pass@k: of the results, {what}; give each sample of a problem once.")
    scored = Counter(result.problem_id for result in results if result.status != "grader_error")
    passed = Counter(result.problem_id for result in results if result.status == "passed")
    given = Counter(problem for problem, _ in seen)
    check_sample_counts(given, ks)
    unscored = sum(given.values()) - sum(scored.values())
    found = []
    for k in ks:
        counts = [(scored[problem], passed[problem]) for problem in given if scored[problem] >= k]
        if not counts:
            raise DataError(f"pass@{k}: no problem has {k} samples that could be graded.")
        worst = pass_at_k_interval([(given[problem], passed[problem]) for problem in given], k)
        best = pass_at_k_interval(
            [(given[problem], passed[problem] + given[problem] - scored[problem]) for problem in given], k
        )
        found.append(
            PassAtK(
                k=k,
                interval=pass_at_k_interval(counts, k),
                problems=len(counts),
                samples=sum(scored.values()),
                unscored=unscored,
                lowest=worst.estimate,
                highest=best.estimate,
            )
        )
    return found


def check_sample_counts(samples: Mapping[str, int], ks: Sequence[int]) -> None:
    """Raises DataError if a k is below 1 or above the number of samples of any problem."""
    for k in ks:
        few = [problem for problem, count in samples.items() if count < k]
        if few or k < 1:
            example = f"; problem {few[0]} has {samples[few[0]]}" if few else ""
            most = min(samples.values(), default=0)
            raise DataError(f"pass@{k}: needs at least {k} samples of every problem{example}. Give k from 1 to {most}.")
