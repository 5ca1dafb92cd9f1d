"""How results move with the way of sampling: best-of-N and temperature sweeps of a finished run. No torch.

`<experiment>/best_of_n.json` and `<experiment>/temperature_sweep.json` hold one `SamplingCurves` each.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from marl_bench.errors import RecordError

BEST_OF_N = "best_of_n.json"
TEMPERATURE_SWEEP = "temperature_sweep.json"


@dataclasses.dataclass(frozen=True)
class SamplingPoint:
    """One metric of one arm at one setting, over the prompts and seeds.

    Attributes:
        arm: Folder name of the arm.
        label: What a user types and reads.
        x: N, or the temperature.
        metric: Name of the metric; `oracle` is the task's known optimum.
        mean: Mean over seeds and prompts.
        low: Lower end of the 95 % interval over prompts; None below two prompts.
        high: Upper end.
        kl: Mean KL to the SFT model, in nats a response, where it is known: ln N - (N - 1) / N for best-of-N from SFT.
    """

    arm: str
    label: str
    x: float
    metric: str
    mean: float
    low: float | None
    high: float | None
    kl: float | None = None


@dataclasses.dataclass(frozen=True)
class SamplingCurves:
    """All points of one sweep.

    Attributes:
        kind: `best_of_n` or `temperature`.
        chosen_by: Metric that picks the best of N; empty for temperatures.
        prompts: Number of prompts.
        samples_per_prompt: Responses sampled for each prompt and setting.
        seeds: Seeds of the cells.
        points: In the order of arm, metric, x.
        notes: Sentences that the report must show.
    """

    kind: Literal["best_of_n", "temperature"]
    chosen_by: str
    prompts: int
    samples_per_prompt: int
    seeds: Sequence[int]
    points: Sequence[SamplingPoint]
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns plain data for the file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "SamplingCurves":
        """Reads what `to_json` wrote."""
        return cls(**{**data, "points": tuple(SamplingPoint(**point) for point in data["points"])})


def read_curves(path: Path) -> SamplingCurves | None:
    """Returns the curves of a file, or None where there is no such file.

    Raises:
        RecordError: The file is damaged or of another layout.
    """
    if not path.exists():
        return None
    try:
        return SamplingCurves.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError) as error:
        raise RecordError(f"{path}: no sampling curves ({error}); make them again.") from error
