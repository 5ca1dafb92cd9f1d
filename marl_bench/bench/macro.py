"""`marl-bench bench macro`: what the vectorised method gains over a loop, and what macro actions cost in an update."""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

import torch

from marl_bench.bench.loop_comparison import LOOPS, LoopComparison, compare_with_loop
from marl_bench.bench.updates import UpdateBench, UpdateComparison
from marl_bench.errors import ConfigError
from marl_bench.planning import build_rule, plan_rule
from marl_bench.plugins import Registry
from marl_bench.provenance import environment
from marl_bench.reporting.formatting import NONE
from marl_bench.reporting.tables import Table

UPDATE_RULES = ("fixed(n=5)", "fixed(n=10)", "perplexity(rule=macro)")
PARSER = "parsing(cutoff=5)"


@dataclasses.dataclass(frozen=True)
class BenchSize:
    """How large the benchmark is.

    Attributes:
        rows: B of the comparison with the loop.
        tokens: T of it; responses have T/2 to T tokens.
        repeats: Pairs of updates.
        update_responses: Responses of the rollout that is updated on.
        update_tokens: At most so many tokens of each.
    """

    rows: int = 256
    tokens: int = 512
    repeats: int = 30
    update_responses: int = 32
    update_tokens: int = 128


@dataclasses.dataclass(frozen=True)
class BenchResult:
    """All of `bench macro`.

    Attributes:
        size: How large it was.
        device: `cpu` or the name of the GPU.
        loops: The vectorised method against the loop, one a rule.
        updates: Macro PPO against token PPO, one a rule.
        mean_tokens: Mean tokens of a response of the rollout that is updated on.
        parsing_seconds: Of cutting that rollout with the parser; None where it is not installed.
    """

    size: BenchSize
    device: str
    loops: Sequence[LoopComparison]
    updates: Sequence[UpdateComparison]
    mean_tokens: float
    parsing_seconds: float | None


def bench_macro(registry: Registry, size: BenchSize, *, device: torch.device) -> BenchResult:
    """Runs the whole benchmark with torch's threads as they are set.

    Args:
        registry: Brings rules and baselines.
        size: How large it is.
        device: Where tensors and models are; the loop runs there too.

    Raises:
        MarlBenchError: Loop and vectorised code do not give the same results.
    """
    loops = [
        compare_with_loop(
            build_rule(plan_rule(name, registry), registry),
            name=name,
            rows=size.rows,
            tokens=size.tokens,
            device=device,
        )
        for name in LOOPS
    ]
    bench = UpdateBench(
        registry, responses=size.update_responses, max_response_tokens=size.update_tokens, device=device
    )
    updates = [bench.compare(rule, pairs=size.repeats) for rule in UPDATE_RULES]
    try:
        parsing = bench.segment_seconds(PARSER)
    except ConfigError:
        parsing = None
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return BenchResult(size, name, loops, updates, bench.mean_tokens, parsing)


def tables(result: BenchResult) -> list[Table]:
    """Returns what the benchmark found as tables."""
    size = result.size
    loops = Table(
        f"Segmentation, rewards, values, advantages and losses of {size.rows} x {size.tokens} tokens ({result.device})",
        ["Rule", "Loop over rows ms", "Vectorised ms", "Times faster"],
        [
            [
                found.rule,
                _milliseconds(statistics.median(found.loop_seconds)),
                _milliseconds(statistics.median(found.vectorised_seconds)),
                f"{found.ratio:.0f}",
            ]
            for found in result.loops
        ],
        note="Medians of interleaved repeats; both give the same results.",
    )
    updates = Table(
        f"An update on the same {size.update_responses} responses of {result.mean_tokens:.0f} tokens, shipped tiny model ({result.device})",
        ["macro_ppo", "token_ppo ms", "macro_ppo ms", "Ratio", "95 % interval", "Pairs"],
        [_update_row(found) for found in result.updates],
        note="Medians; ratio is the geometric mean over interleaved pairs.",
    )
    return [loops, updates, _parsing_table(result)]


def as_json(result: BenchResult) -> dict[str, Any]:
    """Returns every measured time, the ratios, and the machine."""
    return {
        **dataclasses.asdict(result),
        "loop_ratios": {found.rule: found.ratio for found in result.loops},
        "update_ratios": {found.rule: dataclasses.asdict(found.ratio) for found in result.updates},
        "environment": environment(device=result.device, threads=torch.get_num_threads()),
    }


def _update_row(found: UpdateComparison) -> list[str]:
    ratio = found.ratio
    return [
        found.rule,
        _milliseconds(statistics.median(found.token_seconds)),
        _milliseconds(statistics.median(found.macro_seconds)),
        f"{ratio.estimate:.3f}",
        f"[{ratio.low:.3f}, {ratio.high:.3f}]",
        str(len(found.token_seconds)),
    ]


def _parsing_table(result: BenchResult) -> Table:
    cells = [NONE, NONE]
    note = "Needs marl-bench[parsing]."
    if result.parsing_seconds is not None:
        share = result.parsing_seconds / statistics.median(result.updates[0].token_seconds)
        cells = [_milliseconds(result.parsing_seconds / result.size.update_responses), f"{100 * share:.1f} %"]
        note = "Parsing is no tensor operation: it comes on top of an update, and is not in the ratios above."
    return Table("Parsing", ["Rule", "ms a response", "Of a token_ppo update"], [[PARSER, *cells]], note=note)


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.1f}" if seconds < 10 else f"{1000 * seconds:,.0f}"
