"""The cells of an arm, and their scores on the prompts of a comparison."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from marl_bench.errors import RecordError
from marl_bench.records import Cell
from marl_bench.reporting.comparison import ROLES, Arm

Scores = npt.NDArray[np.float64]
"""[seeds, prompts]: each prompt's mean over its scored samples, NaN where a prompt is unscored or unknown."""


class PromptIndex:
    """Places of prompt ids in their sorted order, the same for all arms of a comparison."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        self.ids: Sequence[str] = sorted({prompt for cell in cells for prompt in cell.columns.prompt_ids})
        self._places = {prompt: place for place, prompt in enumerate(self.ids)}

    def places(self, cell: Cell) -> npt.NDArray[np.int64]:
        """Returns the place of each of the cell's prompts."""
        ids = cell.columns.prompt_ids
        return np.fromiter((self._places[prompt] for prompt in ids), dtype=np.int64, count=len(ids))


@dataclasses.dataclass(frozen=True)
class ArmCells:
    """An arm with its complete cells by seed.

    Attributes:
        arm: The arm.
        cells: Seed to cell.
        prompts: All prompt ids of the comparison, sorted.
        places: Seed to the place in `prompts` of each of the cell's prompts.
    """

    arm: Arm
    cells: Mapping[int, Cell]
    prompts: Sequence[str]
    places: Mapping[int, npt.NDArray[np.int64]]

    def scores(self, metric: str, *, seeds: Sequence[int]) -> Scores:
        """Returns the prompts' values of a metric, a row for each of the seeds and a column for each of `prompts`."""
        table = np.full((len(seeds), len(self.prompts)), np.nan)
        for row, seed in enumerate(seeds):
            table[row, self.places[seed]] = self.cells[seed].columns.prompt_means(metric)
        return table

    def answered(self, seeds: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Returns [prompts]: True where a cell of the seeds has a sample."""
        found = np.zeros(len(self.prompts), dtype=np.bool_)
        for seed in seeds:
            found[self.places[seed]] = True
        return found

    def checks(self, seeds: Sequence[int]) -> npt.NDArray[np.uint32]:
        """Returns [prompts]: the check number of each prompt's text, 0 where no cell of the seeds has it."""
        found = np.zeros(len(self.prompts), dtype=np.uint32)
        for seed in reversed(seeds):
            found[self.places[seed]] = self.cells[seed].columns.prompt_checks
        return found


def arm_cells(arm: Arm, cells: Mapping[int, Cell], index: PromptIndex) -> ArmCells:
    """Returns the arm with its cells in the order of their seeds."""
    by_seed = dict(sorted(cells.items()))
    return ArmCells(arm, by_seed, index.ids, {seed: index.places(cell) for seed, cell in by_seed.items()})


def arms_of(cells: Sequence[Cell], index: PromptIndex | None = None) -> list[ArmCells]:
    """Returns the arms of complete cells in the order of roles, then names.

    Args:
        cells: Complete cells.
        index: Prompts of the comparison if it has further cells.

    Raises:
        RecordError: Cells of one arm define it differently.
    """
    found: dict[str, dict[int, Cell]] = {}
    for cell in cells:
        found.setdefault(str(cell.record.arm["name"]), {})[cell.record.seed] = cell
    index = index or PromptIndex(cells)
    arms = [arm_cells(arm_of(name, by_seed.values()), by_seed, index) for name, by_seed in found.items()]
    return sorted(arms, key=lambda one: (ROLES.index(one.arm.role), _as_people_sort(one.arm.name)))


def _as_people_sort(name: str) -> list[str | int]:
    """Returns a key by which n=2 comes before n=10: texts and whole numbers in turn."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"([0-9]+)", name))]


def arm_of(name: str, cells: Iterable[Cell]) -> Arm:
    """Returns the arm as its cells' records describe it; raises `RecordError` if they differ."""
    definitions = {_definition(cell.record.arm) for cell in cells}
    if len(definitions) > 1:
        raise RecordError(
            f"arm '{name}' is defined in {len(definitions)} ways (label, rule, options, role or versions differ between its "
            "cells); compare runs of one definition."
        )
    return definitions.pop()


def _definition(data: Mapping[str, Any]) -> Arm:
    role = data.get("role", "macro")
    if role not in ROLES:
        raise RecordError(f"arm '{data['name']}': role '{role}' is none of {', '.join(ROLES)}.")
    return Arm(
        name=str(data["name"]),
        label=str(data.get("label", data["name"])),
        baseline=str(data["baseline"]),
        rule=data.get("rule"),
        role=role,
        trained=bool(data["trained"]),
        isolates=str(data.get("isolates") or ""),
        options=tuple((key, str(value)) for key, value in sorted((data.get("options") or {}).items())),
        without_effect=frozenset(data.get("without_effect") or ()),
        version=" ".join(str(data[key]) for key in ("baseline_version", "rule_version", "rule_hash") if data.get(key)),
    )
