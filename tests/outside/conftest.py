"""The embedded posts are made once for all tests here: every evaluation begins with the same ones."""

import functools

import pytest


@pytest.fixture(scope="module", autouse=True)
def _same_posts():
    from marl_bench_tasks.tldr import task

    patch = pytest.MonkeyPatch()
    patch.setattr(task, "embedded_rows", functools.cache(task.embedded_rows))
    yield
    patch.undo()
