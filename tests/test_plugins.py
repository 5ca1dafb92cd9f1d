"""Discovery of plugins, and the errors of broken ones."""

import importlib.metadata
import subprocess
import sys

import pytest

from marl_bench.errors import PluginError, UnknownNameError
from marl_bench.plugins import Plugin, Registry

TASK = """
from marl_bench.interfaces import TaskSpec
TASK = TaskSpec("mine", "1", "a task", build=lambda options: None)
"""


def test_every_shipped_plugin_loads_and_is_named_as_its_entry_point(registry):
    for group in ("marl_bench.tasks", "marl_bench.baselines", "marl_bench.terminations"):
        plugins = registry.list(group)
        assert plugins
        for plugin in plugins:
            assert plugin.load().id == plugin.id


def test_a_plugin_file_and_a_folder_add_their_specs(tmp_path):
    (tmp_path / "mine.py").write_text(TASK)
    for path in (tmp_path / "mine.py", tmp_path):
        assert Registry([path]).task("mine").summary == "a task"


def test_a_duplicate_id_names_both_owners(tmp_path):
    (tmp_path / "mine.py").write_text(TASK.replace("mine", "tldr"))
    with pytest.raises(PluginError, match=r"task 'tldr' comes from two places: marl-bench and .*mine.py"):
        Registry([tmp_path / "mine.py"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise RuntimeError('oh')", r"import failed \(RuntimeError: oh\)"),
        ("def", r"import failed \(SyntaxError"),
        ("x = 1", "defines no plugin"),
    ],
)
def test_a_broken_plugin_file_is_a_clear_error(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(PluginError, match=message):
        Registry([tmp_path / "mine.py"])


def test_a_path_without_python_is_a_clear_error(tmp_path):
    for path in (tmp_path, tmp_path / "none.py"):
        with pytest.raises(PluginError, match=r"should be a .py file or a folder"):
            Registry([path])


def entry(value):
    return Plugin(
        "marl_bench.tasks", "x", "some-package", importlib.metadata.EntryPoint("x", value, "marl_bench.tasks")
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_module:TASK", "task 'x' of some-package: import failed"),
        ("marl_bench.errors:DataError", "task 'x' of some-package: is a type, should be a TaskSpec"),
        ("marl_bench_tasks.tldr:TASK", "its spec calls itself 'tldr'"),
    ],
)
def test_a_broken_entry_point_names_its_distribution(value, message):
    with pytest.raises(PluginError, match=message):
        entry(value).load()


def test_unknown_names_show_the_nearest(registry):
    with pytest.raises(UnknownNameError, match=r"unknown task 'tlrd'. Did you mean 'tldr'"):
        registry.task("tlrd")


@pytest.mark.parametrize(
    "module",
    ["cli", "experiment", "executors", "plugins", "planning", "config", "records", "interfaces", "reporting.report"],
)
def test_what_every_verb_needs_loads_without_torch(module):
    code = (
        f"import marl_bench.{module}, sys; heavy = {{'torch', 'transformers', 'datasets', 'trl', 'evaluate'}} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
