"""The task: problems, splits, scores by running programs, oracle, metrics. No torch."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from marl_bench.config import Section
from marl_bench.errors import DataError
from marl_bench.execution.programs import Limits, ProgramResult
from marl_bench.interfaces import DataSource, Metric
from marl_bench.metrics.per_sample import PerSample
from marl_bench.records import Prompt, Response, SftPair, TaskData
from marl_bench.splits import split_rows, unseen_rows
from marl_bench.usable_rows import UnusableRows
from marl_bench_tasks.apps.companions import MBPP, humaneval_prompts, mbpp_pairs, mbpp_place, mbpp_prompts
from marl_bench_tasks.apps.grader import ProgramGrader
from marl_bench_tasks.apps.measures import Failures, PassRates
from marl_bench_tasks.apps.prompts import program_of, question_span, question_text
from marl_bench_tasks.apps.rows import PUBLISHED, Row, RowCheck, problem_rows
from marl_bench_tasks.apps.scores import SCORES, gold_score

SFT_SHARE = 0.2
"""Of the training problems; RL takes the rest, since there is no reward model."""


class Options(Section):
    """Options of the task."""

    score: Literal["apps_adaptive", "apps_partial"] = Field(
        "apps_adaptive", description="apps_adaptive gives -0.6 for any error or limit; apps_partial counts passed tests"
    )
    evaluate_on: Literal["apps", "humaneval", "mbpp"] = Field("apps", description="data set of the evaluation prompts")
    fences: Literal["strip", "keep"] = Field(
        "strip", description="strip: of a response with ``` fences, the first block is the program"
    )
    timeout_seconds: float = Field(4.0, gt=0, description="CPU seconds of a program in each test on a reference host")
    memory_mib: int = Field(1024, ge=16, description="memory of a program")
    workers: int = Field(1, ge=1, description="programs side by side in each process")
    min_sft_problems: int = Field(32, ge=1, description="with fewer solved problems, SFT learns from MBPP")
    sft_problems: str | None = Field(
        None, description="folder of MBPP, or mbpp (hub); null looks beside the data folder"
    )


@dataclasses.dataclass(frozen=True)
class AppsTask:
    """Programs that answer problems; they are run, and judged by their tests.

    Attributes:
        options: Of the task.
        grader: Runs the programs.
    """

    options: Options
    grader: ProgramGrader

    @property
    def metrics(self) -> Sequence[Metric]:
        """Pass rates, ways to fail, lines of the program."""
        return (PassRates(self.results), Failures(self.results), PerSample("program_lines", self._lines))

    def load(self, source: DataSource, *, seed: int) -> TaskData:
        """Reads problems; those of `train` are split into SFT and RL, those of `test` are the evaluation.

        Raises:
            DataError: The source is missing, empty, or not what it should be; or there are too few solutions for SFT.
        """
        unusable, check = UnusableRows(), RowCheck()
        name = f"data '{source.path or source.kind}'"
        rows = list(unusable.keep_usable(problem_rows(source, seed=seed), check))
        unusable.check_share(source=name)
        train = [row for row in rows if row.split == "train"]
        test = [row for row in rows if row.split != "train"]
        if not train or not test:
            raise DataError(f"{name}: {len(train)} train and {len(test)} test problems; both are needed.")
        by_prompt = source.split == "prompt"
        groups = [row.group for row in train]
        stages = split_rows(groups, (SFT_SHARE,), by_prompt=by_prompt, seed_text=f"apps split {seed}")
        sft_rows, rl_part = ([train[place] for place in stage] for stage in stages)
        unseen = [test[place] for place in unseen_rows([{row.group} for row in test], [{g} for g in groups])]
        kept = unseen if by_prompt else test
        # Rows are used as published in the official split; else a question stands there once.
        rl_rows, eval_rows = (_distinct(part) if by_prompt else part for part in (rl_part, kept))
        pairs, sft_notes = self._sft(sft_rows, source, seen=len(train))
        evaluation, notes = self._evaluation(eval_rows, source)
        counts = {
            "train_problems": len(train),
            "test_problems": len(test),
            "train_problems_with_solutions": sum(row.reference is not None for row in train),
            "solutions_not_json": len(check.unreadable_solutions),
            "test_problems_dropped_because_in_train": len(test) - len(kept),
            "problems_dropped_because_same_question": len(rl_part) - len(rl_rows) + len(kept) - len(eval_rows),
            **unusable.counts(),
        }
        return TaskData(
            sft=pairs,
            preferences=[],
            rl_prompts=[self._prompt(row) for row in rl_rows],
            eval_prompts=evaluation,
            counts=counts,
            notes=[*_size_notes(source, len(train), len(test)), *sft_notes, *notes, *_account(unusable, check)],
        )

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> Sequence[float | None]:
        """Returns what the option `score` says of each response's program; None where its tests could not be run."""
        return [SCORES[self.options.score](result) for result in self.results(prompts, responses)]

    def oracle(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> Sequence[float | None] | None:
        """Returns the gold scores in embedded problems, whose hidden tests run for programs that pass the others; None for real ones."""
        if not all("hidden" in prompt.fields for prompt in prompts):
            return None
        public = self.results(prompts, responses)
        passing = [row for row, result in enumerate(public) if result.status == "passed"]
        programs = [(prompts[row].fields["hidden"], self._program(prompts[row], responses[row])) for row in passing]
        hidden = dict(zip(passing, self.grader.grade(programs), strict=True))
        return [
            gold_score(result, hidden.get(row), hidden_tests=prompts[row].fields["hidden_tests"])
            for row, result in enumerate(public)
        ]

    def results(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[ProgramResult]:
        """Runs the program of each response in the tests of its prompt."""
        rows = zip(prompts, responses, strict=True)
        return self.grader.grade(
            [(prompt.fields["tests"], self._program(prompt, response)) for prompt, response in rows]
        )

    def _program(self, prompt: Prompt, response: Response) -> str:
        return program_of(prompt, response.text, fences=self.options.fences)

    def _lines(self, prompt: Prompt, response: Response) -> float:
        return float(sum(bool(line.strip()) for line in self._program(prompt, response).splitlines()))

    def _sft(self, sft_rows: Sequence[Row], source: DataSource, *, seen: int) -> tuple[list[SftPair], list[str]]:
        solved = [SftPair(self._prompt(row), row.solution) for row in sft_rows if row.solution is not None]
        if len(solved) >= min(self.options.min_sft_problems, len(sft_rows)):
            return solved, []
        what = (
            f"only {len(solved)} of the {len(sft_rows)} problems of the SFT part ({seen} train problems) have solutions"
        )
        place = mbpp_place(self.options.sft_problems, source, or_hub=False)
        if place is None:
            raise DataError(
                f"data '{source.path or source.kind}': {what}, fewer than task_options.min_sft_problems="
                f"{self.options.min_sft_problems}; set task_options.sft_problems to a folder with MBPP or to mbpp (hub), or lower the former."
            )
        pairs = mbpp_pairs(place)
        return pairs, [f"SFT uses MBPP train, {len(pairs)} problems, because {what}."]

    def _evaluation(self, rows: Sequence[Row], source: DataSource) -> tuple[list[Prompt], list[str]]:
        chosen = self.options.evaluate_on
        if chosen == "apps":
            return [self._prompt(row) for row in rows], []
        if chosen == "humaneval":
            prompts = humaneval_prompts()
        else:
            prompts = mbpp_prompts(mbpp_place(self.options.sft_problems, source, or_hub=True) or MBPP)
        return prompts, [f"Evaluation is on {chosen}, {len(prompts)} problems, not on APPS."]

    def _prompt(self, row: Row) -> Prompt:
        hidden = {} if row.hidden is None else {"hidden": row.hidden, "hidden_tests": row.hidden_tests}
        return Prompt(
            id=row.id,
            text=question_text(row.question, row.starter_code, call_based=row.call_based),
            reference=row.reference,
            subset=row.difficulty,
            fields={"tests": row.tests, **hidden},
            cuttable=question_span(row.question),
        )


def build_task(options: Options) -> AppsTask:
    """Returns the task with a grader of its own."""
    limits = Limits(timeout_seconds=options.timeout_seconds, memory_mib=options.memory_mib)
    return AppsTask(options, ProgramGrader(limits, workers=options.workers))


def _distinct(rows: Sequence[Row]) -> Sequence[Row]:
    """Returns the first row of each question."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row.group, row)
    return list(first.values())


def _size_notes(source: DataSource, train: int, test: int) -> list[str]:
    sizes = {"train": train, "test": test}
    if source.kind != "hub" and sizes != PUBLISHED:
        return []
    return [
        f"{train:,} train and {test:,} test problems can be used; the published data set has {PUBLISHED['train']:,} and {PUBLISHED['test']:,}."
    ]


def _account(unusable: UnusableRows, check: RowCheck) -> list[str]:
    notes = unusable.notes()
    if check.unreadable_solutions:
        notes.append(
            f"The solutions of {len(check.unreadable_solutions)} problems are no JSON list of texts; these problems are kept without "
            f"solutions, the first: {check.unreadable_solutions[0]}."
        )
    return notes
