"""Loads the modules that these tests share; there is no package to import them from."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from marl_bench.plugins import Registry


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The method in plain Python lists."""
    return _load("plain_reference")


@pytest.fixture(scope="session")
def building() -> ModuleType:
    """Makes rollouts and segmentations from rows."""
    return _load("batch_building")


@pytest.fixture(scope="session")
def registry() -> Registry:
    """All installed plugins."""
    return Registry()


def _load(name: str) -> ModuleType:
    qualified = f"marl_bench_tests_macro_{name}"
    if qualified not in sys.modules:
        spec = importlib.util.spec_from_file_location(qualified, Path(__file__).parent / f"{name}.py")
        assert spec is not None and spec.loader is not None
        sys.modules[qualified] = importlib.util.module_from_spec(spec)  # dataclasses look their module up by name
        spec.loader.exec_module(sys.modules[qualified])
    return sys.modules[qualified]
