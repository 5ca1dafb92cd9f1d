"""Discovery of plugins: entry points, then `--plugin` paths. Listing reads metadata and imports nothing; no torch."""

import dataclasses
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from marl_bench.errors import ConfigError, PluginError, UnknownNameError
from marl_bench.interfaces import BaselineSpec, MetricSpec, TaskSpec, TerminationSpec

SPEC_TYPES: dict[str, type] = {
    "marl_bench.tasks": TaskSpec,
    "marl_bench.baselines": BaselineSpec,
    "marl_bench.terminations": TerminationSpec,
    "marl_bench.metrics": MetricSpec,
}
KINDS = {
    "marl_bench.tasks": "task",
    "marl_bench.baselines": "baseline",
    "marl_bench.terminations": "termination rule",
    "marl_bench.metrics": "metric",
}


@dataclasses.dataclass(frozen=True)
class Plugin:
    """A plugin that was found.

    Attributes:
        group: Entry-point group.
        id: Name at the command line.
        owner: Distribution or path that brings it.
        reference: Entry point to import, or the spec itself for `--plugin` paths.
    """

    group: str
    id: str
    owner: str
    reference: importlib.metadata.EntryPoint | Any

    def load(self) -> Any:
        """Imports the plugin and checks its type and id.

        Raises:
            PluginError: It cannot be imported, or is something else.
        """
        expected = SPEC_TYPES[self.group]
        spec = self.reference
        if isinstance(spec, importlib.metadata.EntryPoint):
            try:
                spec = spec.load()
            except Exception as error:
                raise PluginError(
                    f"{KINDS[self.group]} '{self.id}' of {self.owner}: import failed ({type(error).__name__}: {error})."
                ) from error
        if not isinstance(spec, expected):
            raise PluginError(
                f"{KINDS[self.group]} '{self.id}' of {self.owner}: is a {type(spec).__name__}, should be a {expected.__name__}."
            )
        if spec.id != self.id:  # type: ignore[attr-defined]
            raise PluginError(
                f"{KINDS[self.group]} '{self.id}' of {self.owner}: its spec calls itself '{spec.id}'; use one name."  # type: ignore[attr-defined]
            )
        return spec


class Registry:
    """All plugins of one process, found once."""

    def __init__(self, plugin_paths: Sequence[Path] = ()) -> None:
        """Finds installed plugins, then those of the paths.

        Raises:
            PluginError: Two plugins share an id, or a path cannot be imported.
        """
        self.plugin_paths = tuple(dict.fromkeys(plugin_paths))
        self._plugins: dict[tuple[str, str], Plugin] = {}
        for group in SPEC_TYPES:
            for entry_point in importlib.metadata.entry_points(group=group):
                owner = entry_point.dist.name if entry_point.dist is not None else "an unknown distribution"
                self._add(Plugin(group, entry_point.name, owner, entry_point))
        for path in self.plugin_paths:
            for group, spec in _specs_of_path(path):
                self._add(Plugin(group, spec.id, str(path), spec))

    def _add(self, plugin: Plugin) -> None:
        other = self._plugins.setdefault((plugin.group, plugin.id), plugin)
        if (other.owner, other.reference) == (plugin.owner, plugin.reference) or other.load() is plugin.reference:
            return  # the same plugin met again, for instance because a plugin file imports it
        raise PluginError(
            f"{KINDS[plugin.group]} '{plugin.id}' comes from two places: {other.owner} and {plugin.owner}; remove one."
        )

    def list(self, group: str) -> list[Plugin]:
        """Returns the plugins of a group, sorted by id, without importing them."""
        return sorted(
            (plugin for plugin in self._plugins.values() if plugin.group == group), key=lambda plugin: plugin.id
        )

    def task(self, name: str) -> TaskSpec:
        """Returns a task's spec.

        Raises:
            UnknownNameError: There is none of that name.
            PluginError: It cannot be loaded.
        """
        return self._get("marl_bench.tasks", name)  # type: ignore[no-any-return]

    def task_settings(self, name: str, preset: str) -> Mapping[str, Any]:
        """Returns what a task puts over a preset; raises as `task`."""
        return self.task(name).settings.get(preset, {})

    def baseline(self, name: str) -> BaselineSpec:
        """Returns a baseline's spec; raises as `task`."""
        return self._get("marl_bench.baselines", name)  # type: ignore[no-any-return]

    def termination(self, name: str) -> TerminationSpec:
        """Returns a termination rule's spec; raises as `task`."""
        return self._get("marl_bench.terminations", name)  # type: ignore[no-any-return]

    def metric(self, name: str) -> MetricSpec:
        """Returns a metric's spec; raises as `task`."""
        return self._get("marl_bench.metrics", name)  # type: ignore[no-any-return]

    def _get(self, group: str, name: str) -> Any:
        plugin = self._plugins.get((group, name))
        if plugin is None:
            raise UnknownNameError(KINDS[group], name, (known.id for known in self.list(group)))
        return plugin.load()


def load_callable(target: str, *, where: str) -> Callable[..., Any]:
    """Returns the callable that `FILE.py:NAME` or `MODULE:NAME` names.

    Args:
        target: The name.
        where: What an error begins with.

    Raises:
        ConfigError: There is none, or it cannot be called.
        PluginError: The file cannot be imported.
    """
    place, _, name = target.rpartition(":")
    if place.endswith(".py"):
        path = Path(place).expanduser()
        if not path.is_file():
            raise ConfigError(f"{where}: there is no file {place}.")
        module = import_file(path, where=where)
    else:
        try:
            module = importlib.import_module(place)
        except ImportError as error:
            raise ConfigError(f"{where}: module {place} cannot be imported ({error}).") from error
    function = getattr(module, name, None)
    if not callable(function):
        known = ", ".join(key for key, value in vars(module).items() if inspect.isfunction(value)) or "none"
        raise ConfigError(f"{where}: {place} has no callable '{name}'; its functions: {known}.")
    return function  # type: ignore[no-any-return]  # callable() does not narrow Any


def callable_digest(target: str, *, where: str) -> str:
    """Returns the SHA-256 of the file that holds a callable, as 64 hexadecimal digits.

    Args:
        target: As `load_callable` takes it.
        where: What an error begins with.

    Raises:
        ConfigError: There is no such file.
    """
    place = target.rpartition(":")[0]
    if place.endswith(".py"):
        path = Path(place).expanduser()
    else:
        try:
            found = importlib.util.find_spec(place)
        except ImportError:
            found = None
        path = Path(found.origin) if found is not None and found.origin is not None else Path(place)
    if not path.is_file():
        raise ConfigError(f"{where}: there is no file {place}, looked for from the folder of this command.")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _specs_of_path(path: Path) -> Iterable[tuple[str, Any]]:
    if path.is_file() and path.suffix == ".py":
        files = [path]
    elif path.is_dir():
        files = sorted(path.glob("*.py"))
    else:
        files = []
    if not files:
        raise PluginError(f"--plugin {path}: should be a .py file or a folder with .py files; there is none.")
    found = [
        (group, spec) for file in files for group, spec in _specs_of_module(import_file(file, where=f"--plugin {path}"))
    ]
    if not found:
        names = ", ".join(sorted(spec_type.__name__ for spec_type in SPEC_TYPES.values()))
        raise PluginError(f"--plugin {path}: defines no plugin; a module-level {names} was expected.")
    return found


def _specs_of_module(module: ModuleType) -> Iterable[tuple[str, Any]]:
    for _, value in inspect.getmembers(module):
        for group, spec_type in SPEC_TYPES.items():
            if isinstance(value, spec_type):
                yield group, value


def import_file(path: Path, *, where: str) -> ModuleType:
    """Imports a Python file as a module of its own.

    Args:
        path: The file.
        where: What an error begins with.

    Raises:
        PluginError: It cannot be imported.
    """
    name = f"marl_bench_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{where}: cannot be imported as Python.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look the module up by name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise PluginError(f"{where}: import failed ({type(error).__name__}: {error}).") from error
    return module
