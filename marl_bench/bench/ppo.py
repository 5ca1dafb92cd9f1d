"""`marl-bench bench ppo`: one PPO update of this package's trainer and of a peer's, side by side."""

import contextlib
import dataclasses
import functools
import math
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from marl_bench.bench.contenders import Update, Worker, own_command, peer_command, started
from marl_bench.bench.floor import Machine, Needed, measure_machine, needed
from marl_bench.bench.ppo_cases import PpoCase, make_models, make_prompts, settings_of
from marl_bench.bench.updates import UpdateBench, UpdateComparison
from marl_bench.models.loading import load_tokenizer
from marl_bench.plugins import Registry
from marl_bench.statistics.intervals import Interval, mean_interval

OWN, FAST = "marl-bench", "marl-bench, fast"
MACRO_RULE = "fixed(n=5)"


@dataclasses.dataclass(frozen=True)
class Batches:
    """Rows of a forward pass of one contender.

    Attributes:
        micro_batch: With gradients.
        score_batch: Without; a peer has one number for this and for sampling.
        rollout_batch: In sampling.
    """

    micro_batch: int
    score_batch: int
    rollout_batch: int


@dataclasses.dataclass(frozen=True)
class PpoBenchSettings:
    """How the benchmark runs.

    Attributes:
        peer: Name of the peer, or None to measure this package alone.
        peer_python: Its interpreter.
        own: Rows of a forward pass here, with all other options at their defaults.
        peers: The same of the peer.
        threads: Threads of each worker.
        pairs: Pairs of updates of token and macro PPO.
    """

    peer: str | None
    peer_python: Path | None
    own: Batches = Batches(micro_batch=8, score_batch=8, rollout_batch=64)
    peers: Batches = Batches(micro_batch=8, score_batch=64, rollout_batch=64)
    threads: int = 1
    pairs: int = 10


@dataclasses.dataclass(frozen=True)
class Contender:
    """Updates of one contender in one case.

    Attributes:
        name: Whose trainer.
        loaded_mebibytes: Resident memory with models and libraries loaded, before the first update.
        first: The first update, which is not timed but counted.
        updates: Those that count.
        versions: Of the peer's packages.
    """

    name: str
    loaded_mebibytes: float
    first: Update
    updates: Sequence[Update]
    versions: Mapping[str, str]

    def phase_seconds(self, phase: str) -> float:
        """Median processor time of a phase."""
        return statistics.median(update.phases.get(phase, {}).get("cpu_seconds", 0.0) for update in self.updates)

    @property
    def cpu_seconds(self) -> float:
        """Median processor time of an update."""
        return statistics.median(update.cpu_seconds for update in self.updates)

    @property
    def peak_mebibytes(self) -> float:
        """Most resident memory of any update, the first one included."""
        return max(update.peak_mebibytes for update in (self.first, *self.updates))

    @property
    def response_tokens(self) -> float:
        """Mean response tokens of an update."""
        return statistics.mean(update.response_tokens for update in self.updates)


@dataclasses.dataclass(frozen=True)
class CaseResult:
    """One case, measured.

    Attributes:
        case: Model, size, regime.
        prompt_tokens: Of all prompts of an update.
        own: This package's trainer with its defaults, and with what makes it fast.
        peer: The peer's trainer, or None.
    """

    case: PpoCase
    prompt_tokens: int
    own: Sequence[Contender]
    peer: Contender | None

    @property
    def contenders(self) -> Sequence[Contender]:
        """All, the peer last."""
        return [*self.own, *([self.peer] if self.peer is not None else [])]

    def needed(self, contender: Contender) -> Mapping[str, Needed]:
        """Returns what each phase cannot do without, for the responses that a contender sampled."""
        tokens = round(contender.response_tokens)
        return needed(self.case, prompt_tokens=self.prompt_tokens, response_tokens=tokens)

    def speed(self, contender: Contender, *, wall: bool = False) -> Interval | None:
        """Returns how many times the peer's samples a second a contender makes: geometric mean over rounds, 95 % (Student t on logarithms)."""
        if self.peer is None or contender is self.peer:
            return None
        pairs = zip(contender.updates, self.peer.updates, strict=True)
        logarithms = [math.log(_seconds(theirs, wall) / _seconds(ours, wall)) for ours, theirs in pairs]
        found = mean_interval(logarithms)
        if found is None:
            return Interval(math.exp(logarithms[0]), 0.0, math.inf)
        return Interval(math.exp(found.estimate), math.exp(found.low), math.exp(found.high))


def _seconds(update: Update, wall: bool) -> float:
    return update.seconds if wall else update.cpu_seconds


@dataclasses.dataclass(frozen=True)
class PpoBenchResult:
    """All of `bench ppo`.

    Attributes:
        settings: How it ran.
        machine: What the machine reaches.
        cases: One a case.
        macro: Token against macro PPO, the update alone.
    """

    settings: PpoBenchSettings
    machine: Machine
    cases: Sequence[CaseResult]
    macro: UpdateComparison | None


def bench_ppo(
    cases: Sequence[PpoCase], settings: PpoBenchSettings, *, show: Callable[[int, str], None] = lambda _, __: None
) -> PpoBenchResult:
    """Runs all cases, and token against macro PPO at last.

    Args:
        cases: What is measured.
        settings: How.
        show: Told how many turns are over, and of which case.

    Raises:
        MarlBenchError: A worker died.
    """
    torch.set_num_threads(settings.threads)
    machine = measure_machine()
    done, found = 0, []
    for case in cases:
        told = functools.partial(_tell, show, done, case.name)
        with tempfile.TemporaryDirectory() as folder:
            found.append(_bench_case(case, settings, Path(folder), told))
        done += turns_of(case)
    macro = None
    if settings.pairs:
        bench = UpdateBench(Registry(), responses=32, max_response_tokens=112, device=torch.device("cpu"))
        macro = bench.compare(MACRO_RULE, pairs=settings.pairs)
    return PpoBenchResult(settings, machine, found, macro)


def _tell(show: Callable[[int, str], None], before: int, name: str, turns: int) -> None:
    show(before + turns, name)


def turns_of(case: PpoCase) -> int:
    """Returns the rounds of a case, the first one, which does not count, included."""
    return case.rounds + 1


def _bench_case(case: PpoCase, settings: PpoBenchSettings, folder: Path, show: Callable[[int], None]) -> CaseResult:
    make_models(case, folder)
    prompts = make_prompts(case)
    told = settings_of(case, folder, prompts, threads=settings.threads)
    own = {**told, **_rows(settings.own, case)}
    commands = {name: own_command({**own, **options}, folder, name=name) for name, options in own_options(case).items()}
    if settings.peer is not None and settings.peer_python is not None:
        theirs = {**told, **_rows(settings.peers, case)}
        commands[settings.peer] = peer_command(settings.peer, settings.peer_python, theirs, folder)
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(started(name, command, environment, folder))
            for name, (command, environment) in commands.items()
        ]
        contenders = _rounds(workers, case.rounds, show)
    prompt_tokens = sum(map(len, load_tokenizer("tiny")(prompts)["input_ids"]))
    peers = [contender for contender in contenders if contender.name == settings.peer]
    own_ones = [contender for contender in contenders if contender.name != settings.peer]
    return CaseResult(case, prompt_tokens, own_ones, peers[0] if peers else None)


def own_options(case: PpoCase) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Returns the options of this package's contenders: none, and what makes it fast on a CPU."""
    tokens = 4 * (case.prompt_tokens + case.response_tokens)
    fast: dict[str, dict[str, Any]] = {
        "memory": {"micro_batch_tokens": tokens, "score_batch_tokens": tokens},
        "speed": {"cpu_matmul": "onednn"},
    }
    return {OWN: {"memory": {}, "speed": {}}, FAST: fast}


def _rounds(workers: Sequence[Worker], rounds: int, show: Callable[[int], None]) -> list[Contender]:
    """Has the workers take turns, each round in the other order."""
    updates: dict[str, list[Update]] = {worker.name: [] for worker in workers}
    for number in range(rounds + 1):
        for worker in workers if number % 2 else reversed(workers):
            updates[worker.name].append(worker.update())
        show(number + 1)
    return [
        Contender(
            worker.name,
            worker.loaded["memory"]["resident"],
            updates[worker.name][0],
            updates[worker.name][1:],
            worker.loaded.get("versions", {}),
        )
        for worker in workers
    ]


def _rows(batches: Batches, case: PpoCase) -> dict[str, int]:
    return {name: min(rows, case.batch) for name, rows in dataclasses.asdict(batches).items()}


def as_json(result: PpoBenchResult) -> dict[str, Any]:
    """Returns every measured number, the ratios, and the machine."""
    from marl_bench.provenance import environment

    python = result.settings.peer_python
    content = dataclasses.asdict(result)
    content["settings"]["peer_python"] = None if python is None else python.name  # its folder is nobody's business
    speeds = {
        case.case.name: {one.name: speed for one in case.own if (speed := case.speed(one)) is not None}
        for case in result.cases
    }
    return {
        **content,
        "times_the_peers_samples_a_second": {
            name: {own: dataclasses.asdict(speed) for own, speed in found.items()} for name, found in speeds.items()
        },
        "floor_seconds": {
            case.case.name: {
                own.name: {phase: need.seconds(result.machine) for phase, need in case.needed(own).items()}
                for own in case.own
            }
            for case in result.cases
        },
        "environment": environment(device="cpu", threads=result.settings.threads),
    }
