"""Grids: named lists of arms, shipped as YAML files. No torch."""

import dataclasses
import importlib.resources
from collections.abc import Sequence

from marl_bench.errors import UnknownNameError
from marl_bench.run_dir import digest_of_json
from marl_bench.yaml_text import parse_yaml

PREFIX = "grid-"
"""Begins the name of every grid; the id of a baseline holds no hyphen, so the two cannot be mistaken."""


@dataclasses.dataclass(frozen=True)
class Grid:
    """A named list of arms.

    Attributes:
        name: Its name, which begins with `grid-`.
        version: Raised whenever its arms change.
        summary: One line for `list`.
        arms: Arm texts.
        hash: First 12 digits of the digest of name, version and arms.
    """

    name: str
    version: str
    summary: str
    arms: Sequence[str]
    hash: str


def grid_names() -> list[str]:
    """Returns the names of the shipped grids."""
    folder = importlib.resources.files("marl_bench") / "grids"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_grid(name: str) -> Grid:
    """Reads a shipped grid.

    Raises:
        UnknownNameError: No grid has that name.
    """
    known = grid_names()
    if name not in known:
        raise UnknownNameError("grid", name, known)
    text = (importlib.resources.files("marl_bench") / "grids" / f"{name}.yaml").read_text(encoding="utf-8")
    data = parse_yaml(text, where=f"grid {name}")
    digest = digest_of_json({"name": name, "version": data["version"], "arms": data["arms"]})
    return Grid(name, data["version"], data["summary"], tuple(data["arms"]), digest[:12])


def expand_grid(text: str) -> list[str]:
    """Returns the arms of `GRID[@option=value,...]`; the options are put on every arm.

    Raises:
        UnknownNameError: No grid has that name.
    """
    name, at, options = text.strip().partition("@")
    return [f"{arm}{at}{options}" for arm in load_grid(name).arms]


def expand_grids(arms: Sequence[str]) -> list[str]:
    """Returns the arms with every grid among them replaced by its arms, those left out that stand in the list already.

    Raises:
        UnknownNameError: No grid has that name.
    """
    expanded: list[str] = []
    for text in arms:
        if not text.strip().startswith(PREFIX):
            expanded.append(text)  # an arm given twice is the plan's business
            continue
        expanded += [arm for arm in expand_grid(text) if arm not in expanded and arm not in arms]
    return expanded
