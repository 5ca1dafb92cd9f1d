"""Responses on their way through the evaluator, and the file that keeps those that are sampled until a cell is complete. No torch."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from marl_bench.outside.systems import System
from marl_bench.records import Response
from marl_bench.run_dir import write_jsonl_atomically

ANSWERS = "answers.jsonl"


@dataclasses.dataclass(frozen=True)
class OutsideCell:
    """One system with one seed.

    Attributes:
        system: The system.
        seed: Of its sampling.
        digest: Of its content.
        folder: Where its files go.
    """

    system: System
    seed: int
    digest: str
    folder: Path


@dataclasses.dataclass(frozen=True)
class Answer:
    """One response of a system.

    Attributes:
        response: The response.
        token_ids: Its tokens, EOS included, where a local model sampled it.
        log_prob: Sum of their log-probs under that model.
        known: What a finished run measured of it already: score and KL.
    """

    response: Response
    token_ids: Sequence[int] | None = None
    log_prob: float | None = None
    known: Mapping[str, float | None] | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns plain data."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Answer":
        """Reads what `to_json` wrote."""
        return cls(**{**row, "response": Response(**row["response"])})


class AnswerFile:
    """A file that grows by whole batches, one a line, so that a killed command loses at most the batch that it was sampling."""

    def __init__(self, folder: Path, *, of: str) -> None:
        """Opens the file of a cell, and begins it anew if it holds answers of something else.

        Args:
            folder: Of the cell.
            of: Digest of what decides the answers.
        """
        self.path = folder / ANSWERS
        self.batches: list[list[Answer]] = []
        lines = self._whole_lines()
        if lines and lines[0] == {"of": of}:
            self.batches = [[Answer.from_json(row) for row in line["answers"]] for line in lines[1:]]
        kept = [{"answers": [answer.to_json() for answer in batch]} for batch in self.batches]
        write_jsonl_atomically(self.path, [{"of": of}, *kept])

    @property
    def answers(self) -> list[Answer]:
        """All answers that are there."""
        return [answer for batch in self.batches for answer in batch]

    def append(self, batch: Sequence[Answer]) -> None:
        """Adds a batch and hands it to the system at once."""
        line = json.dumps({"answers": [answer.to_json() for answer in batch]}, ensure_ascii=False, allow_nan=False)
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(line + "\n")
        self.batches.append(list(batch))

    def _whole_lines(self) -> list[dict[str, Any]]:
        """Returns the lines that were written as a whole; a killed write leaves a part of one at the end."""
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_bytes().split(b"\n")[:-1]:
            try:
                found.append(json.loads(line))
            except ValueError:
                break
        return found
