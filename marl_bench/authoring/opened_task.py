"""A task built with its settings, as the tools for authors look at it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from marl_bench.config import RunConfig
from marl_bench.config_layers import ResolvedConfig
from marl_bench.interfaces import DataSource, Task, TaskSpec
from marl_bench.models.loading import load_tokenizer
from marl_bench.planning import base_model, task_options
from marl_bench.plugins import Registry
from marl_bench.task_data import data_source


@dataclasses.dataclass(frozen=True)
class OpenedTask:
    """A task and what a run would use it with.

    Attributes:
        spec: Its spec.
        task: The task, built from the options of the settings.
        config: The settings.
        base_model: The base model of the settings.
        tokenizer: Its tokenizer.
        plugin_paths: `--plugin` paths, which other processes load again; None for a task that only this process has.
    """

    spec: TaskSpec
    task: Task
    config: RunConfig
    base_model: str
    tokenizer: Any
    plugin_paths: Sequence[Path] | None = None

    @property
    def source(self) -> DataSource:
        """Where the data come from."""
        return data_source(self.config)


def open_task(resolved: ResolvedConfig, registry: Registry) -> OpenedTask:
    """Builds the task of a configuration.

    Raises:
        UnknownNameError: The task or an option does not exist.
        ConfigError: An option has a wrong value.
        ModelError: The tokenizer cannot be loaded.
    """
    config = resolved.config
    spec = registry.task(config.task)
    model = base_model(spec, config)
    task = spec.build(task_options(spec, config))
    return OpenedTask(spec, task, config, model, load_tokenizer(model, may_add_pad=True), registry.plugin_paths)
