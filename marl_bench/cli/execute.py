"""The verbs `marl-bench execute` and `marl-bench doctor`: parse, call one function, print."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marl_bench.errors import ConfigError, IsolationError, UnscoredError

if TYPE_CHECKING:
    from marl_bench.execution.grade_file import GradedSample, Job
    from marl_bench.execution.isolation import Level
    from marl_bench.execution.programs import Status
    from marl_bench.execution.scoring import PassAtK

_MOST_LISTED = 40
_Isolation = Annotated[
    str,
    typer.Option(
        "--require-isolation", metavar="LEVEL", help="Refuse to run below: process, namespaces or full; see doctor."
    ),
]


def execute(  # noqa: PLR0913 (one parameter an option)
    samples: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="JSON lines: task_id and completion, or problem_id and program; .gz if compressed.",
            show_default=False,
        ),
    ],
    problems: Annotated[
        str,
        typer.Option(
            metavar="SET",
            help="humaneval, mbpp, apps, or a file or folder with the columns of one of them or our own.",
            show_default=False,
        ),
    ],
    k: Annotated[str, typer.Option(metavar="K,...", help="Which pass@k.")] = "1",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Results, a line a sample; goes on from those there.  [default: FILE.results.jsonl]"
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Programs side by side.  [default: one a core]")
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.05, max=86_400, help="CPU seconds of a test; more on a slow host.")
    ] = 10.0,
    memory: Annotated[int, typer.Option(metavar="MIB", min=16, max=1_000_000, help="Memory of a program.")] = 1024,
    comparator: Annotated[
        str, typer.Option(metavar="NAME", help="tokens-v1, strict-v1 or apps-official-v1 (lenient).")
    ] = "tokens-v1",
    all_tests: Annotated[bool, typer.Option("--all-tests", help="Run every test, also after one that failed.")] = False,
    packages: Annotated[
        str,
        typer.Option(
            metavar="NAMES", help="Packages, as pip lists them, that programs may import, with commas; or none."
        ),
    ] = "numpy",
    require_isolation: _Isolation = "process",
    max_unscored: Annotated[
        float, typer.Option(metavar="SHARE", min=0, max=1, help="Fail if more samples than this cannot be graded.")
    ] = 0.02,
    revision: Annotated[str | None, typer.Option(metavar="REV", help="Revision of a data set on the hub.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the pass@k lines only.")] = False,
) -> None:
    """Grade sampled programs by running them in isolation; the same command again goes on from what is graded."""
    from collections import Counter

    from marl_bench.display import counted
    from marl_bench.execution.grade_file import Job, finished_samples, grade_file
    from marl_bench.execution.problems import load_problems
    from marl_bench.execution.programs import Limits
    from marl_bench.execution.runner import ProgramRunner
    from marl_bench.execution.samples import read_samples
    from marl_bench.execution.scoring import check_sample_counts, pass_at_k

    ks = _ks(k)
    allowed = () if packages == "none" else tuple(name.strip() for name in packages.split(","))
    problem_set = load_problems(problems, revision=revision)
    programs = read_samples(samples, problem_set)
    counts = Counter(program.problem_id for program in programs)
    check_sample_counts(counts, ks)
    job = Job(
        samples=programs,
        problems=problem_set,
        limits=Limits(timeout_seconds=timeout, memory_mib=memory),
        comparator=comparator,
        all_tests=all_tests,
        packages=allowed,
    )
    out = out or samples.with_name(f"{samples.name.removesuffix('.gz')}.results.jsonl")
    finished = len(finished_samples(job, out))
    if len(counts) < len(problem_set.problems):
        typer.echo(
            f"Note: {len(counts)} of the {len(problem_set.problems)} problems have samples; pass@k is of these alone.",
            err=True,
        )
    with ProgramRunner(
        job.limits,
        workers=workers,
        comparator=comparator,
        require_isolation=_level(require_isolation),
        packages=allowed,
        stop_at_first_failure=not all_tests,
    ) as runner:
        if not quiet:
            typer.echo(
                f"{len(programs)} samples of {len(counts)} problems, {finished} graded already; "
                f"isolation: {runner.isolation.level} ({runner.isolation.launcher}); time limits x {runner.pace:.2f}"
            )
        seen: Counter[str] = Counter()
        with counted("programs", done=finished, total=len(programs), quiet=quiet) as show:

            def listen(sample: "GradedSample", done: int) -> None:
                seen[sample.status] += 1
                show(done, f"{seen['passed']} of {seen.total()} passed")

            graded = grade_file(job, runner, out, listen)
    results = [sample.result() for sample in graded]
    if not quiet:
        _show_statuses(graded)
        _show_problems(graded)
        _show_difficulties(job, graded, ks)
    if all(result.status == "grader_error" for result in results):
        raise UnscoredError(
            f"execute: none of the {len(results)} samples could be graded ({graded[0].message}); see {out}."
        )
    scores = pass_at_k(results, ks)
    for score in scores:
        typer.echo(
            f"pass@{score.k} {score.interval.estimate:.3f} [{score.interval.low:.2f}, {score.interval.high:.2f}]"
        )
    if not quiet:
        typer.echo(f"Results: {out}")
    _check_unscored(scores, len(results), max_unscored)


def doctor(require_isolation: _Isolation = "process") -> None:
    """Show how well this host isolates programs, and what is lost where something is missing."""
    from marl_bench.execution.doctor import diagnose_host
    from marl_bench.execution.isolation import LEVELS

    required = _level(require_isolation)
    found = diagnose_host()
    typer.echo(f"Isolation level: {found.isolation.level}  (of {', '.join(LEVELS)}), by {found.isolation.launcher}")
    for feature in found.features:
        typer.echo(f"  {'yes' if feature.present else 'no ':3}  {feature.name}: {feature.detail}")
        if not feature.present:
            typer.echo(f"       without it {feature.lost}")
    typer.echo(f"Time limits: x {found.pace:.2f} of those asked for, from a loop timed here")
    typer.echo("This is process isolation on a shared kernel: enough for what models write, no place for secrets.")
    if LEVELS.index(found.isolation.level) < LEVELS.index(required):
        raise IsolationError(f"isolation: level '{found.isolation.level}' here, '{required}' is required.")


def _level(name: str) -> "Level":
    from marl_bench.errors import UnknownNameError
    from marl_bench.execution.isolation import LEVELS

    for level in LEVELS:
        if level == name:
            return level
    raise UnknownNameError("isolation level", name, LEVELS)


def _ks(text: str) -> list[int]:
    try:
        ks = [int(part) for part in text.split(",")]
    except ValueError:
        ks = []
    if not ks or min(ks) < 1 or len(set(ks)) < len(ks):
        raise ConfigError(f"--k {text}: should be different whole numbers from 1, for example 1,5,10.")
    return ks


def _show_statuses(graded: list["GradedSample"]) -> None:
    from collections import Counter

    from marl_bench.execution.programs import STATUSES

    counts = Counter(sample.status for sample in graded)
    typer.echo("Samples: " + ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status]))
    beside = sum(sample.in_process for sample in graded)
    if beside:
        typer.echo(
            f"Of these, {beside} were judged in the program's own process, which a hostile program could have forged."
        )


def _show_problems(graded: list["GradedSample"]) -> None:
    """Lists the problems that not every sample solved, with the statuses of their samples."""
    from collections import Counter

    by_problem: dict[str, list[GradedSample]] = {}
    for sample in graded:
        by_problem.setdefault(sample.problem_id, []).append(sample)
    unsolved = [name for name, found in by_problem.items() if any(sample.status != "passed" for sample in found)]
    never = sum(all(sample.status != "passed" for sample in found) for found in by_problem.values())
    typer.echo(
        f"Problems: {len(by_problem) - len(unsolved)} solved by every sample, {len(unsolved) - never} by some, {never} by none"
    )
    for name in unsolved[:_MOST_LISTED]:
        statuses: Counter[Status] = Counter(sample.status for sample in by_problem[name])
        messages = {sample.status: sample.message for sample in reversed(by_problem[name])}
        counts = [
            f"{count} {status}" + (f" ({messages[status]})" if messages[status] else "")
            for status, count in statuses.most_common()
        ]
        typer.echo(f"  {name}: {', '.join(counts)}")
    if len(unsolved) > _MOST_LISTED:
        typer.echo(f"  and {len(unsolved) - _MOST_LISTED} more; every sample stands in the results file")


def _show_difficulties(job: "Job", graded: list["GradedSample"], ks: list[int]) -> None:
    from marl_bench.execution.scoring import pass_at_k

    groups: dict[str, list[GradedSample]] = {}
    for sample in graded:
        suite = job.problems.find(sample.problem_id).suite
        groups.setdefault(suite.difficulty if suite else "", []).append(sample)
    for name, found in sorted(groups.items()):
        if name and any(sample.status != "grader_error" for sample in found):
            scores = pass_at_k([sample.result() for sample in found], ks)
            texts = [f"pass@{score.k} {score.interval.estimate:.3f}" for score in scores]
            typer.echo(f"{name}: {', '.join(texts)} ({scores[0].problems} problems)")


def _check_unscored(scores: list["PassAtK"], samples: int, max_unscored: float) -> None:
    unscored = scores[0].unscored
    if not unscored:
        return
    bounds = ", ".join(f"pass@{score.k} {score.lowest:.3f} to {score.highest:.3f}" for score in scores)
    text = f"{unscored} of {samples} samples could not be graded; with all of them failed or passed: {bounds}."
    if unscored > max_unscored * samples:
        raise UnscoredError(f"execute: {text} More than --max-unscored {max_unscored} allows.")
    typer.echo(f"Note: {text}", err=True)
