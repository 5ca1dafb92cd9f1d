"""Further metrics of an evaluation, named by text: plugins, Python callables, `evaluate` metrics. No torch."""

from collections.abc import Sequence
from pathlib import Path

from marl_bench.errors import ConfigError
from marl_bench.interfaces import Metric
from marl_bench.metrics.adapter import EvaluateMetric
from marl_bench.metrics.per_sample import PerSample
from marl_bench.plugins import Registry, callable_digest, load_callable
from marl_bench.run_dir import digest_of_folder

_SHAPE = "a metric's name (marl-bench list metrics), python:FILE.py:NAME (or python:MODULE:NAME), or evaluate:NAME_OR_FOLDER:RESULT"


def make_metrics(texts: Sequence[str], registry: Registry) -> list[Metric]:
    """Returns the metrics.

    Raises:
        UnknownNameError: No plugin has that name.
        ConfigError: A text has another shape, or a callable does not exist.
        PluginError: A plugin or file cannot be imported.
    """
    return [_make(text, registry) for text in texts]


def metric_digests(texts: Sequence[str], registry: Registry) -> list[list[str]]:
    """Returns each text with what tells one definition from another: the digest of its file or folder, or the plugin's version.

    Raises:
        ConfigError: A file is not there.
    """
    found = []
    for text in texts:
        kind, separator, target = text.partition(":")
        folder = Path(target.rpartition(":")[0]).expanduser()
        if not separator:
            found.append([text, registry.metric(text).version])
        elif kind == "python":
            found.append([text, callable_digest(target, where=f"--metric {text}")])
        else:
            found.append([text, digest_of_folder(folder) if folder.is_dir() else ""])
    return found


def _make(text: str, registry: Registry) -> Metric:
    kind, separator, target = text.partition(":")
    if not separator:
        return registry.metric(text).build()
    where = f"--metric {text}"
    place, _, name = target.rpartition(":")
    if kind not in ("python", "evaluate") or not place or not name:
        raise ConfigError(f"{where}: should be {_SHAPE}.")
    if kind == "python":
        return PerSample(name, load_callable(target, where=where))
    return EvaluateMetric(names=(name,), make=_Loader(place), higher_is_better=None)


class _Loader:
    """Makes an `evaluate.Metric` of the hub or of a local folder."""

    def __init__(self, place: str) -> None:
        folder = Path(place).expanduser()
        self.place = str(folder) if folder.exists() else place

    def __call__(self) -> object:
        import evaluate

        try:
            return evaluate.load(self.place, keep_in_memory=True)
        except Exception as error:
            first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConfigError(f"--metric evaluate:{self.place}: cannot be loaded ({first_line}).") from error
