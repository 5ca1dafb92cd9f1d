"""The contract of a task: what every task must keep, whoever wrote it. The shipped tasks pass the same check in the tests."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

from marl_bench.authoring import data_clauses, measure_clauses
from marl_bench.authoring.offline import NetworkUsed, no_network
from marl_bench.authoring.opened_task import OpenedTask
from marl_bench.authoring.samples import CheckedData, checked_data
from marl_bench.errors import MarlBenchError

Clause = Callable[[OpenedTask, CheckedData], Iterator[str]]

CLAUSES: Mapping[str, Clause] = {
    "spec": data_clauses.spec,
    "schema": data_clauses.schema,
    "determinism": data_clauses.determinism,
    "picklable": data_clauses.picklable,
    "split": data_clauses.split,
    "prompts": data_clauses.prompts,
    "responses": data_clauses.responses,
    "reward": measure_clauses.reward,
    "oracle": measure_clauses.oracle,
    "metrics": measure_clauses.metrics,
    "gold": measure_clauses.gold,
}
"""Clause name to the check that yields what is wrong."""

LOAD, OFFLINE = "load", "offline"


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one clause found.

    Attributes:
        clause: Name of the clause.
        problems: What is wrong; empty if the clause holds.
        skipped: Why the clause could not be looked at, else empty.
    """

    clause: str
    problems: tuple[str, ...] = ()
    skipped: str = ""


def check_task(opened: OpenedTask, *, samples: int) -> list[Finding]:
    """Checks a task against the contract.

    Args:
        opened: The task.
        samples: How many evaluation prompts are scored and measured.
    """
    offline = opened.source.kind != "hub"
    try:
        with no_network(on=offline):
            data = checked_data(opened, samples=samples)
    except NetworkUsed as error:
        return [Finding(OFFLINE, (f"load: {error}",))]
    except MarlBenchError as error:
        return [Finding(LOAD, (str(error),))]
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a plugin raises is reported)
        return [Finding(LOAD, (f"{type(error).__name__}: {error}",))]
    findings = [Finding(LOAD)]
    network: list[str] = []
    for name, clause in CLAUSES.items():
        try:
            with no_network(on=offline):
                findings.append(Finding(name, tuple(clause(opened, data))))
        except data_clauses.Skipped as reason:
            findings.append(Finding(name, skipped=str(reason)))
        except NetworkUsed as error:
            network.append(f"{name}: {error}")
        except (Exception, SystemExit) as error:  # noqa: BLE001 (likewise)
            findings.append(Finding(name, (f"{type(error).__name__}: {error}",)))
    return [*findings, Finding(OFFLINE, tuple(network), skipped="" if offline else "the data come from the hub")]
