"""A sweep that is killed again and again ends with the same bytes as one that is not."""

import random
import shutil
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.soak


def command(run):
    return [
        *(sys.executable, "-m", "marl_bench", "best-of-n", str(run)),
        *("--prompts", "8", "--n", "1,8", "--quiet", "--set", "sampling.temperature=0.9"),
    ]


def files(run):
    found = [run / "best_of_n.json", run / "best_of_n.md", *sorted((run / "sampling").rglob("*.jsonl"))]
    return {path.relative_to(run): path.read_bytes() for path in found}


def test_killed_at_random_points(finished_run, tmp_path):
    whole, killed = (shutil.copytree(finished_run, tmp_path / name / "run") for name in ("whole", "killed"))
    began = time.monotonic()
    subprocess.run(command(whole), check=True, capture_output=True)
    seconds, rng, kills = time.monotonic() - began, random.Random(0), 0
    sizes = [0]
    for _ in range(12):
        process = subprocess.Popen(command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds * rng.uniform(0.5, 1.0))
        kills += process.poll() is None
        process.kill()
        process.wait()
        sizes.append(sum(path.read_bytes().count(b"\n") for path in (killed / "sampling").rglob("*.jsonl")))
    assert kills >= 3
    assert sizes == sorted(sizes)  # nothing stored is lost
    subprocess.run(command(killed), check=True, capture_output=True)
    assert files(killed) == files(whole)
