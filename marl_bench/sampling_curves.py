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
        kl: KL to the SFT model in nats a response: measured at N = 1 and in temperature sweeps; for N > 1 an upper bound, ln N - (N - 1) / N
            plus the mean log-ratio of the chosen responses (0 from SFT itself).
        by_seed: Mean over prompts of each of the arm's seeds.
        samples: Responses that the mean is made of, those without a value included.
        unscored: How many of them have no value of the metric.
    """

    arm: str
    label: str
    x: float
    metric: str
    mean: float
    low: float | None
    high: float | None
    kl: float | None = None
    by_seed: Sequence[float] = ()
    samples: int = 0
    unscored: int = 0


@dataclasses.dataclass(frozen=True)
class SamplingDifference:
    """One point of a curve minus another, prompt by prompt.

    Attributes:
        label: Arm of the first point.
        x: N or temperature of the first point.
        reference: Arm of the point that is subtracted.
        reference_x: Its N or temperature.
        metric: Name of the metric.
        delta: Mean difference over the prompts that both have.
        low: Lower end of the interval over prompts; None below two prompts.
        high: Upper end.
        level: Coverage of the interval; above .95 where the pair was picked among several.
    """

    label: str
    x: float
    reference: str
    reference_x: float
    metric: str
    delta: float
    low: float | None
    high: float | None
    level: float = 0.95

    @property
    def direction(self) -> int:
        """1 or -1 if the interval lies above or below 0, else 0."""
        if self.low is None or self.high is None:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


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
        score: Metric that training raises.
        differences: Pairs of points that the reading speaks of.
    """

    kind: Literal["best_of_n", "temperature"]
    chosen_by: str
    prompts: int
    samples_per_prompt: int
    seeds: Sequence[int]
    points: Sequence[SamplingPoint]
    notes: Sequence[str] = ()
    score: str = ""
    differences: Sequence[SamplingDifference] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns plain data for the file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "SamplingCurves":
        """Reads what `to_json` wrote."""
        points = tuple(SamplingPoint(**point) for point in data["points"])
        differences = tuple(SamplingDifference(**found) for found in data.get("differences", ()))
        return cls(**{**data, "points": points, "differences": differences})


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
