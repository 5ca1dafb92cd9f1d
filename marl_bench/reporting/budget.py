"""The equal-budget rule: trained arms are compared only if they could have learned from the same."""

from collections.abc import Iterable, Sequence
from typing import Any

from marl_bench.errors import RecordError
from marl_bench.records import Cell


def require_one_task(cells: Sequence[Cell]) -> None:
    """Checks that all cells are of one task with one primary metric.

    Raises:
        RecordError: They are not; such records share no prompts, so no option can force them together.
    """
    tasks = {(str(cell.record.task["id"]), str(cell.record.task["primary_metric"])) for cell in cells}
    if len(tasks) > 1 and len({task for task, _ in tasks}) == 1:
        metrics = ", ".join(sorted(metric for _, metric in tasks))
        raise RecordError(
            f"the runs are of one task but of different primary metrics ({metrics}); give runs that were scored alike: "
            "marl-bench evaluate takes a reward model with --run or --reward-model."
        )
    if len(tasks) > 1:
        given = ", ".join(f"{task} ({metric})" for task, metric in sorted(tasks))
        raise RecordError(f"the runs are of different tasks: {given}; compare runs of one task.")


def require_one_record_each(cells: Sequence[Cell]) -> None:
    """Checks that no arm and seed stands twice.

    Raises:
        RecordError: One does, so it is not known which to take.
    """
    owners: dict[tuple[str, int], str] = {}
    for cell in cells:
        key = (str(cell.record.arm["name"]), cell.record.seed)
        if key in owners:
            raise RecordError(
                f"arm '{key[0]}' with seed {key[1]} stands in both {owners[key]} and {cell.record.experiment}; "
                "a report takes each once: leave one of the runs out, or set the same arms of two runs against each other "
                "with marl-bench compare."
            )
        owners[key] = cell.record.experiment


def budget_gaps(cells: Sequence[Cell], *, one_experiment: bool = True) -> list[str]:
    """Returns one text for each item in which the trained cells differ; empty if all had the same.

    Arms that sample nothing in training (SFT) are exempt. Runs of different code or settings (`one_experiment` False) may have other
    data, SFT and reward models, which is then what is compared; their amounts must agree all the same.
    """
    trained = [cell for cell in cells if cell.record.arm["trained"]]
    gaps = []
    for item, values in _items(trained, digests=one_experiment):
        holders: dict[str, set[str]] = {}
        for cell, value in zip(trained, values, strict=True):
            holders.setdefault(_text(value), set()).add(str(cell.record.arm["name"]))
        if len(holders) > 1:
            found = "; ".join(f"{value} ({', '.join(sorted(arms))})" for value, arms in sorted(holders.items()))
            gaps.append(f"{item}: {found}")
    return gaps


def check_budget(cells: Sequence[Cell], *, force: bool, one_experiment: bool = True) -> list[str]:
    """Returns warnings for the report: empty at equal budgets, one sentence a gap when forced.

    Raises:
        RecordError: Trained arms had different budgets and `force` is False.
    """
    gaps = budget_gaps(cells, one_experiment=one_experiment)
    if gaps and not force:
        raise RecordError(
            f"the trained arms had no equal budget: {' | '.join(gaps)}. "
            "Run them with the same settings, or compare them anyway: report and compare take --force."
        )
    return [f"Unequal budget (forced): {gap}." for gap in gaps]


def _items(cells: Sequence[Cell], *, digests: bool) -> Iterable[tuple[str, list[Any]]]:
    records = [cell.record for cell in cells]
    yield "task version", [record.task["version"] for record in records]
    for digest in ("data", "sft", "reward_model", "reward") if digests else ():
        yield f"{digest} digest", [record.digests.get(digest) for record in records]
    for count in ("updates", "responses_sampled", "max_response_tokens"):
        yield count, [record.budget.get(count) for record in records]


def _text(value: Any) -> str:
    if value is None:
        return "none"
    text = str(value)
    return text[:12] if len(text) == 64 else text  # the head of a SHA-256 tells two apart
