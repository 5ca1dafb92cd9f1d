"""Loads the modules that these tests share; there is no package to import them from."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The method in plain Python lists."""
    return _load("plain_reference")


@pytest.fixture(scope="session")
def building() -> ModuleType:
    """Makes rollouts and segmentations from rows."""
    return _load("batch_building")


def _load(name: str) -> ModuleType:
    qualified = f"marl_bench_tests_macro_{name}"
    if qualified not in sys.modules:
        spec = importlib.util.spec_from_file_location(qualified, Path(__file__).parent / f"{name}.py")
        assert spec is not None and spec.loader is not None
        sys.modules[qualified] = importlib.util.module_from_spec(spec)  # dataclasses look their module up by name
        spec.loader.exec_module(sys.modules[qualified])
    return sys.modules[qualified]
