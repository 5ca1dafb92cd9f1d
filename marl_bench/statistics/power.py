"""What a number of seeds or prompts can show: power of the two-sided one-sample (paired) t test."""

import math

from marl_bench.statistics.intervals import LEVEL

POWER = 0.8
"""Chance of seeing a true difference that plans aim at unless a caller says otherwise."""

_NORMAL_FROM = 100_000  # degrees of freedom from which t is the normal distribution to six digits


def power_of_t_test(deviation: float, count: int, difference: float, *, level: float = LEVEL) -> float:
    """Returns the chance that a two-sided t test at level 1 - `level` sees a true mean difference.

    P(|T| > t((1 + level) / 2, n - 1)), T noncentral t with n - 1 degrees of freedom and noncentrality difference sqrt(n) / deviation.

    Args:
        deviation: Standard deviation of the n differences, in the unit of the difference.
        count: Seeds, or prompts; with fewer than two no t test exists and the power is 0.
        difference: True mean difference; its sign does not matter.
        level: 1 - the test's chance of a false alarm.

    Raises:
        ValueError: The deviation is negative or not finite, or the level is not between 0 and 1.
    """
    _check(deviation, level)
    if count < 2:
        return 0.0
    if deviation == 0:
        return 1.0 if difference else 1 - level
    return _power(abs(difference) * math.sqrt(count) / deviation, count - 1, level)


def minimum_detectable_difference(deviation: float, count: int, *, level: float = LEVEL, power: float = POWER) -> float:
    """Returns the true mean difference that a paired t test with so many differences sees with chance `power`.

    The d with P(|T(n - 1, d sqrt(n) / deviation)| > t((1 + level) / 2, n - 1)) = power, T noncentral t. At small counts that is much
    more than the usual (z + z) deviation / sqrt(n): 3 seeds need 3.26 deviations, where the normal formula says 1.62.

    Args:
        deviation: Standard deviation of the differences over seeds or prompts (not the standard error of their mean).
        count: Seeds or prompts.
        level: 1 - the test's chance of a false alarm.
        power: Chance of seeing the difference.

    Returns:
        In the unit of the deviation; infinity below two: no difference, however large, can be told from chance.

    Raises:
        ValueError: The deviation is negative or not finite, or level or power are not between 0 and 1.
    """
    _check(deviation, level, power)
    if count < 2:
        return math.inf
    return _noncentrality(count - 1, level, power) * deviation / math.sqrt(count)


def count_needed(deviation: float, difference: float, *, level: float = LEVEL, power: float = POWER) -> int:
    """Returns the least number of seeds (or prompts) whose paired t test sees a true difference with chance `power`; at least 2.

    Args:
        deviation: Standard deviation of the differences over seeds or prompts.
        difference: True mean difference, in the same unit; its sign does not matter.
        level: 1 - the test's chance of a false alarm.
        power: Chance of seeing the difference.

    Raises:
        ValueError: The difference is 0 or not finite (no count shows it), the deviation is negative or not finite, or level or power
            are not between 0 and 1.
    """
    _check(deviation, level, power)
    if difference == 0 or not math.isfinite(difference):
        raise ValueError(f"count_needed: no count shows a difference of {difference}; give a finite one other than 0.")
    if deviation == 0:
        return 2
    effect = abs(difference) / deviation

    def suffices(count: int) -> bool:
        return _power(effect * math.sqrt(count), count - 1, level) >= power

    enough = 2
    while not suffices(enough):
        enough *= 2
    too_few = enough // 2
    while enough - too_few > 1 and enough > 2:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if suffices(middle) else (middle, enough)
    return enough


def _check(deviation: float, *shares: float) -> None:
    if not (math.isfinite(deviation) and deviation >= 0):
        raise ValueError(f"power: a standard deviation of {deviation}; give a finite number of at least 0.")
    wrong = [share for share in shares if not 0 < share < 1]
    if wrong:
        raise ValueError(
            f"power: level and power lie between 0 and 1, not at {wrong[0]}; give for example 0.95 and 0.8."
        )


def _power(noncentrality: float, freedom: int, level: float) -> float:
    """Returns the chance that |T| exceeds the two-sided critical value."""
    import numpy as np
    from scipy.special import nctdtr, ndtr, ndtri, stdtrit

    if freedom >= _NORMAL_FROM:
        normal = float(ndtri((1 + level) / 2))
        return float(ndtr(noncentrality - normal) + ndtr(-noncentrality - normal))
    critical = float(stdtrit(freedom, (1 + level) / 2))
    # The series give NaN where the probability is below some 1e-20.
    below, far_below = np.nan_to_num(nctdtr(freedom, noncentrality, np.array([critical, -critical])), nan=0.0)
    return float(1 - below + far_below)


def _noncentrality(freedom: int, level: float, power: float) -> float:
    """Returns the noncentrality at which the test has a power; 0 where chance alone has it."""
    from scipy.optimize import brentq

    if power <= 1 - level:
        return 0.0
    high = 1.0
    while _power(high, freedom, level) < power:
        high *= 2
    return float(brentq(lambda value: _power(value, freedom, level) - power, 0.0, high, xtol=1e-10))
