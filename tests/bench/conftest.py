"""Rollouts written by hand, as the tests of the method have them."""

import pytest

from marl_bench.macro import synthetic


@pytest.fixture(scope="session")
def building():
    """Makes rollouts from rows."""
    return synthetic
