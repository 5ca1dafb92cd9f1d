"""Texts, macro actions and verdicts of the browser's rows, a chunk of rows at a time; a text shared by arms stands once."""

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from marl_bench.judgements import PAIRS, JudgedPair
from marl_bench.macro_traces import MACRO_ACTIONS, MacroTrace
from marl_bench.reporting.html.judged import Judged, judged_pair
from marl_bench.reporting.html.samples import MISSING, CellIndex, Samples, json_line_at
from marl_bench.reporting.html.utf16 import utf16_offsets
from marl_bench.run_dir import SAMPLES

ROWS_A_CHUNK = 64

_BINS_A_DECADE = 20
_SCALE_SHARE = 0.95


class AdvantageScale:
    """Counts advantages by size, so that one colour scale fits all arms; bounded however many there are."""

    def __init__(self) -> None:
        self._bins: Counter[int] = Counter()

    def add(self, advantages: Sequence[float]) -> None:
        """Counts the advantages that are not 0."""
        self._bins.update(
            math.ceil(_BINS_A_DECADE * math.log10(abs(value))) for value in advantages if value and math.isfinite(value)
        )

    @property
    def limit(self) -> float | None:
        """A size that at least 95 % of the advantages do not exceed, to 12 %; None without advantages."""
        left = _SCALE_SHARE * self._bins.total()
        for place, count in sorted(self._bins.items()):
            left -= count
            if left <= 0:
                return float(f"{10 ** (place / _BINS_A_DECADE):.2g}")
        return None


def text_chunks(samples: Samples, judged: Judged, scale: AdvantageScale) -> Iterator[dict[str, Any]]:
    """Yields the chunks in the order of the rows.

    Each has `texts`, and by row of the chunk: `prompts` (place in `texts`), `responses` (a place in `texts` for each cell,
    -1 where it has none), `macros` (for each cell its starts in UTF-16 units, tokens and advantages, or null) and
    `verdicts`.
    """
    with contextlib.ExitStack() as stack:
        sample_files = [stack.enter_context((one.cell.folder / SAMPLES).open("rb")) for one in samples.cells]
        trace_files = [_opened_traces(one, stack) for one in samples.cells]
        pair_files = [stack.enter_context((one.folder / PAIRS).open("rb")) for one in judged.judges]
        for first in range(0, len(samples.rows), ROWS_A_CHUNK):
            chunk = _Chunk()
            for row in range(first, min(first + ROWS_A_CHUNK, len(samples.rows))):
                found = [
                    json_line_at(file, one.lines[row]) if one.lines[row] != MISSING else None
                    for one, file in zip(samples.cells, sample_files, strict=True)
                ]
                traces = [
                    MacroTrace.from_json(json_line_at(file, one.traces[row]))
                    if file is not None and one.traces[row] != MISSING
                    else None
                    for one, file in zip(samples.cells, trace_files, strict=True)
                ]
                for trace in traces:
                    scale.add((trace and trace.advantages) or ())
                chunk.add_texts(found, traces)
                chunk.add_verdicts(
                    (judge, judged_pair(json_line_at(pair_files[judge], offset), judged.judges[judge].folder))
                    for judge, offset in judged.lines.get(row, ())
                )
            yield chunk.data


def _opened_traces(index: CellIndex, stack: contextlib.ExitStack) -> BinaryIO | None:
    path = index.cell.folder / MACRO_ACTIONS
    return stack.enter_context(path.open("rb")) if path.exists() else None


class _Chunk:
    """A chunk while it grows."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._prompts: list[int] = []
        self._responses: list[list[int]] = []
        self._macros: list[list[Any]] = []
        self._verdicts: list[list[Any]] = []

    @property
    def data(self) -> dict[str, Any]:
        return {
            "texts": list(self._places),
            "prompts": self._prompts,
            "responses": self._responses,
            "macros": self._macros,
            "verdicts": self._verdicts,
        }

    def add_texts(self, samples: Sequence[Mapping[str, Any] | None], traces: Sequence[MacroTrace | None]) -> None:
        """Adds a row: a sample, or None, for each cell."""
        self._prompts.append(self._place(next(one["prompt"] for one in samples if one)))
        self._responses.append([self._place(one["response"]) if one else MISSING for one in samples])
        macros = [
            _macros(one["response"], trace) if one and trace else None
            for one, trace in zip(samples, traces, strict=True)
        ]
        self._macros.append(macros if any(macros) else [])

    def add_verdicts(self, pairs: Iterable[tuple[int, JudgedPair]]) -> None:
        """Adds what the judges said of the row."""
        self._verdicts.append(
            [
                {
                    "judge": judge,
                    "arm": pair.arm,
                    "reference": pair.reference,
                    "seed": pair.seed,
                    "score": pair.score,
                    "calls": [[one.order, one.status, one.winner, one.reason, one.model] for one in pair.verdicts],
                }
                for judge, pair in pairs
            ]
        )

    def _place(self, text: str) -> int:
        return self._places.setdefault(text, len(self._places))


def _macros(response: str, trace: MacroTrace) -> list[Any]:
    advantages = None
    if trace.advantages is not None:
        advantages = [float(f"{value:.4g}") if math.isfinite(value) else None for value in trace.advantages]
    return [utf16_offsets(response, trace.starts), list(trace.tokens), advantages]
