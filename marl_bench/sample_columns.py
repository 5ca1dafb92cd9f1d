"""Evaluated samples as columns: what comparing them needs, without their texts. No torch.

A sample with its texts takes some kilobytes as objects; here it takes some 20 bytes and 8 for each metric.
"""

import dataclasses
import functools
import math
import sys
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from marl_bench.records import not_a_sample

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True, eq=False)
class SampleColumns:
    """The samples of one cell, one array element each, in the order of the file.

    Attributes:
        prompt_ids: Distinct prompt ids in the order of their first sample.
        prompt_checks: [prompts] CRC-32 of each prompt's text, which tells two texts of one id apart.
        prompt_codes: [samples] position of the sample's prompt in `prompt_ids`.
        subsets: Distinct subsets in the order of their first sample.
        subset_codes: [samples] position of the sample's subset in `subsets`.
        sample_indices: [samples] which of the samples of its prompt.
        token_counts: [samples] tokens of the response, the EOS included; -1 where nobody knows.
        finished: [samples] True if the response is known to have ended with EOS.
        metrics: Metric name to [samples], NaN where the sample could not be scored.
    """

    prompt_ids: Sequence[str]
    prompt_checks: npt.NDArray[np.uint32]
    prompt_codes: Codes
    subsets: Sequence[str]
    subset_codes: Codes
    sample_indices: Codes
    token_counts: Codes
    finished: npt.NDArray[np.bool_]
    metrics: Mapping[str, Numbers]

    def __len__(self) -> int:
        """Number of samples."""
        return int(self.prompt_codes.size)

    def prompt_means(self, metric: str) -> Numbers:
        """Returns [prompts]: the mean of a metric over each prompt's scored samples, NaN where none is scored."""
        count = len(self.prompt_ids)
        values = self.metrics.get(metric)
        if values is None:
            return np.full(count, np.nan)
        scored = np.isfinite(values)
        codes = self.prompt_codes[scored]
        sizes = np.bincount(codes, minlength=count)
        sums = np.bincount(codes, weights=values[scored], minlength=count)
        means: Numbers = np.divide(sums, sizes, out=np.full(count, np.nan), where=sizes > 0)
        return means

    @functools.cached_property
    def prompt_subsets(self) -> Codes:
        """[prompts] position in `subsets` of the subset of each prompt's first sample."""
        _, first = np.unique(self.prompt_codes, return_index=True)
        return self.subset_codes[first]


def columns_of_rows(rows: Iterable[Mapping[str, Any]], *, where: str) -> SampleColumns:
    """Returns the columns of rows as `EvalSample.to_json` makes them; one row at a time is in memory.

    Raises:
        RecordError: A row lacks a field or a number is no number; the text begins with `where` and the line.
    """
    growing = _Growing()
    for number, row in enumerate(rows, start=1):
        try:
            growing.append(row)
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise not_a_sample(error, where=f"{where}, line {number}") from error
    return growing.columns()


class _Growing:
    """Columns that grow by a row at a time, in packed arrays."""

    def __init__(self) -> None:
        self.prompts: dict[str, int] = {}
        self.subsets: dict[str, int] = {}
        self.checks, self.prompt_codes, self.subset_codes = array("I"), array("i"), array("i")
        self.indices, self.tokens, self.finished = array("i"), array("i"), array("b")
        self.metrics: dict[str, array[float]] = {}

    def append(self, row: Mapping[str, Any]) -> None:
        prompt = row["prompt_id"]
        code = self.prompts.get(prompt)
        if code is None:
            # Cells of one run hold the same prompts: interned, their ids are in memory once.
            code = self.prompts[sys.intern(prompt)] = len(self.prompts)
            self.checks.append(zlib.crc32(row["prompt"].encode("utf-8", "surrogatepass")))
        for name, value in row["metrics"].items():
            column = self.metrics.get(name)
            if column is None or len(column) < len(self.prompt_codes):
                column = self.metrics[name] = _padded(column, len(self.prompt_codes))
            column.append(math.nan if value is None else value)
        self.prompt_codes.append(code)
        self.subset_codes.append(self.subsets.setdefault(row["subset"], len(self.subsets)))
        self.indices.append(row["sample_index"])
        self.tokens.append(-1 if row["token_count"] is None else row["token_count"])
        self.finished.append(bool(row["finished"]))

    def columns(self) -> SampleColumns:
        size = len(self.prompt_codes)
        return SampleColumns(
            prompt_ids=list(self.prompts),
            prompt_checks=np.array(self.checks, dtype=np.uint32),
            prompt_codes=np.array(self.prompt_codes, dtype=np.int32),
            subsets=list(self.subsets),
            subset_codes=np.array(self.subset_codes, dtype=np.int32),
            sample_indices=np.array(self.indices, dtype=np.int32),
            token_counts=np.array(self.tokens, dtype=np.int32),
            finished=np.array(self.finished, dtype=np.bool_),
            metrics={name: np.array(_padded(column, size)) for name, column in self.metrics.items()},
        )


def _padded(column: "array[float] | None", size: int) -> "array[float]":
    """Returns the column with NaN up to `size`: some rows had no such metric."""
    column = array("d") if column is None else column
    column.extend([math.nan] * (size - len(column)))
    return column
