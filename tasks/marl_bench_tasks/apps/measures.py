"""The metrics of the task: what became of each program in its tests. No torch."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from marl_bench.execution.programs import ProgramResult, Status
from marl_bench.records import Prompt, Response
from marl_bench.statistics.pass_at_k import pass_at_k_of_problem

KS = (1, 5)

Graded = Callable[[Sequence[Prompt], Sequence[Response]], Sequence[ProgramResult]]
Columns = Mapping[str, Sequence[float | None]]


@dataclasses.dataclass(frozen=True)
class PassRates:
    """What a program passes: `passed` (0 or 1), `tests_passed` (share), and `pass@k`.

    `pass@k` of a sample is the unbiased estimate from all samples of its prompt, None where there are fewer than k; so the mean over
    samples is the mean over problems.
    """

    graded: Graded
    names: Sequence[str] = ("passed", "tests_passed", *(f"pass@{k}" for k in KS))
    higher_is_better: bool | None = True

    def compute(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> Columns:
        """Returns the values; None for what could not be graded."""
        results = self.graded(prompts, responses)
        scored: defaultdict[str, list[bool]] = defaultdict(list)
        for prompt, result in zip(prompts, results, strict=True):
            if result.status != "grader_error":
                scored[prompt.id].append(result.status == "passed")
        columns: dict[str, Sequence[float | None]] = {
            "passed": [_unless_unscored(result, float(result.status == "passed")) for result in results],
            "tests_passed": [_unless_unscored(result, result.passed_share) for result in results],
        }
        for k in KS:
            columns[f"pass@{k}"] = [
                _unless_unscored(result, _pass_at_k(scored[prompt.id], k))
                for prompt, result in zip(prompts, results, strict=True)
            ]
        return columns


@dataclasses.dataclass(frozen=True)
class Failures:
    """How a program fails, each 0 or 1, by its first failed test; memory and output limits are `other_failure`."""

    graded: Graded
    names: Sequence[str] = ("compile_error", "runtime_error", "timeout", "wrong_answer", "other_failure")
    higher_is_better: bool | None = False

    def compute(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> Columns:
        """Returns the values; None for what could not be graded."""
        results = self.graded(prompts, responses)
        return {
            name: [_unless_unscored(result, float(_failure(result.status) == name)) for result in results]
            for name in self.names
        }


def _failure(status: Status) -> str:
    return "other_failure" if status in ("memory", "output_limit") else status


def _pass_at_k(passed: Sequence[bool], k: int) -> float | None:
    return pass_at_k_of_problem(len(passed), sum(passed), k) if len(passed) >= k else None


def _unless_unscored(result: ProgramResult, value: float | None) -> float | None:
    return None if result.status == "grader_error" else value
