"""Writes the first version of a task as an installable package."""

import importlib.resources
import importlib.util
import keyword
import re
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path

from marl_bench.errors import ConfigError
from marl_bench.plugins import Registry

_SUFFIX = ".txt"  # so that no tool takes the template for code of this package


def new_task(name: str, folder: Path, registry: Registry) -> list[Path]:
    """Writes the package and returns its files.

    Args:
        name: Name of the task and its module.
        folder: The package's folder; must not exist, or be empty.
        registry: The plugins that are there already.

    Raises:
        ConfigError: The name is no module name or is taken, or the folder cannot be written.
    """
    if not re.fullmatch(r"[a-z]([a-z0-9_]*[a-z0-9])?", name) or keyword.iskeyword(name):
        raise ConfigError(
            f"task new '{name}': should be the name of a Python module: lower-case letters, digits and _, from a letter to a letter or digit."
        )
    owners = [plugin.owner for plugin in registry.list("marl_bench.tasks") if plugin.id == name]
    if owners:
        raise ConfigError(f"task new '{name}': {owners[0]} has a task of that name; take another.")
    if importlib.util.find_spec(name) is not None:
        raise ConfigError(f"task new '{name}': there is a module of that name, which it would hide; take another.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"task new '{name}': {folder} is there already; give another with --out, or remove it.")
    words = {"@TASK@": name, "@DISTRIBUTION@": name.replace("_", "-")}
    template = importlib.resources.files("marl_bench") / "authoring" / "template"
    written = []
    try:
        for place, text in _files(template, Path()):
            path = folder / Path(*(name if part == "package" else part for part in place.parts))
            path.parent.mkdir(parents=True, exist_ok=True)
            for word, value in words.items():
                text = text.replace(word, value)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise ConfigError(f"task new: {folder} cannot be written ({error.strerror or error}).") from error
    return sorted(written)


def _files(entry: Traversable, place: Path) -> Iterator[tuple[Path, str]]:
    for child in entry.iterdir():
        if child.is_dir():
            yield from _files(child, place / child.name)
        elif child.name.endswith(_SUFFIX):
            yield place / child.name.removesuffix(_SUFFIX), child.read_text(encoding="utf-8")
