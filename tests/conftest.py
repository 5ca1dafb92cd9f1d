"""Fixtures for all tests: one thread, no network, the real sample data where there is some."""

import os
from pathlib import Path

os.environ.update(
    HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false", MPLBACKEND="Agg", OMP_NUM_THREADS="1"
)

import pytest


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Folder with real sample data; the test is skipped where there is none."""
    folder = os.environ.get("MARL_BENCH_SAMPLE_DATA")
    if not folder:
        pytest.skip("needs real sample data: set MARL_BENCH_SAMPLE_DATA to its folder")
    return Path(folder)
