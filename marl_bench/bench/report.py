"""`marl-bench bench report`: comparing and reporting from stored samples, as columns and as one object a sample."""

import dataclasses
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from marl_bench.bench.sample_loop import mean_differences, read_objects
from marl_bench.errors import MarlBenchError
from marl_bench.records import EvalSample, Response, RunRecord
from marl_bench.reporting.arm_cells import PromptIndex, arms_of
from marl_bench.reporting.pairs import on_shared_prompts
from marl_bench.reporting.tables import Table
from marl_bench.run_dir import (
    RECORD,
    SAMPLES,
    RunDir,
    read_cells,
    write_json_atomically,
    write_jsonl_atomically,
    write_text_atomically,
)

METRICS = ("reward_model_score", "oracle", "rouge1", "rouge2", "rougeL", "response_tokens", "finished", "kl")
ARMS = ("sft", "token_ppo", "token_ppo_matched_lambda-fixed_n5", "macro_ppo-fixed_n5")
_ROLES = ("start", "token", "control", "macro")
_WORDS = ("the", "author", "wants", "to", "know", "whether", "a", "long", "story", "ends", "well", "or", "not")

_COLUMNS = """
import json, sys
from pathlib import Path
from marl_bench.bench.peak_memory import peak_mebibytes
from marl_bench.reporting.compare import compare
from marl_bench.run_dir import RunDir, read_cells
comparison = compare(read_cells(RunDir(Path(sys.argv[1]))))
print(json.dumps([peak_mebibytes(), sum(arm.samples for arm in comparison.arms)]))
"""
_OBJECTS = """
import json, sys
from pathlib import Path
from marl_bench.bench.peak_memory import peak_mebibytes
from marl_bench.bench.sample_loop import prompt_means, read_objects
from marl_bench.run_dir import RunDir
cells = read_objects(RunDir(Path(sys.argv[1])))
means = [prompt_means(samples, "oracle") for samples in cells.values()]
print(json.dumps([peak_mebibytes(), sum(map(len, cells.values()))]))
"""
_NOTHING = """
import json
from marl_bench.bench.peak_memory import peak_mebibytes
import marl_bench.reporting.compare, marl_bench.reporting.document, scipy.special
print(json.dumps([peak_mebibytes(), 0]))
"""


@dataclasses.dataclass(frozen=True)
class ReportSize:
    """How large the benchmark is.

    Attributes:
        samples: Samples of each of the two runs that are compared.
        rounds: Repeats; the contenders take turns.
        memory_samples: Samples of the run whose report's memory is measured.
    """

    samples: int = 10_000
    rounds: int = 5
    memory_samples: int = 1_000_000


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of each round of one contender."""

    name: str
    seconds: Sequence[float]

    @property
    def median(self) -> float:
        """Median of the rounds."""
        return statistics.median(self.seconds)


@dataclasses.dataclass(frozen=True)
class Memory:
    """Peak resident memory of one child process.

    Attributes:
        name: What it did.
        samples: Samples it read.
        mebibytes: Its peak.
        seconds: Its wall-clock time, start-up included.
    """

    name: str
    samples: int
    mebibytes: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class ReportBench:
    """All that was measured."""

    size: ReportSize
    verbs: Sequence[Timing]
    reading: Sequence[Timing]
    memory: Sequence[Memory]


def bench_report(size: ReportSize) -> ReportBench:
    """Measures `marl-bench compare` as a process, columns against objects, and the memory of a report."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        many = [
            write_run(root / f"arms-{name}", samples=size.samples, seeds=2, seed=place)
            for place, name in enumerate("ab")
        ]
        one = [
            write_run(root / f"prompts-{name}", samples=size.samples, seeds=1, seed=place, arms=ARMS[1:2])
            for place, name in enumerate("ab")
        ]
        verbs = [
            Timing("compare, 4 arms x 2 seeds", [_compare(many) for _ in range(size.rounds)]),
            Timing("compare, 1 arm x 1 seed", [_compare(one) for _ in range(size.rounds)]),
        ]
        objects, columns = [], []
        for _ in range(size.rounds):
            objects.append(_timed(lambda: by_objects(many)))
            columns.append(_timed(lambda: by_columns(many)))
        reading = [Timing("one object a sample", objects), Timing("columns", columns)]
        large = write_run(root / "large", samples=size.memory_samples, seeds=5, seed=0)
        memory = [
            _memory("nothing read (imports)", _NOTHING, large),
            _memory("report, columns", _COLUMNS, large),
            _memory("reading alone, one object a sample", _OBJECTS, large),
        ]
    return ReportBench(size, verbs, reading, memory)


def by_objects(runs: Sequence[RunDir]) -> Mapping[tuple[str, str], float]:
    """Returns cell and metric to the mean difference of two runs, sample by sample."""
    first, second = (read_objects(run) for run in runs)
    return mean_differences(first, second, METRICS)


def by_columns(runs: Sequence[RunDir]) -> Mapping[tuple[str, str], float]:
    """Returns the same from columns, as `compare` reads them."""
    first, second = (read_cells(run) for run in runs)
    index = PromptIndex([*first, *second])
    found = {}
    for one, other in zip(arms_of(first, index), arms_of(second, index), strict=True):
        for seed in one.cells:
            by_seed, other_by_seed = (dataclasses.replace(arm, cells={seed: arm.cells[seed]}) for arm in (one, other))
            for metric in METRICS:
                scores, other_scores = on_shared_prompts(by_seed, other_by_seed, metric)
                found[f"{one.arm.name}-seed{seed}", metric] = float((scores - other_scores).mean())
    return found


def write_run(root: Path, *, samples: int, seeds: int, seed: int, arms: Sequence[str] = ARMS) -> RunDir:
    """Writes a made-up finished run; the seeds of an arm share one file of samples, which is read once for each."""
    run_dir = RunDir(root)
    write_text_atomically(run_dir.config, f"config_hash: '{seed}'\ntask: bench\n")
    prompts = max(1, samples // (len(arms) * seeds))
    rng = random.Random(seed)
    for arm in arms:
        first = run_dir.cell(arm, 0) / SAMPLES
        write_jsonl_atomically(first, (_sample(place, arm, rng).to_json() for place in range(prompts)))
        for number in range(seeds):
            folder = run_dir.cell(arm, number)
            write_json_atomically(folder / RECORD, _record(arm, number).to_json())
            if number:
                (folder / SAMPLES).hardlink_to(first)
    return run_dir


def as_json(result: ReportBench) -> dict[str, Any]:
    """Returns every measured number as plain data."""
    return dataclasses.asdict(result)


def tables(result: ReportBench) -> list[Table]:
    """Returns the tables: the verb, columns against objects, memory."""
    size = result.size
    verbs = [
        [one.name, f"{one.median:.2f}", f"{min(one.seconds):.2f}", f"{max(one.seconds):.2f}"] for one in result.verbs
    ]
    slow = result.reading[0].median
    reading = [[one.name, f"{one.median:.3f}", f"{slow / one.median:.2f} x"] for one in result.reading]
    memory = [[one.name, f"{one.samples:,}", f"{one.mebibytes:,.0f}", f"{one.seconds:.1f}"] for one in result.memory]
    return [
        Table(
            f"marl-bench compare, two runs of {size.samples:,} samples",
            ["Runs", "Median s", "Least s", "Most s"],
            verbs,
            "Wall clock of a process of its own, start-up included.",
        ),
        Table(
            f"Reading and pairing two runs of {size.samples:,} samples",
            ["Samples as", "Median s", "Speed"],
            reading,
            "Mean differences of 8 metrics in 8 cells; both in one process, taking turns.",
        ),
        Table(
            "Peak memory of one process",
            ["What it does", "Samples", "Peak MiB", "Seconds"],
            memory,
            "The report holds all comparisons of 4 arms x 5 seeds; the objects are only read and averaged once.",
        ),
    ]


def _compare(runs: Sequence[RunDir]) -> float:
    command = [sys.executable, "-m", "marl_bench", "compare", *(str(run.root) for run in runs)]
    return _timed(lambda: _finished(command))


def _memory(name: str, program: str, run: RunDir) -> Memory:
    began = time.perf_counter()
    peak, samples = json.loads(_finished([sys.executable, "-c", program, str(run.root)]))
    return Memory(name, samples, peak, time.perf_counter() - began)


def _finished(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MarlBenchError(f"bench report: {' '.join(command[:4])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _sample(place: int, arm: str, rng: random.Random) -> EvalSample:
    prompt = f"bench-{place:07d}"
    text = " ".join(rng.choices(_WORDS, k=60))
    values = [rng.gauss(0, 1), rng.random(), *(rng.random() for _ in range(3)), 60.0, float(rng.random() < 0.9), 1.0]
    response = Response(prompt, f"{arm} says {text}", 60, True)
    return EvalSample(
        prompt, "", f"Prompt {place}: {' '.join(_WORDS * 8)}", response, dict(zip(METRICS, values, strict=True))
    )


def _record(arm: str, seed: int) -> RunRecord:
    role = _ROLES[ARMS.index(arm)]
    return RunRecord(
        experiment="bench",
        status="complete",
        task={"id": "bench", "version": "1", "primary_metric": METRICS[0], "has_oracle": True},
        arm={"name": arm, "label": arm, "baseline": arm, "rule": None, "trained": role != "start", "role": role},
        seed=seed,
        config_hash="0" * 64,
        digests={},
        metrics=dict.fromkeys(METRICS, 0.0),
        higher_is_better={name: None if name in METRICS[5:] else True for name in METRICS},
    )
