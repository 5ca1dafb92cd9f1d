"""What takes minutes: many kills of `marl-bench execute`, and memory over many programs. Run by hand: `pytest -m soak tests/execution`."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from marl_bench.execution.programs import Program, StdioTest, TestSuite
from marl_bench.execution.runner import ProgramRunner
from marl_bench.execution.sandbox.processes import descendants, private_bytes

pytestmark = pytest.mark.soak


@pytest.mark.timeout(900)
def test_twenty_kills_lose_and_repeat_nothing(tmp_path):
    """Killed at twenty random moments, the grading of 400 samples ends with each graded once and as without kills."""
    rng = random.Random(0)
    problem = {"problem_id": "p", "tests": [{"stdin": f"{n}\n", "expected": str(n)} for n in range(3)]}
    programs = ["print(input())", "import time\ntime.sleep(0.05)\nprint(input())", "print(1)", "1 / 0", "print("]
    (tmp_path / "problems.jsonl").write_text(json.dumps(problem) + "\n")
    samples = [{"problem_id": "p", "program": programs[n % 5]} for n in range(400)]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in samples))
    command = [sys.executable, "-m", "marl_bench", "execute", "--samples", str(tmp_path / "samples.jsonl")]
    command += ["--problems", str(tmp_path / "problems.jsonl"), "--workers", "2", "--quiet", "--out"]
    out = tmp_path / "killed.jsonl"
    kills = 0
    while kills < 20:
        process = subprocess.Popen([*command, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.25 + rng.random() * 0.6)
        below = descendants(process.pid)
        if process.poll() is not None:
            out.unlink()  # it was finished before the kills were over: begin again
            continue
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in below):
            assert time.monotonic() < deadline, "a process outlives its killed parent"
            time.sleep(0.02)
    last = subprocess.run([*command, str(out)], capture_output=True, text=True, check=True)
    whole = subprocess.run([*command, str(tmp_path / "whole.jsonl")], capture_output=True, text=True, check=True)
    assert last.stdout == whole.stdout
    assert _statuses(out) == _statuses(tmp_path / "whole.jsonl")
    assert len(_statuses(out)) == 400


def _statuses(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted((row["sample_index"], row["status"], tuple(row["tests"])) for row in rows if "status" in row)


@pytest.mark.timeout(1800)
def test_memory_is_flat_over_100_000_programs():
    """What is in use after a hundredth of the programs is in use after all of them, but for a tenth."""
    suite = {"p": TestSuite("p", (StdioTest("x\n", "x"),))}
    used = []
    with ProgramRunner(workers=2) as runner:
        programs = itertools.repeat(Program("p", "print(input())"), 100_000)
        for done, result in enumerate(runner.run(programs, suite), start=1):
            assert result.status == "passed"
            if done % 1000 == 0:
                used.append(sum(map(private_bytes, [os.getpid(), *descendants(os.getpid())])))
    # Programs that happen to run are counted too, so the least of ten readings stands for each end.
    assert min(used[-10:]) < 1.1 * min(used[:10])
