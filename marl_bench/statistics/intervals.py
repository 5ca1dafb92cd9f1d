"""Intervals with a closed form: Wilson for proportions, Student t for means."""

import dataclasses
import math
from collections.abc import Sequence
from statistics import NormalDist

LEVEL = 0.95
"""Nominal coverage of every interval of this package unless a caller says otherwise."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """An estimate with the two ends of its interval, all in the unit of the estimate."""

    estimate: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the interval's width."""
        return (self.high - self.low) / 2

    def excludes(self, value: float) -> bool:
        """Returns True if `value` lies outside the interval; its ends belong to the interval."""
        return value < self.low or value > self.high


def mean_interval(values: Sequence[float], *, level: float = LEVEL, least_variance: float = 0.0) -> Interval | None:
    """Returns the mean with its Student t interval, or None for fewer than two values.

    mean ± t(level, n - 1) * s / sqrt(n), s with n - 1 in the denominator.

    Args:
        values: In any unit.
        level: Nominal coverage.
        least_variance: Below this s² is not believed.
    """
    # Loading scipy takes longer than making a whole report's tables; importing this module must stay cheap.
    from scipy.special import stdtrit

    count = len(values)
    if count < 2:
        return None
    mean = math.fsum(values) / count
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    deviation = math.sqrt(max(variance, least_variance))
    half = float(stdtrit(count - 1, (1 + level) / 2)) * deviation / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)


def wilson_interval(successes: float, trials: float, *, level: float = LEVEL) -> Interval:
    """Returns the Wilson score interval of a proportion.

    (p + z²/2n ± z sqrt(p(1 - p)/n + z²/4n²)) / (1 + z²/n). Successes may be fractional (a tie is half a win) and trials
    may be an effective number.

    Raises:
        ValueError: No trials, or successes outside 0..trials.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(f"wilson_interval: {successes} successes of {trials} trials is no proportion.")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / trials
    scale = 1 + z**2 / trials
    centre = (share + z**2 / (2 * trials)) / scale
    half = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / scale
    # At 0 and 1 the formula gives the end itself up to rounding; the ends must not leave the unit interval.
    return Interval(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))
