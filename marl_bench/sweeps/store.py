"""Samples of a sweep on disk: a file for each policy and temperature, appended batch by batch."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from marl_bench.errors import RecordError
from marl_bench.records import EvalSample
from marl_bench.run_dir import read_jsonl, write_jsonl_atomically

Key = tuple[str, int]
"""Prompt id and sample index."""


class SampleFile:
    """Samples of one policy at one temperature; its first line says of which policy they are."""

    def __init__(self, path: Path, *, policy: str) -> None:
        """Opens the file.

        Args:
            path: The file; made with the first samples.
            policy: Digest of the policy.

        Raises:
            RecordError: The file holds samples of another policy, or is damaged other than at its end.
        """
        self.path, self._policy = path, policy
        self._samples: dict[Key, EvalSample] = {}
        if not path.exists():
            return
        _cut_torn_line(path)
        rows = read_jsonl(path)
        head = next(rows, None)
        if head is None:
            path.unlink()
            return
        if head.get("policy") != policy:
            raise RecordError(
                f"{path}: holds samples of another policy than the one there now; remove it to sample again."
            )
        self._take(EvalSample.from_json(row) for row in rows)

    def __contains__(self, key: Key) -> bool:
        return key in self._samples

    def append(self, samples: Sequence[EvalSample]) -> None:
        """Adds those of the samples that the file does not have, in one write."""
        fresh = [sample for sample in samples if _key(sample) not in self]
        if not self.path.exists():
            write_jsonl_atomically(self.path, [{"policy": self._policy}])
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write("".join(_line(sample.to_json()) for sample in fresh))
        self._take(fresh)

    def samples(self, prompt_ids: Sequence[str], count: int) -> dict[str, list[EvalSample]]:
        """Returns the first samples of each prompt, in the order of their index; all must be there."""
        return {prompt: [self._samples[prompt, index] for index in range(count)] for prompt in prompt_ids}

    def _take(self, samples: Iterable[EvalSample]) -> None:
        self._samples.update({_key(sample): sample for sample in samples})


def _key(sample: EvalSample) -> Key:
    return sample.prompt_id, sample.response.sample_index


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def _cut_torn_line(path: Path) -> None:
    """Removes what stands behind the last end of a line: a write that a killed process did not finish."""
    with path.open("rb+") as file:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            file.truncate(whole)
