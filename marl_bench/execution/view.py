"""What of this host's files programs may see: the system's libraries, Python's own, and allowed packages; no data set among them."""

import dataclasses
import importlib.metadata
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from marl_bench.errors import ConfigError
from marl_bench.execution.sandbox import layout

_PACKAGE_FOLDERS = ("site-packages", "dist-packages")


@dataclasses.dataclass(frozen=True)
class View:
    """What programs may read.

    Attributes:
        shown: Folders, files and links that they see at their own place.
        hidden: Folders below these that they do not see: all installed packages, with whatever solutions and tests lie among them.
        packages: Name in `layout.PACKAGES` to the folder or file of an allowed package.
    """

    shown: tuple[str, ...]
    hidden: tuple[str, ...]
    packages: Mapping[str, str]

    def readable(self) -> list[str]:
        """Returns the folders and files that hold all that is shown, and nothing that is hidden."""
        hidden = [Path(path) for path in self.hidden]
        return [str(part) for path in self.shown for part in _parts_without(Path(path), hidden)] + list(
            self.packages.values()
        )


def view_of(packages: Sequence[str]) -> View:
    """Returns what programs may see.

    Args:
        packages: Installed distributions that they may import.

    Raises:
        ConfigError: One of them is not installed.
    """
    shown = [path for path in layout.SYSTEM_PATHS if os.path.lexists(path)]
    interpreter = str(Path(sys.executable).resolve())
    for path in (sys.base_prefix, sys.base_exec_prefix, sysconfig.get_path("stdlib"), interpreter):
        if not any(Path(path).is_relative_to(known) for known in shown):
            shown.append(path)
    return View(tuple(shown), tuple(sorted(_installed_packages(shown))), dict(_allowed(packages)))


def package_versions(packages: Sequence[str]) -> dict[str, str]:
    """Returns distribution name to version, for records; raises as `view_of`."""
    return {name: _distribution(name).version for name in packages}


def _installed_packages(shown: Iterable[str]) -> set[str]:
    folders = {
        str(folder)
        for path in shown
        if Path(path).is_dir() and not Path(path).is_symlink()
        for kind in _PACKAGE_FOLDERS
        for pattern in (
            f"lib*/python*/{kind}",
            f"envs/*/lib*/python*/{kind}",
            f"local/lib*/python*/{kind}",
            f"python*/{kind}",
            kind,
        )
        for folder in Path(path).glob(pattern)
    }
    return {folder for folder in folders if not Path(folder).is_symlink()}


def _allowed(packages: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in packages:
        distribution = _distribution(name)
        tops = {Path(str(file)).parts[0] for file in distribution.files or () if ".." not in Path(str(file)).parts}
        for top in sorted(tops):
            place = Path(str(distribution.locate_file(top))).resolve()
            if place.exists() and top != "__pycache__":
                yield top, str(place)


def _distribution(name: str) -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError) as error:
        raise ConfigError(
            f"packages: '{name}' is not installed here; give names of packages as pip lists them, or none."
        ) from error


def _parts_without(path: Path, hidden: Sequence[Path]) -> Iterator[Path]:
    inside = [folder for folder in hidden if folder.is_relative_to(path)]
    if path in hidden or path.is_symlink():
        return
    if not inside:
        yield path
        return
    for child in path.iterdir():
        yield from _parts_without(child, inside)
