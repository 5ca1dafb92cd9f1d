"""Fixtures for all tests: one thread, no network, the real sample data where there is some."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Before any of these libraries is imported: no network, one thread, and caches that go away with the tests.
_CACHE = tempfile.mkdtemp(prefix="marl-bench-tests-")
atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
os.environ.update(
    HF_HOME=_CACHE,
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    TOKENIZERS_PARALLELISM="false",
    MPLBACKEND="Agg",
    OMP_NUM_THREADS="1",
)

import pytest  # noqa: E402 (after the environment is set)

_LONGEST = "test_end_to_end.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the file that takes longest in front: a file stays on one worker, and the last one would leave the other idle."""
    items.sort(key=lambda item: item.path.name != _LONGEST)


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


@pytest.fixture(scope="session")
def registry():
    from marl_bench.plugins import Registry

    return Registry()


@pytest.fixture(scope="session")
def stories_model(sample_data, tmp_path_factory) -> Path:
    """A real pretrained model of 260,000 parameters as a `from_pretrained` folder."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("stories_model", Path(__file__).parent / "stories_model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    target = tmp_path_factory.mktemp("stories260K")
    module.convert(sample_data / "tiny_models" / "stories260K", target)
    return target


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Path:
    """An experiment of the smallest size with token PPO and macro PPO, one seed."""
    from marl_bench.cell import Worker
    from marl_bench.config_layers import resolve
    from marl_bench.planning import make_plan
    from marl_bench.plugins import Registry
    from marl_bench.run_dir import claim
    from marl_bench.training.progress import NoProgress

    small = {
        "arms": ["token_ppo", "macro_ppo:fixed(n=5)"],
        "seeds": 1,
        "data.limit": 12,
        "sft.max_steps": 2,
        "reward_model.max_steps": 2,
        "ppo.updates": 1,
        "ppo.batch_size": 4,
        "sampling.max_response_tokens": 24,
    }
    folder = tmp_path_factory.mktemp("finished") / "run"
    resolved = resolve(preset="tiny", overrides=list(small.items()))
    plan = make_plan(resolved, Registry(), out=folder, jobs=1, threads=1)
    claim(plan.run_dir, plan.config.model_dump(mode="json"), config_hash=plan.config_hash)
    worker = Worker(plan)
    worker.run_shared(NoProgress())
    for arm, seed in plan.cells():
        worker.run_cell(arm, seed, NoProgress())
    return folder
