"""The numbers behind the sample browser as plain data for its script."""

import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from marl_bench.reporting.comparison import ORACLE, Comparison
from marl_bench.reporting.formatting import metric_name, titled
from marl_bench.reporting.html.judged import Judged
from marl_bench.reporting.html.samples import CellIndex, Samples
from marl_bench.reporting.html.texts import ROWS_A_CHUNK

_IN_THE_FLAGS = {"finished"}
"""Metrics that a response's own flags already say."""


def index_data(comparison: Comparison, samples: Samples, judged: Judged, scale: float | None) -> dict[str, Any]:
    """Returns what the browser needs before any text: rows, arms, cells, metrics, judges and their scores."""
    names = sorted({name for index in samples.cells for name in index.metrics} - _IN_THE_FLAGS)
    first = [name for name in (comparison.primary_metric, ORACLE) if name in names]
    directions = comparison.higher_is_better
    return {
        "rows": {
            "prompts": [prompt for prompt, _ in samples.rows],
            "samples": [sample for _, sample in samples.rows],
            "subsets": list(samples.subsets),
            "titles": list(samples.titles),
        },
        "chunkRows": ROWS_A_CHUNK,
        "arms": [
            {"name": found.arm.name, "label": found.arm.label, "role": found.arm.role} for found in comparison.arms
        ],
        "cells": [{"arm": index.cell.arm, "seed": index.cell.seed} for index in samples.cells],
        "metrics": [
            {
                "name": name,
                "title": titled(metric_name(name)),
                "phrase": metric_name(name),
                "higherIsBetter": directions.get(name),
            }
            for name in [*first, *(name for name in names if name not in first)]
        ],
        "primary": comparison.primary_metric,
        "oracle": ORACLE if ORACLE in names else None,
        "judges": [_judge(judge.judgement.to_json()) for judge in judged.judges],
        "judged": [
            {
                "judge": pair.judge,
                "arm": pair.arm,
                "reference": pair.reference,
                "seed": pair.seed,
                "scores": _numbers(pair.scores),
            }
            for pair in judged.pairs
        ],
        "advantageScale": scale,
    }


def cell_data(index: CellIndex, rows: int) -> dict[str, Any]:
    """Returns the numbers of one cell, by row."""
    return {
        "tokens": list(index.tokens[:rows]),
        "cut": list(index.cut[:rows]),
        "metrics": {
            name: _numbers(values[:rows]) for name, values in sorted(index.metrics.items()) if name not in _IN_THE_FLAGS
        },
    }


def _judge(judgement: Mapping[str, Any]) -> dict[str, Any]:
    return {name: judgement[name] for name in ("judge", "prompts", "protocol", "order", "notes")}


def _numbers(values: Iterable[float]) -> list[float | None]:
    return [_short(value) if math.isfinite(value) else None for value in values]


def _short(value: float) -> float:
    """Returns a single-precision number with its nine digits, as many as tell it from its neighbours; others as they are.

    Scores come from models in single precision; written as a double each takes seventeen digits.
    """
    try:
        (single,) = struct.unpack("f", struct.pack("f", value))
    except OverflowError:
        return value
    return float(f"{value:.9g}") if single == value else value
