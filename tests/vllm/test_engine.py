"""The child process that holds the engine, with scripted answers in the place of vLLM's."""

import os
import subprocess
import sys
import time

import pytest

from marl_bench.errors import SamplerError
from marl_bench.models.vllm_engine import ColocatedEngine, Generated

OWNER = """
import pathlib, sys, time
from marl_bench.models.vllm_engine import ColocatedEngine
folder = pathlib.Path(sys.argv[1])
engine = ColocatedEngine({"script": "answers"}, log=folder / "log", timeout_seconds=60)
(folder / "pid.tmp").write_text(str(engine.process_id))
(folder / "pid.tmp").rename(folder / "pid")
time.sleep(600)
"""

pytestmark = pytest.mark.usefixtures("scripted_vllm")


@pytest.fixture
def start(tmp_path):
    engines = []

    def make(script):
        engines.append(ColocatedEngine({"script": script}, log=tmp_path / "vllm.log", timeout_seconds=60))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def test_answers_come_back_as_plain_objects(start, tmp_path):
    engine = start("answers")
    assert engine.generate([[5, 6], [7]], [{"seed": 1}, {"seed": 2}]) == [
        Generated([5, 6, 1], [-1.0, -1.0, -1.0], finished=True),
        Generated([7, 1], [-1.0, -1.0], finished=True),
    ]
    assert engine.prompt_log_probs([3, 4, 5]) == [-0.4, -0.5]


def test_an_engine_that_dies_is_one_clear_error(start, tmp_path):
    engine = start("dies")
    with pytest.raises(
        SamplerError, match=r"was killed by signal 9 during generate; .*vllm.log; the same command"
    ) as caught:
        engine.generate([[5]], [{"seed": 1}])
    assert caught.value.exit_status == 1
    assert "the last words" in (tmp_path / "vllm.log").read_text()
    with pytest.raises(SamplerError, match="killed by signal 9"):  # and no wait without end
        engine.generate([[5]], [{"seed": 1}])


def test_an_engine_that_hangs_is_ended(start):
    engine = start("hangs")
    engine.timeout_seconds = 0.5
    with pytest.raises(SamplerError, match=r"no answer to generate within sampler.timeout_seconds=0.5"):
        engine.generate([[5]], [{"seed": 1}])


def test_what_vllm_refuses_is_passed_on_in_a_line(start, tmp_path):
    with pytest.raises(SamplerError, match=r"start failed \(ValueError: Free memory on device is less than desired\)"):
        start("no start")
    engine = start("refuses")
    with pytest.raises(SamplerError, match=r"generate failed \(RuntimeError: prompt is too long\)"):
        engine.generate([[5]], [{"seed": 1}])
    assert "Traceback" in (tmp_path / "vllm.log").read_text()


def test_a_sleeping_engine_gets_weights_before_its_cache(start, tmp_path):
    engine = start("tells")
    engine.sleep()
    with pytest.raises(SamplerError, match=r"RuntimeError: sleep 2 wake weights reload_weights wake kv_cache reset\)"):
        engine.load(tmp_path)


def test_the_engine_ends_with_its_owner(start):
    engine = start("answers")
    engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(engine.process_id, 0)


def test_the_engine_ends_when_its_owner_is_killed(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], env=environment)
    _until((tmp_path / "pid").exists)
    owner.kill()
    owner.wait()
    engine = int((tmp_path / "pid").read_text())
    _until(lambda: not _runs(engine))


def _until(holds):
    for _ in range(600):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("it never came to that")


def _runs(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
