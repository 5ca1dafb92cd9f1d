"""What `marl-bench compare` holds against each other: runs, their arms, evaluations and references, named on the command line."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from marl_bench.errors import RecordError, UnknownNameError
from marl_bench.records import Cell
from marl_bench.reporting.references import REFERENCE, StoredReference, means_only, read_reference
from marl_bench.run_dir import RECORD, RunDir, read_cells, read_config

_SEED = re.compile(r"-seed(\d+)$")


@dataclasses.dataclass(frozen=True)
class Side:
    """One argument of a comparison.

    Attributes:
        given: What the user typed.
        name: Short name of the run or reference.
        root: Its folder; two sides of one root are arms of one run.
        cells: Complete cells, of the named arm and seed only if one was named.
        others: Complete cells of the run's other arms.
        open_cells: Cells that failed or are unfinished, of the named arm and seed only if one was named.
        config: Resolved configuration.
        arm_named: True if one arm was named.
        is_reference: True if the scores come from a stored reference.
    """

    given: str
    name: str
    root: Path
    cells: Sequence[Cell]
    others: Sequence[Cell]
    open_cells: Sequence[Cell]
    config: Mapping[str, Any]
    arm_named: bool
    is_reference: bool


def open_side(given: str, *, reference_dir: Path) -> Side:
    """Opens one argument: `RUN`, `RUN:ARM`, a cell's folder, `RUN/evaluations/NAME`, or a reference's folder, file or name.

    An arm is a label or a folder name; `-seedK` behind it takes that seed alone.

    Raises:
        RecordError: There is nothing of that name, it holds no complete cell, or a record cannot be read.
        UnknownNameError: The run has no such arm or seed.
    """
    root, arm = _located(given, reference_dir)
    stored = None if (root / "cells").is_dir() else _reference(root, given)
    cells = list(stored.cells) if stored else read_cells(RunDir(root))
    config = stored.config if stored else read_config(RunDir(root))
    chosen = _chosen(cells, arm, where=given) if arm else cells
    complete = [cell for cell in chosen if is_complete(cell)]
    if not complete:
        states = ", ".join(sorted({_state(cell) for cell in chosen})) or "none has begun"
        raise RecordError(f"{given}: no complete cell there ({states}); let the run finish first.")
    names = {cell.record.arm["name"] for cell in complete}
    return Side(
        given=given,
        name=stored.name if stored else root.resolve().name,
        root=root,
        cells=complete,
        others=[cell for cell in cells if is_complete(cell) and cell.record.arm["name"] not in names],
        open_cells=[cell for cell in chosen if not is_complete(cell)],
        config=config,
        arm_named=bool(arm),
        is_reference=stored is not None,
    )


def _state(cell: Cell) -> str:
    return "complete, but its samples are missing" if cell.record.status == "complete" else cell.record.status


def is_complete(cell: Cell) -> bool:
    """Returns True if the cell finished and its samples are there."""
    return cell.record.status == "complete" and bool(cell.samples)


def _located(given: str, reference_dir: Path) -> tuple[Path, str]:
    """Returns the folder and the arm's text, which is empty for the whole of it."""
    for end in [len(given), *(found.start() for found in reversed(list(re.finditer(":", given))))]:
        path, arm = Path(given[:end]), given[end + 1 :]
        if not given[:end]:
            continue
        if (path / RECORD).is_file() and path.resolve().parent.name == "cells":
            return path.resolve().parent.parent, path.resolve().name
        if path.name == REFERENCE and path.is_file():
            return path.parent, arm
        for root in (path, reference_dir / path):
            if (root / "config.yaml").is_file() or (root / REFERENCE).is_file():
                return root, arm
    raise RecordError(
        f"'{given}': no experiment and no reference there; give the folder of a run, RUN:ARM with an arm's label or folder name, "
        f"RUN/evaluations/NAME, or the name of a reference in {reference_dir}."
    )


def _reference(root: Path, given: str) -> StoredReference | None:
    if (root / REFERENCE).is_file():
        return read_reference(root)
    if means_only(root):
        raise RecordError(
            f"{given}: holds means only (scores.csv), no scores by prompt, so nothing can be paired; marl-bench reference check compares "
            "means, and marl-bench reference save of the run keeps the scores."
        )
    return None


def _chosen(cells: Sequence[Cell], text: str, *, where: str) -> list[Cell]:
    found = _of_arm(cells, text)
    seed = _SEED.search(text)
    if not found and seed:
        found = [cell for cell in _of_arm(cells, text[: seed.start()]) if cell.record.seed == int(seed.group(1))]
    if not found:
        known = {str(cell.record.arm.get("label", cell.record.arm["name"])) for cell in cells}
        raise UnknownNameError(f"arm of {where.removesuffix(':' + text)}", text, known)
    return found


def _of_arm(cells: Sequence[Cell], text: str) -> list[Cell]:
    return [cell for cell in cells if text in (cell.record.arm["name"], cell.record.arm.get("label"))]
