"""How often intervals hold the truth, and how often tests see a difference: simulation at the sizes that reports have."""

import dataclasses
import functools
import hashlib
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from marl_bench.statistics.intervals import Interval, mean_interval

RESAMPLES = 500
"""Resamples of each simulated bootstrap; reports draw 4,000, whose ends move less."""

FEWER = 2000
"""Repetitions of what takes milliseconds."""

FEWEST = 1000
"""Repetitions of what takes tenths of a second."""

Make = Callable[[np.random.Generator], Interval | None]
"""Draws data and returns their interval, None where they allow none."""


@dataclasses.dataclass(frozen=True)
class CoverageCase:
    """An interval on data with a known truth.

    Attributes:
        interval: What is computed.
        data: What it is computed from.
        size: How much of it.
        make: Draws the data and returns the interval; None where the data allow none.
        truth: What the interval should hold.
        use: `report` for what reports and comparisons show, `naive` for what they do not, shown to compare.
        repetitions: Simulations of the whole bench.
        least: Coverage, in percent, below which the case fails; a case that nobody uses has no range.
        most: Coverage above which it fails.
    """

    interval: str
    data: str
    size: str
    make: Make
    truth: float
    use: Literal["report", "naive"] = "report"
    repetitions: int = 4000
    least: float = 93.0
    most: float = 97.0

    @property
    def name(self) -> str:
        """What tells it from the others."""
        return f"{self.interval}; {self.data}; {self.size}"


@dataclasses.dataclass(frozen=True)
class Coverage:
    """How often an interval held the truth.

    Attributes:
        repetitions: Simulations.
        intervals: Simulations whose data allowed an interval; shares are of these.
        held: Intervals that hold the truth.
        too_high: Intervals that lie above it.
        half_width: Mean half width, in the unit of the data.
    """

    repetitions: int
    intervals: int
    held: int
    too_high: int
    half_width: float

    @property
    def percent(self) -> float:
        """Coverage in percent."""
        return 100 * self.held / self.intervals if self.intervals else math.nan

    @property
    def error(self) -> float:
        """Standard error of the coverage in percentage points."""
        share = self.held / self.intervals if self.intervals else math.nan
        return 100 * math.sqrt(share * (1 - share) / self.intervals) if self.intervals else math.nan

    def lies_within(self, case: CoverageCase) -> bool:
        """Returns True if the coverage lies in the case's range, or outside by no more than three standard errors of the simulation.

        What nobody uses has no range.
        """
        slack = 3 * 100 * math.sqrt(0.95 * 0.05 / max(1, self.intervals))
        return case.use == "naive" or case.least - slack <= self.percent <= case.most + slack


@dataclasses.dataclass(frozen=True)
class PowerCase:
    """A test on data with a known difference.

    Attributes:
        test: What is computed.
        data: What it is computed from.
        size: How much of it.
        make: Draws the data and returns True if the test rejects at 5 %.
        planned: Power that it should have, as a share; for data without a difference the level.
        basis: Where the planned power comes from.
        repetitions: Simulations of the whole bench.
        least: Rejections minus planned, in percentage points, below which the case fails.
        most: Likewise, above which.
    """

    test: str
    data: str
    size: str
    make: Callable[[np.random.Generator], bool]
    planned: float
    basis: str
    repetitions: int = 4000
    least: float = -2.0
    most: float = 2.0

    @property
    def name(self) -> str:
        """What tells it from the others."""
        return f"{self.test}; {self.data}; {self.size}"


@dataclasses.dataclass(frozen=True)
class Power:
    """How often a test rejected.

    Attributes:
        repetitions: Simulations.
        rejected: Rejections.
    """

    repetitions: int
    rejected: int

    @property
    def percent(self) -> float:
        """Share of rejections in percent."""
        return 100 * self.rejected / self.repetitions

    def lies_within(self, case: PowerCase) -> bool:
        """Returns True if the share lies in the case's range, or outside by no more than three standard errors of the simulation."""
        slack = 3 * 100 * math.sqrt(case.planned * (1 - case.planned) / self.repetitions)
        return case.least - slack <= self.percent - 100 * case.planned <= case.most + slack


def simulate_coverage(case: CoverageCase, *, repetitions: int) -> Coverage:
    """Returns how often the interval holds the truth; the same in every call."""
    rng = _generator(case.name)
    intervals = held = too_high = 0
    widths = 0.0
    tolerance = 1e-9 * max(1.0, abs(case.truth))
    for _ in range(repetitions):
        found = case.make(rng)
        if found is None:
            continue
        intervals += 1
        widths += found.half_width
        too_high += found.low > case.truth + tolerance
        held += found.low <= case.truth + tolerance and found.high >= case.truth - tolerance
    return Coverage(repetitions, intervals, held, too_high, widths / max(1, intervals))


def simulate_power(case: PowerCase, *, repetitions: int) -> Power:
    """Returns how often the test rejects; the same in every call."""
    rng = _generator(case.name)
    return Power(repetitions, sum(case.make(rng) for _ in range(repetitions)))


def _generator(name: str) -> np.random.Generator:
    # Seeded by the name: another case changes nobody else's figures.
    return np.random.default_rng(zlib.crc32(name.encode()))


@dataclasses.dataclass(frozen=True)
class StatisticsResult:
    """All of `bench statistics`.

    Attributes:
        share: Share of each case's repetitions that were made.
        code: Digest of the sources that decide the figures.
        coverage: Each case with what was found.
        power: Likewise.
    """

    share: float
    code: str
    coverage: Sequence[tuple[CoverageCase, Coverage]]
    power: Sequence[tuple[PowerCase, Power]]

    def outside(self) -> list[str]:
        """Returns the names of the cases that do not lie in their range."""
        missed = [case.name for case, found in self.coverage if not found.lies_within(case)]
        return missed + [case.name for case, found in self.power if not found.lies_within(case)]


def bench_statistics(
    coverage: Sequence[CoverageCase],
    power: Sequence[PowerCase],
    *,
    share: float,
    known: Mapping[str, Mapping[str, Any]],
    keep: Callable[[Mapping[str, Mapping[str, Any]], str], None],
) -> StatisticsResult:
    """Simulates all cases.

    Args:
        coverage: Intervals.
        power: Tests.
        share: Share of each case's repetitions; at least 100 are made.
        known: Cases that were done before, by name: `Coverage` or `Power` as plain data.
        keep: Takes all cases done so far, and the name of the last, after each.
    """
    done = dict(known)

    def found(case: CoverageCase | PowerCase) -> Mapping[str, Any]:
        repetitions = max(100, round(share * case.repetitions))
        earlier = done.get(case.name)
        if earlier is None or earlier["repetitions"] != repetitions:
            if isinstance(case, CoverageCase):
                done[case.name] = dataclasses.asdict(simulate_coverage(case, repetitions=repetitions))
            else:
                done[case.name] = dataclasses.asdict(simulate_power(case, repetitions=repetitions))
            keep(done, case.name)
        return done[case.name]

    return StatisticsResult(
        share,
        digest_of_sources(),
        [(case, Coverage(**found(case))) for case in coverage],
        [(case, Power(**found(case))) for case in power],
    )


def applied(compute: Callable[[Any], Interval | None], draw: Callable[[np.random.Generator], Any]) -> Make:
    """Returns a `make` that draws data and computes their interval."""
    return lambda rng: compute(draw(rng))


def applied_with_rng(
    compute: Callable[[Any, np.random.Generator], Interval | None], draw: Callable[[np.random.Generator], Any]
) -> Make:
    """Returns likewise, for an interval that draws resamples of its own."""
    return lambda rng: compute(draw(rng), rng)


def prompt_ids(prompts: int, times: int = 1) -> list[str]:
    """Returns the prompt of each value of a [prompts, times] table."""
    return [str(prompt) for prompt in range(prompts) for _ in range(times)]


def flat_mean(values: npt.NDArray[np.float64]) -> Interval | None:
    """Returns Student's interval of a table's values as if all were independent."""
    return mean_interval(values.ravel().tolist())


@functools.cache
def digest_of_sources() -> str:
    """Returns a digest of the statistics and of the simulation: figures of other sources are not taken over.

    Kept from the first call, for an edit while the simulation runs does not change the code that runs.
    """
    digest = hashlib.sha256()
    for path in _sources():
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _sources() -> Iterator[Path]:
    here = Path(__file__)
    yield from sorted((here.parent.parent / "statistics").glob("*.py"))
    yield from (here, *sorted(here.parent.glob("*_cases.py")), here.parent / "simulated_data.py")
