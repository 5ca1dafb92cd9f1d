"""Samples one object each, as reports read them before there were columns: what the columns are compared with.

The list of all samples stays in memory, and each metric goes through it again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from marl_bench.records import EvalSample
from marl_bench.run_dir import SAMPLES, RunDir, read_jsonl


def read_objects(run_dir: RunDir) -> dict[str, list[EvalSample]]:
    """Returns cell folder to its samples."""
    return {folder.name: _samples(folder) for folder in sorted(run_dir.cells.iterdir())}


def prompt_means(samples: Sequence[EvalSample], metric: str) -> Mapping[str, float]:
    """Returns prompt id to the mean of a metric over the prompt's scored samples."""
    values: dict[str, list[float]] = {}
    for sample in samples:
        value = sample.metrics.get(metric)
        if value is not None:
            values.setdefault(sample.prompt_id, []).append(float(value))
    return {prompt: sum(found) / len(found) for prompt, found in values.items()}


def mean_differences(
    first: Mapping[str, Sequence[EvalSample]], second: Mapping[str, Sequence[EvalSample]], metrics: Sequence[str]
) -> dict[tuple[str, str], float]:
    """Returns cell and metric to the mean difference over shared prompts."""
    found = {}
    for cell in first.keys() & second.keys():
        for metric in metrics:
            one, other = prompt_means(first[cell], metric), prompt_means(second[cell], metric)
            differences = [one[prompt] - other[prompt] for prompt in sorted(one.keys() & other.keys())]
            found[cell, metric] = sum(differences) / len(differences)
    return found


def _samples(folder: Path) -> list[EvalSample]:
    return [EvalSample.from_json(row) for row in read_jsonl(folder / SAMPLES)]
