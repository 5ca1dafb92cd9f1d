"""A real run, killed with SIGKILL again and again in every phase, ends with the same bytes as one that was left alone.

`pytest -m soak -s tests/training/test_kill_soak.py` prints the table of the kills.
"""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

STEPS, UPDATES, OPTIMIZER_STEPS = 8, 3, 4  # optimizer steps: 2 epochs of 2 minibatches
SETTINGS = {
    "sft.max_steps": STEPS,
    "reward_model.max_steps": STEPS,
    "ppo.updates": UPDATES,
    "ppo.ppo_epochs": 2,
    "ppo.minibatches": 2,
    "ppo.batch_size": 8,
    "ppo.kl_controller": "adaptive",
    "sampling.max_response_tokens": 24,
    "evaluation.samples_per_prompt": 2,
}
ARMS = ["token_ppo", "macro_ppo:fixed(n=5)"]
SHARED = ["SFT"] * 3 + ["reward model"] * 3
CELLS = [
    ["rollout", "rollout", "update", "update", "write"],
    ["rollout", "rollout", "update", "update", "write", "write"],
]


@dataclasses.dataclass(frozen=True)
class Kill:
    """One kill, as the disk looked when it came."""

    wanted: str
    phase: str
    who: str
    after: float
    checkpoint: str
    repeated: float

    def row(self):
        return f"{self.wanted:<13} {self.phase:<13} {self.who:<9} {self.after:6.1f} s  {self.checkpoint:<48} {self.repeated:5.2f} s"


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def start(folder, *more):
    command = [sys.executable, "-m", "marl_bench", "run", "--out", str(folder), "--limit=12", "--seeds=1", "--jobs=1"]
    command += [f"--arm={arm}" for arm in ARMS] + [f"--set={name}={value}" for name, value in SETTINGS.items()]
    return subprocess.Popen(
        [*command, *more], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def checkpoints(folder):
    """Returns the whole checkpoints there are, oldest first, as (time, path)."""
    found = []
    for path in [
        *folder.glob("shared/checkpoints/*/*/checkpoint.json"),
        *folder.glob("cells/*/checkpoints/*/checkpoint.json"),
    ]:
        try:
            found.append((path.stat().st_mtime, path.parent))
        except FileNotFoundError:
            continue
    return sorted(entry for entry in found if not entry[1].name.startswith("."))


def phase(folder):
    """Returns what the run is doing, from its files alone."""
    if any(path.name != ".trainer" for path in folder.glob("cells/*/.*.*")) or [
        *folder.glob("cells/*/checkpoints/.*.*")
    ]:
        return "write"
    if [path for path in folder.glob("shared/checkpoints/*/.*.*") if not path.name.startswith(".trainer")]:
        return "write"
    running = [
        path.parent
        for path in folder.glob("cells/*/record.json")
        if json.loads(path.read_text())["status"] == "running"
    ]
    if running:
        newest = max((path.name for path in running[0].glob("checkpoints/update-*")), default="")
        if newest == f"update-{UPDATES:06d}":
            return "evaluation"
        return "rollout" if "step" not in newest or newest.endswith(f"-step-{OPTIMIZER_STEPS:06d}") else "update"
    if (folder / "shared/sft/stage.json").exists() and not (folder / "shared/reward_model/stage.json").exists():
        return "reward model"
    return "SFT" if (folder / "shared/checkpoints/sft").exists() else "start"


def kill(process, who):
    """Kills the main process, whose workers follow it; all at once, as a machine that loses power does; or a worker alone."""
    if who == "all":
        os.killpg(process.pid, signal.SIGKILL)
    elif who == "main":
        process.kill()
    else:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)
    return process.communicate(timeout=300)[0]


def steps_made(folder, wanted, since):
    """Returns True if the worker has made a supervised step of its own; in the other phases it need not."""
    return wanted not in SHARED or any(made > since for made, _ in checkpoints(folder))


def begun_at(folder):
    """Returns when the work that a kill would lose was begun: at the last checkpoint, or when the worker went on from it."""
    marks = [
        *folder.glob("shared/checkpoints/*/*/checkpoint.json"),
        *folder.glob("cells/*/checkpoints/*/checkpoint.json"),
    ]
    marks += [*folder.glob("cells/*/checkpoints/notes.jsonl"), *folder.glob("shared/checkpoints/*/.trainer.*")]
    marks += folder.glob("shared/*/stage.json")
    times = [0.0]
    for path in marks:
        try:
            times.append(path.stat().st_mtime)
        except FileNotFoundError:
            continue
    return max(times)


def killed_in(folder, wanted, who, delay):
    """Starts the run and kills it some time after a phase has begun; returns None if it ended before."""
    began, since = time.monotonic(), time.time()
    process = start(folder, "--set=checkpoints.every_seconds=0")
    seen = None
    while process.poll() is None:
        if seen is None and begun_at(folder) > since and phase(folder) == wanted and steps_made(folder, wanted, since):
            seen = time.monotonic()
        if seen is not None and time.monotonic() - seen >= delay:
            break
        time.sleep(0.003)
    else:
        output = process.communicate()[0]
        assert process.returncode == 0, output
        return None
    now, found, after = phase(folder), checkpoints(folder), time.monotonic() - began
    lost = min(time.time() - begun_at(folder), after)
    kill(process, who)
    newest = found[-1][1].relative_to(folder).as_posix() if found else "none"
    return Kill(wanted, now, who, after, newest.replace("checkpoints/", ""), lost)


def content(folder):
    """Returns everything that a run leaves but what comes from the clock."""
    found = {}
    for path in sorted([*folder.glob("shared/**/*"), *folder.glob("cells/**/*"), *folder.glob("tables/*")]):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or path.name in ("timings.jsonl", "costs.csv"):
            continue
        data = path.read_bytes()
        if path.name in ("record.json", "stage.json"):
            record = json.loads(data)
            for clock in ("costs", "seconds", "experiment"):
                record.pop(clock, None)
            data = json.dumps(record).encode()
        found[name] = data
    return found


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_run_killed_twenty_times_ends_with_the_bytes_of_one_that_was_not(tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    process = start(whole)
    output = process.communicate(timeout=1200)[0]
    assert process.returncode == 0, output
    draw = random.Random(int(os.environ.get("KILL_SEED", "0")))
    order = list(SHARED)
    for cell in CELLS:  # of one arm, then of the other
        order += [*draw.sample(cell, len(cell)), "evaluation", "evaluation"]
    kills = []
    say("wanted        phase         killed         after  newest checkpoint                                repeated")
    for number, wanted in enumerate(order):
        # A worker that dies alone lets the other cell go on, so only the shared stages and the last evaluation lose theirs.
        who = ["main", "all", "worker"][number % 3] if number < len(SHARED) else ["main", "all"][number % 2]
        who = "worker" if number == len(order) - 1 else who
        found = killed_in(folder, wanted, who, draw.uniform(0, 0.02 if wanted == "write" else 0.4))
        if found is None:
            break
        kills.append(found)
        say(found.row())
    for _ in range(5):
        process = start(folder, "--set=checkpoints.every_seconds=0")
        output = process.communicate(timeout=1200)[0]
        if process.returncode == 0:
            break
    assert process.returncode == 0, output
    ours, theirs = content(folder), content(whole)
    assert ours.keys() == theirs.keys()
    assert [name for name in theirs if ours[name] != theirs[name]] == []
    say(f"{len(kills)} kills; {len(theirs)} files, {sum(map(len, theirs.values()))} bytes equal")
    assert len(kills) >= 20
