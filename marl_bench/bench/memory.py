"""`marl-bench bench memory`: what each memory option does to the peak memory and the time of an update. Linux only."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from marl_bench.errors import MarlBenchError
from marl_bench.provenance import environment
from marl_bench.reporting.tables import Table

if TYPE_CHECKING:
    from marl_bench.bench.memory_case import Measured, MemoryCase


@dataclasses.dataclass(frozen=True)
class MemoryResult:
    """All of `bench memory`.

    Attributes:
        device: Where it ran.
        options: Each option by itself and all together, on a model of 10 M parameters.
        vocabularies: Logits at once and in chunks, for large vocabularies.
    """

    device: str
    options: Sequence[tuple["MemoryCase", "Measured"]]
    vocabularies: Sequence[tuple["MemoryCase", "Measured"]]


def option_cases(device: str) -> list["MemoryCase"]:
    """Returns each option by itself, then together, on a model of 10 M parameters."""
    from marl_bench.bench.memory_case import MemoryCase

    tokens = {"micro_batch_tokens": 1024, "score_batch_tokens": 1024}
    checkpointing, chunks = {"gradient_checkpointing": True}, {"logits_chunk_tokens": 128}
    together = {**tokens, **checkpointing, **chunks}
    cases = [
        MemoryCase("8 rows a micro-batch", {}),
        MemoryCase("2 rows a micro-batch", {}, micro_batch_size=2),
        MemoryCase("gradient_checkpointing", checkpointing),
        MemoryCase("logits_chunk_tokens=128", chunks),
        MemoryCase("*_batch_tokens=1024", tokens),
        MemoryCase("packing, *_batch_tokens=1024", {**tokens, "packing": True}),
        MemoryCase("checkpointing, chunks, tokens", together),
        MemoryCase("checkpointing, chunks, packing", {**together, "packing": True}),
        MemoryCase("bfloat16", {}, dtype="bfloat16"),
        MemoryCase("bfloat16, master_weights", {"master_weights": "float32"}, dtype="bfloat16"),
    ]
    return [dataclasses.replace(case, device=device) for case in cases]


def vocabulary_cases(device: str) -> list["MemoryCase"]:
    """Returns all logits at once and chunks of two sizes, for vocabularies of 50,000 and 256,000 and small models."""
    from marl_bench.bench.memory_case import MemoryCase, Shape

    return [
        MemoryCase(f"V = {vocabulary:,}, {name}", memory, Shape(64, 2, vocabulary, 8, 32, 64), device=device)
        for vocabulary in (50_000, 256_000)
        for name, memory in (
            ("all logits", {}),
            ("chunks of 128", {"logits_chunk_tokens": 128}),
            ("chunks of 32", {"logits_chunk_tokens": 32}),
        )
    ]


def bench_memory(device: str, *, show: Callable[[int, str], None]) -> MemoryResult:
    """Measures all cases, each in a process of its own.

    Args:
        device: `cpu` or `cuda`.
        show: Told how many cases are done, and the last one.

    Raises:
        MarlBenchError: A case failed.
    """
    cases = [option_cases(device), vocabulary_cases(device)]
    found: list[list[tuple[MemoryCase, Measured]]] = [[], []]
    for group, pairs in zip(cases, found, strict=True):
        for case in group:
            pairs.append((case, _measured(case)))
            show(sum(map(len, found)), case.name)
    return MemoryResult(device, found[0], found[1])


def tables(result: MemoryResult) -> list[Table]:
    """Returns what the benchmark found as tables."""
    millions = result.options[0][1].parameters / 1e6
    shape = result.options[0][0].shape
    note = (
        "MiB at the peak beside what is held (models, optimizer states, the process). Policy, reference and critic of one size; one optimizer "
        "step; macro actions of 5 tokens. Padding: share of the tokens of the update's forward passes."
    )
    rows = f"{shape.rows} responses of {shape.response_tokens // 8} to {shape.response_tokens} tokens"
    options = _table(f"An update of {millions:.1f} M parameters, {rows} ({result.device})", result.options, note)
    return [options, _table(f"Logits of large vocabularies ({result.device})", result.vocabularies, note)]


def as_json(result: MemoryResult) -> dict[str, Any]:
    """Returns every number, and the machine."""
    return {**dataclasses.asdict(result), "environment": environment(device=result.device, threads=1)}


def _table(title: str, pairs: Sequence[tuple["MemoryCase", "Measured"]], note: str) -> Table:
    header = ["Memory options", "Held MiB", "Scoring MiB", "Update MiB", "Scoring s", "Update s", "Padding"]
    rows = [
        [
            case.name,
            f"{found.held_mebibytes:,.0f}",
            f"{found.scoring_mebibytes:,.0f}",
            f"{found.update_mebibytes:,.0f}",
            f"{found.scoring_seconds:.2f}",
            f"{found.update_seconds:.2f}",
            f"{100 * found.padding_share:.0f} %",
        ]
        for case, found in pairs
    ]
    return Table(title, header, rows, note=note)


def _measured(case: "MemoryCase") -> "Measured":
    from marl_bench.bench.memory_case import Measured

    command = [sys.executable, "-m", "marl_bench.bench.memory_case", json.dumps(dataclasses.asdict(case))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise MarlBenchError(f"bench memory, {case.name}: the process failed ({last[0]}).")
    return Measured(**json.loads(done.stdout.strip().splitlines()[-1]))
